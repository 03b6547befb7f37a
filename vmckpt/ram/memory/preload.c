/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Loaded into QEMU (LD_PRELOAD, set by the keeper): gets it the two userfaultfds by which its
 * guest's memory is followed from outside. A userfaultfd belongs to the address space that made it,
 * so QEMU itself must; whoever serves the guest takes duplicates (pidfd_getfd(2)). That QEMU holds
 * them is what makes a guest wait, and not read zeros, when nobody serves it.
 *
 * The process that maps the guest's RAM is QEMU, also where it has not inherited that RAM
 * (preload-memory.h). Any other in which this object finds itself, such
 * as the shell of a wrapper script, is left alone and passes everything on.
 *
 * Plain C without libraries beyond libc: it must not bring anything into QEMU.
 */

/* Both of each pair of functions are defined here, so none may be another name of the other. */
#undef _FILE_OFFSET_BITS

#include "preload-marks.h"
#include "preload-memory.h"

#include <vmckpt/keeper/guest-fds.h>

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef USERFAULTFD_IOC_NEW /* since Linux 6.1 */
#define USERFAULTFD_IOC_NEW _IO (0xAA, 0x00)
#endif

#define EXPORT __attribute__ ((visibility ("default")))

/* Whether this process was found to be QEMU; written once, by its first thread. */
static atomic_bool found_ram;

/* A userfaultfd that sees faults of the kernel too (KVM, system calls on guest RAM), which one with
 * UFFD_USER_MODE_ONLY would not. */
static int
make_userfaultfd (void)
{
  int fd = syscall (SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

  if (fd >= 0)
    return fd;
  int device = open ("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
  if (device < 0)
    return -1;
  fd = ioctl (device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
  close (device);
  return fd;
}

/* Puts one at @number, where a placeholder was inherited; without one the number is free again,
 * which is how others see that there is none. */
static void
place_userfaultfd (int number)
{
  int fd = make_userfaultfd();

  if (fd < 0) {
    close (number);
    return;
  }
  dup3 (fd, number, O_CLOEXEC);
  close (fd);
}

/* The number of one of guest-fds.h in this process. */
static int
number_of (int fd)
{
  return fd + preload_memory_shift();
}

/* Called when the guest's RAM is being mapped: this is QEMU. */
static void
become_qemu (void)
{
  if (atomic_exchange (&found_ram, 1))
    return;
  preload_memory_settle();
  fcntl (number_of (GUEST_FD_RAM), F_SETFD, FD_CLOEXEC);
  fcntl (number_of (GUEST_FD_LOG), F_SETFD, FD_CLOEXEC);
  place_userfaultfd (number_of (GUEST_FD_UFFD_ASYNC));
  place_userfaultfd (number_of (GUEST_FD_UFFD_SYNC));
  /* Where Yama restricts ptrace(2) to ancestors, the next daemon is none. */
  prctl (PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
  unsetenv ("LD_PRELOAD");
}

static int
is_guest_ram (int fd)
{
  struct stat file, ram;

  return fd >= 0 && fstat (fd, &file) == 0 && fstat (number_of (GUEST_FD_RAM), &ram) == 0 &&
         file.st_ino == ram.st_ino && file.st_dev == ram.st_dev;
}

EXPORT void *
mmap (void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
  int found = !atomic_load_explicit (&found_ram, memory_order_relaxed) && is_guest_ram (fd);
  void *mapped;

  if (found)
    become_qemu();
  mapped = (void *)syscall (SYS_mmap, address, length, protection, flags, fd, offset);
  if (found && mapped != MAP_FAILED && (flags & MAP_TYPE) != MAP_PRIVATE)
    preload_marks_begin (number_of (GUEST_FD_RAM), number_of (GUEST_FD_LOG), mapped, length);
  else if (found && mapped != MAP_FAILED)
    preload_marks_spare (number_of (GUEST_FD_RAM));
  return mapped;
}

EXPORT void *
mmap64 (void *address, size_t length, int protection, int flags, int fd, off64_t offset)
{
  return mmap (address, length, protection, flags, fd, offset);
}

/* ---- The file that QEMU is told to have its RAM in ---- */

static int
open_file (const char *path, int flags, mode_t mode)
{
  int fd = atomic_load_explicit (&found_ram, memory_order_relaxed)
               ? -1
               : preload_memory_open (path, flags);

  return fd >= 0 ? fd : (int)syscall (SYS_openat, AT_FDCWD, path, flags, mode);
}

/* The mode is there only if a file may be made. */
#define MODE_OF(mode, flags)                                                                       \
  if ((flags)&O_CREAT || ((flags)&O_TMPFILE) == O_TMPFILE) {                                       \
    va_list args;                                                                                  \
    va_start (args, flags);                                                                        \
    (mode) = va_arg (args, mode_t);                                                                \
    va_end (args);                                                                                 \
  }

EXPORT int
open (const char *path, int flags, ...)
{
  mode_t mode = 0;

  MODE_OF (mode, flags)
  return open_file (path, flags, mode);
}

EXPORT int
open64 (const char *path, int flags, ...)
{
  mode_t mode = 0;

  MODE_OF (mode, flags)
  return open_file (path, flags, mode);
}

/* What a compiler makes of the same when it checks for a forgotten mode. */
EXPORT int __open_2 (const char *path, int flags);
EXPORT int __open64_2 (const char *path, int flags);

EXPORT int
__open_2 (const char *path, int flags)
{
  return open_file (path, flags, 0);
}

EXPORT int
__open64_2 (const char *path, int flags)
{
  return open_file (path, flags, 0);
}
