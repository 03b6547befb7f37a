/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/ram/guest-ram.h>

#include "dirty-log.h"

#include <vmckpt/util/error.h>
#include <vmckpt/util/fd.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define PRELOAD_NAME "vmckpt-preload.so"

struct _GuestRam {
  gatomicrefcount refs;
  char *block;
  guint64 bytes;
  gboolean copy;
  AutoFd ram;
  AutoFd log;
  int shift;          /* of the numbers in QEMU (guest-fds.h) */
  AutoFd placeholder; /* keeps the userfaultfds' numbers free until QEMU has made them */
  /* Once attached: */
  ProcessId qemu;
  guint64 address;
  AutoFd uffd_async;
  AutoFd uffd_sync;
  AutoFd pagemap;
  char *reason; /* (nullable): why there are no userfaultfds */
};

static GuestRam *
ram_new (const char *block)
{
  GuestRam *ram = g_new0 (GuestRam, 1);

  g_atomic_ref_count_init (&ram->refs);
  ram->block = g_strdup (block);
  ram->ram = ram->log = ram->placeholder = -1;
  ram->uffd_async = ram->uffd_sync = ram->pagemap = -1;
  return ram;
}

GuestRam *
guest_ram_ref (GuestRam *ram)
{
  g_atomic_ref_count_inc (&ram->refs);
  return ram;
}

void
guest_ram_unref (GuestRam *ram)
{
  if (ram == NULL || !g_atomic_ref_count_dec (&ram->refs))
    return;
  fd_close (&ram->ram);
  fd_close (&ram->log);
  fd_close (&ram->placeholder);
  fd_close (&ram->uffd_async);
  fd_close (&ram->uffd_sync);
  fd_close (&ram->pagemap);
  g_free (ram->block);
  g_free (ram->reason);
  g_free (ram);
}

/* ---- Before QEMU starts ---- */

