/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "preload-memory.h"

#include "dirty-log-layout.h"

#include <vmckpt/keeper/guest-fds.h>

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define VARIABLE "VMCKPT_RAM_FILE" /* DOMAIN_RAM_FILE_VARIABLE in drivers */
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

/* Changed by QEMU's first thread alone, before the RAM is mapped. */
static struct {
  enum { NOTHING_YET, MADE, SETTLED } state;
  int shift;
} memory;

int
preload_memory_shift (void)
{
  return memory.shift;
}

static int
is_ram_file (const char *path, int flags)
{
  const char *name = getenv (VARIABLE), *last = strrchr (path, '/');

  return name != NULL && *name != '\0' && (flags & O_ACCMODE) == O_RDWR &&
         strcmp (last != NULL ? last + 1 : path, name) == 0;
}

/* libvirt keeps what QEMU says there, in /var/log/libvirt/qemu/NAME.log. */
static void
say (const char *problem)
{
  dprintf (STDERR_FILENO, "vmckpt-preload: what the guest writes will not be followed: %s\n",
           problem);
}

/* libvirt passes descriptors under the numbers that they have with itself, which may be any. */
static int
find_shift (void)
{
  for (int i = 0; i < GUEST_FD_SHIFTS; i++) {
    int taken = 0;
    for (int fd = GUEST_FD_RAM; fd <= GUEST_FD_UFFD_SYNC; fd++)
      taken |= fcntl (fd + i * GUEST_FD_SHIFT, F_GETFD) >= 0;
    if (!taken)
      return i * GUEST_FD_SHIFT;
  }
  return -1;
}

/* Moves @fd to @number; 0 or -1. */
static int
place (int fd, int number)
{
  int placed = fd >= 0 ? dup3 (fd, number, O_CLOEXEC) : -1;

  if (fd >= 0)
    close (fd);
  return placed < 0 ? -1 : 0;
}

static void
close_all (void)
{
  for (int fd = GUEST_FD_RAM; fd <= GUEST_FD_UFFD_SYNC; fd++)
    close (fd + memory.shift);
}

/* The RAM, and placeholders for the rest, so that nothing else gets their numbers. */
static int
make_memory (void)
{
  int result = place (memfd_create ("vmckpt-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING),
                      GUEST_FD_RAM + memory.shift);

  for (int fd = GUEST_FD_LOG; fd <= GUEST_FD_UFFD_SYNC && result == 0; fd++)
    result = place (open ("/dev/null", O_RDONLY | O_CLOEXEC), fd + memory.shift);
  return result == 0 ? fcntl (GUEST_FD_RAM + memory.shift, F_DUPFD_CLOEXEC, 0) : -1;
}

int
preload_memory_open (const char *path, int flags)
{
  int shift, fd;

  if (memory.state != NOTHING_YET || !is_ram_file (path, flags))
    return -1;
  shift = find_shift();
  if (shift < 0) {
    memory.state = SETTLED;
    say ("its descriptors' numbers are taken by others");
    return -1;
  }
  memory.shift = shift;
  fd = make_memory();
  memory.state = fd >= 0 ? MADE : SETTLED;
  if (fd < 0) {
    say ("no memory file can be made");
    close_all();
    memory.shift = 0;
  }
  return fd;
}

/* As dirty_log_create() makes it (dirty-log.h). */
static int
make_log (uint64_t bytes)
{
  const struct dirty_log_header header = {
    .magic = DIRTY_LOG_MAGIC,
    .version = DIRTY_LOG_VERSION,
    .page_bytes = DIRTY_LOG_PAGE_BYTES,
    .pages = bytes / DIRTY_LOG_PAGE_BYTES,
  };
  int fd = memfd_create ("vmckpt-log", MFD_CLOEXEC | MFD_ALLOW_SEALING);

  if (fd >= 0 && ftruncate (fd, (off_t)dirty_log_file_bytes (header.pages)) == 0 &&
      fcntl (fd, F_ADD_SEALS, SEALS) == 0 && write (fd, &header, sizeof header) == sizeof header)
    return fd;
  if (fd >= 0)
    close (fd);
  return -1;
}

void
preload_memory_settle (void)
{
  struct stat st;

  if (memory.state != MADE)
    return;
  memory.state = SETTLED;
  /* Without a log the RAM is a file like any other, which nobody takes for ours. */
  if (fstat (GUEST_FD_RAM + memory.shift, &st) < 0 || st.st_size == 0 ||
      st.st_size % DIRTY_LOG_PAGE_BYTES != 0 ||
      fcntl (GUEST_FD_RAM + memory.shift, F_ADD_SEALS, SEALS) < 0 ||
      place (make_log ((uint64_t)st.st_size), GUEST_FD_LOG + memory.shift) < 0)
    say ("its memory file has no length, or there can be no log for it");
}