/* A memfd whose size is for good: nobody who maps it can be hit by another who shortens it. */
static int
make_memfd (const char *name, guint64 bytes, GError **error)
{
  g_auto (AutoFd) fd = memfd_create (name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

  if (fd < 0 || ftruncate (fd, bytes) < 0 ||
      fcntl (fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
    fd_set_errno_error (error, "making a memory file of %" G_GUINT64_FORMAT " MiB", bytes >> 20);
    return -1;
  }
  return fd_steal (&fd);
}

/* What QEMU needs beside the RAM itself. */
static gboolean
make_log (GuestRam *ram, GError **error)
{
  ram->log = dirty_log_create (ram->bytes, error);
  if (ram->log < 0)
    return FALSE;
  ram->placeholder = open ("/dev/null", O_RDONLY | O_CLOEXEC);
  return ram->placeholder >= 0 || fd_set_errno_error (error, "opening /dev/null");
}

GuestRam *
guest_ram_new (const char *block, guint64 bytes, GError **error)
{
  g_autoptr (GuestRam) ram = ram_new (block);

  ram->bytes = bytes;
  ram->ram = make_memfd ("vmckpt-ram", bytes, error);
  return ram->ram >= 0 && make_log (ram, error) ? g_steal_pointer (&ram) : NULL;
}

GuestRam *
guest_ram_new_template (const char *block, int template_fd, GError **error)
{
  g_autoptr (GuestRam) ram = ram_new (block);
  struct stat st;

  ram->copy = TRUE;
  ram->ram = fcntl (template_fd, F_DUPFD_CLOEXEC, 0);
  if (ram->ram < 0 || fstat (ram->ram, &st) < 0) {
    fd_set_errno_error (error, "sharing a template of RAM");
    return NULL;
  }
  ram->bytes = st.st_size;
  return make_log (ram, error) ? g_steal_pointer (&ram) : NULL;
}

guint
guest_ram_pass (GuestRam *ram, KeeperFd *fds)
{
  const KeeperFd all[] = {
    { ram->ram, GUEST_FD_RAM },
    { ram->log, GUEST_FD_LOG },
    { ram->placeholder, GUEST_FD_UFFD_ASYNC },
    { ram->placeholder, GUEST_FD_UFFD_SYNC },
  };

  memcpy (fds, all, sizeof all);
  return G_N_ELEMENTS (all);
}

char *
guest_ram_find_preload (char **reason)
{
  const char *named = g_getenv ("VMCKPT_PRELOAD");
  g_autofree char *self = g_file_read_link ("/proc/self/exe", NULL);
  g_autofree char *bin = self != NULL ? g_path_get_dirname (self) : g_strdup (".");
  g_autofree char *built = g_build_filename (bin, "..", "ram", PRELOAD_NAME, NULL);
  g_autofree char *installed = g_build_filename (VMCKPT_LIBDIR, PRELOAD_NAME, NULL);
  const char *candidates[] = { named, built, installed };

  for (guint i = named != NULL ? 0 : 1; i < G_N_ELEMENTS (candidates); i++) {
    g_autofree char *path = g_canonicalize_filename (candidates[i], NULL);
    if (!g_file_test (path, G_FILE_TEST_IS_REGULAR))
      continue;
    /* ld.so takes both for separators. */
    if (strpbrk (path, " :") == NULL)
      return g_steal_pointer (&path);
    if (reason != NULL)
      *reason =
          g_strdup_printf ("%s cannot be loaded into QEMU: its path has a space or a colon", path);
    return NULL;
  }
  if (reason != NULL)
    *reason = g_strdup_printf ("%s is neither beside this program nor in %s; VMCKPT_PRELOAD can "
                               "name it",
                               PRELOAD_NAME, VMCKPT_LIBDIR);
  return NULL;
}

/* ---- From a QEMU that runs ---- */

typedef struct {
  guint64 start, end, offset;
  char shared; /* 's' or 'p' */
  guint major, minor;
  guint64 inode;
} Mapping;

/* One line of /proc/PID/maps (proc(5)). */
static gboolean
parse_mapping (const char *line, Mapping *mapping)
{
  return sscanf (line,
                 "%" G_GINT64_MODIFIER "x-%" G_GINT64_MODIFIER "x %*3c%c %" G_GINT64_MODIFIER
                 "x %x:%x %" G_GUINT64_FORMAT,
                 &mapping->start, &mapping->end, &mapping->shared, &mapping->offset,
                 &mapping->major, &mapping->minor, &mapping->inode) == 7;
}

/* Finds the RAM in QEMU's address space, of which madvise(2) and userfaultfd make many mappings
 * side by side. @preloaded: (out): our object is there too. */
static gboolean
find_address (GuestRam *ram, gboolean *preloaded, GError **error)
{
  g_autofree char *path = g_strdup_printf ("/proc/%d/maps", (int)ram->qemu.pid);
  g_autofree char *text = NULL;
  guint64 next = 0; /* how much of the RAM was found */
  struct stat st;

  *preloaded = FALSE;
  if (fstat (ram->ram, &st) < 0)
    return fd_set_errno_error (error, "looking at the guest's RAM");
  if (!g_file_get_contents (path, &text, NULL, error))
    return FALSE;
  for (char *line = text, *end; line != NULL; line = end) {
    Mapping mapping;

    end = strchr (line, '\n');
    if (end != NULL)
      *end++ = '\0';
    *preloaded = *preloaded || strstr (line, "/" PRELOAD_NAME) != NULL;
    if (!parse_mapping (line, &mapping) || mapping.inode != st.st_ino ||
        mapping.major != major (st.st_dev) || mapping.minor != minor (st.st_dev))
      continue;
    if (next == 0 && mapping.offset == 0) {
      ram->address = mapping.start;
      ram->copy = mapping.shared == 'p';
    }
    if (mapping.offset == next && mapping.start == ram->address + next)
      next += mapping.end - mapping.start;
  }
  if (next >= ram->bytes)
    return TRUE;
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
               "QEMU (process %d) has %" G_GUINT64_FORMAT " of the guest's %" G_GUINT64_FORMAT
               " MiB of RAM in one piece",
               (int)ram->qemu.pid, next >> 20, ram->bytes >> 20);
  return FALSE;
}

static gboolean
is_userfaultfd (int fd)
{
  g_autofree char *link = g_strdup_printf ("/proc/self/fd/%d", fd);
  g_autofree char *target = g_file_read_link (link, NULL);

  return g_strcmp0 (target, "anon_inode:[userfaultfd]") == 0;
}

/* QEMU's userfaultfd at @number, or -1. */
static int
take_uffd (int pidfd, int number)
{
  g_auto (AutoFd) fd = syscall (SYS_pidfd_getfd, pidfd, number, 0);

  return fd >= 0 && is_userfaultfd (fd) ? fd_steal (&fd) : -1;
}

static char *
explain_no_uffd (int getfd_error, gboolean preloaded)
{
  if (getfd_error != 0)
    return g_strdup_printf (
        "QEMU's descriptors cannot be taken from it (%s): the daemon has to run "
        "as QEMU's user, or with CAP_SYS_PTRACE",
        g_strerror (getfd_error));
  if (!preloaded)
    return g_strdup (PRELOAD_NAME " is not loaded into QEMU, which is statically linked, "
                                  "set-user-id, or was started by hand");
  return g_strdup ("QEMU may not have a userfaultfd: it needs CAP_SYS_PTRACE, the sysctl "
                   "vm.unprivileged_userfaultfd=1, or access to /dev/userfaultfd");
}

/* Everything of QEMU's that does not have to be there. */
static void
take_rest (GuestRam *ram, int pidfd, gboolean preloaded)
{
  g_autofree char *pagemap = g_strdup_printf ("/proc/%d/pagemap", (int)ram->qemu.pid);
  g_auto (AutoFd) probe = syscall (SYS_pidfd_getfd, pidfd, GUEST_FD_RAM + ram->shift, 0);
  int getfd_error = probe < 0 ? errno : 0;

  ram->uffd_async = take_uffd (pidfd, GUEST_FD_UFFD_ASYNC + ram->shift);
  ram->uffd_sync = take_uffd (pidfd, GUEST_FD_UFFD_SYNC + ram->shift);
  ram->pagemap = open (pagemap, O_RDONLY | O_CLOEXEC);
  if (ram->uffd_async < 0 || ram->uffd_sync < 0) {
    fd_close (&ram->uffd_async);
    fd_close (&ram->uffd_sync);
    ram->reason = explain_no_uffd (getfd_error, preloaded);
  }
}

/* A pidfd of that very process, or -1. */
static int
open_process (ProcessId qemu, GError **error)
{
  g_auto (AutoFd) pidfd = syscall (SYS_pidfd_open, qemu.pid, 0);

  if (pidfd >= 0 && process_id_alive (qemu))
    return fd_steal (&pidfd);
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND, "QEMU (process %d) is gone", (int)qemu.pid);
  return -1;
}

gboolean
guest_ram_attach (GuestRam *ram, ProcessId qemu, GError **error)
{
  ERROR_PREFIX (error, "finding the guest's RAM");
  g_auto (AutoFd) pidfd = open_process (qemu, error);
  gboolean preloaded;

  if (pidfd < 0)
    return FALSE;
  ram->qemu = qemu;
  if (!find_address (ram, &preloaded, error))
    return FALSE;
  take_rest (ram, pidfd, preloaded);
  fd_close (&ram->placeholder);
  return TRUE;
}

/* QEMU's descriptor of a memory file, or -1. */
static int
take_memfd (int pidfd, int number, GError **error)
{
  g_auto (AutoFd) fd = syscall (SYS_pidfd_getfd, pidfd, number, 0);

  if (fd < 0 && errno != EBADF) {
    fd_set_errno_error (error, "taking QEMU's descriptor %d", number);
    return -1;
  }
  if (fd < 0 || fcntl (fd, F_GET_SEALS) < 0) {
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                 "QEMU was started with memory of its own");
    return -1;
  }
  return fd_steal (&fd);
}

/* RAM and log at one of the places where they may be. */
static gboolean
take_files (GuestRam *ram, int pidfd, GError **error)
{
  g_autoptr (DirtyLog) log = NULL;
  struct stat st;

  fd_close (&ram->ram);
  fd_close (&ram->log);
  ram->ram = take_memfd (pidfd, GUEST_FD_RAM + ram->shift, error);
  if (ram->ram < 0)
    return FALSE;
  if (fstat (ram->ram, &st) < 0)
    return fd_set_errno_error (error, "looking at it");
  ram->bytes = st.st_size;
  ram->log = take_memfd (pidfd, GUEST_FD_LOG + ram->shift, error);
  log = ram->log >= 0 ? dirty_log_open (ram->log, ram->bytes, error) : NULL;
  return log != NULL;
}

GuestRam *
guest_ram_find (ProcessId qemu, const char *block, GError **error)
{
  ERROR_PREFIX (error, "finding the RAM of a running guest");
  g_autoptr (GuestRam) ram = ram_new (block);
  g_autoptr (GError) problem = NULL;
  g_auto (AutoFd) pidfd = open_process (qemu, error);

  if (pidfd < 0)
    return NULL;
  if (!take_files (ram, pidfd, &problem)) {
    /* What is at the other places tells nothing of why there is nothing here. */
    do {
      ram->shift += GUEST_FD_SHIFT;
    } while (ram->shift < GUEST_FD_SHIFTS * GUEST_FD_SHIFT && !take_files (ram, pidfd, NULL));
    if (ram->shift >= GUEST_FD_SHIFTS * GUEST_FD_SHIFT) {
      g_propagate_error (error, g_steal_pointer (&problem));
      return NULL;
    }
  }
  return guest_ram_attach (ram, qemu, error) ? g_steal_pointer (&ram) : NULL;
}

/* ---- What is known ---- */

const char *
guest_ram_block (GuestRam *ram)
{
  return ram->block;
}

guint64
guest_ram_bytes (GuestRam *ram)
{
  return ram->bytes;
}

guint64
guest_ram_pages (GuestRam *ram)
{
  return ram->bytes / GUEST_RAM_PAGE_BYTES;
}

ProcessId
guest_ram_process (GuestRam *ram)
{
  return ram->qemu;
}

int
guest_ram_fd (GuestRam *ram)
{
  return ram->ram;
}

gboolean
guest_ram_is_untouched (GuestRam *ram)
{
  struct stat st;

  return fstat (ram->ram, &st) == 0 && st.st_blocks == 0;
}

guint64
guest_ram_used_bytes (GuestRam *ram)
{
  struct stat st;

  return fstat (ram->ram, &st) == 0 ? MIN ((guint64)st.st_blocks * 512, ram->bytes) : ram->bytes;
}

gboolean
guest_ram_is_copy (GuestRam *ram)
{
  return ram->copy;
}

int
guest_ram_log_fd (GuestRam *ram)
{
  return ram->log;
}

int
guest_ram_uffd_async (GuestRam *ram)
{
  return ram->uffd_async;
}

int
guest_ram_uffd_sync (GuestRam *ram)
{
  return ram->uffd_sync;
}

const char *
guest_ram_untracked_reason (GuestRam *ram)
{
  return ram->reason;
}

int
guest_ram_pagemap_fd (GuestRam *ram)
{
  return ram->pagemap;
}

guint64
guest_ram_address (GuestRam *ram)
{
  return ram->address;
}
