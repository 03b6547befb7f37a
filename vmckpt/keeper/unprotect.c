/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "unprotect.h"

#include <vmckpt/keeper/guest-fds.h>
#include <vmckpt/util/fd.h>

#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct {
  guint64 start;
  guint64 end;
  gboolean missing; /* guarded for missing pages, too */
} Range;

/* The first line of an entry of smaps is "START-END PERMS …" in hexadecimal; other lines are
 * "Name: …", where a name may begin like a number ("AnonHugePages"). */
static gboolean
parse_range (const char *line, Range *range)
{
  Range found = { 0 };
  char *end;

  if (!g_ascii_isxdigit (line[0]))
    return FALSE;
  found.start = g_ascii_strtoull (line, &end, 16);
  if (*end != '-' || !g_ascii_isxdigit (end[1]))
    return FALSE;
  found.end = g_ascii_strtoull (end + 1, &end, 16);
  if (*end != ' ' || found.end <= found.start)
    return FALSE;
  *range = found;
  return TRUE;
}

/* Whether a "VmFlags:" line has @flag: userfaultfd guards the range: uw = write, um = missing. */
static gboolean
has_flag (const char *line, const char *flag)
{
  return strstr (line, flag) != NULL;
}

/* The ranges of @pid that are guarded against writes, in an array of Range. */
static GArray *
find_ranges (pid_t pid, GError **error)
{
  g_autofree char *path = g_strdup_printf ("/proc/%d/smaps", (int)pid);
  g_autoptr (GArray) ranges = g_array_new (FALSE, FALSE, sizeof (Range));
  g_autofree char *text = NULL;
  Range current = { 0 };

  if (!g_file_get_contents (path, &text, NULL, error))
    return NULL;
  for (char *line = text, *next; line != NULL; line = next) {
    next = strchr (line, '\n');
    if (next != NULL)
      *next++ = '\0';
    if (g_str_has_prefix (line, "VmFlags:") && has_flag (line, " uw") && current.end != 0) {
      current.missing = has_flag (line, " um");
      g_array_append_val (ranges, current);
    } else {
      parse_range (line, &current);
    }
  }
  return g_steal_pointer (&ranges);
}

/* Returns how many of @ranges were registered with @uffd and are now free. @served: it is the one
 * whose faults the daemon served. */
static guint
release_ranges (int uffd, const GArray *ranges, gboolean served)
{
  guint released = 0;

  for (guint i = 0; i < ranges->len; i++) {
    Range range = g_array_index (ranges, Range, i);
    struct uffdio_range where = { .start = range.start, .len = range.end - range.start };
    struct uffdio_writeprotect off = { .range = where, .mode = 0 };

    /* A range of another userfaultfd fails in the first call, which is its turn later. Some kernels
     * let it be ended by this one, but never have its protection taken off and the rest believed
     * intact: who tracks through it is refused and knows. Who is woken before the protection is
     * off waits again. */
    if (range.missing) {
      if (served && ioctl (uffd, UFFDIO_WRITEPROTECT, &off) == 0)
        released++;
    } else if (ioctl (uffd, UFFDIO_UNREGISTER, &where) == 0) {
      ioctl (uffd, UFFDIO_WAKE, &where);
      released++;
    }
  }
  return released;
}

/* Takes the userfaultfd that QEMU has as @number. */
static int
take_userfaultfd (int pidfd, pid_t pid, int number, GError **error)
{
  g_autofree char *link = g_strdup_printf ("/proc/%d/fd/%d", (int)pid, number);
  g_autofree char *target = g_file_read_link (link, NULL);
  int uffd;

  if (g_strcmp0 (target, "anon_inode:[userfaultfd]") != 0) {
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND, "no userfaultfd there");
    return -1;
  }
  uffd = syscall (SYS_pidfd_getfd, pidfd, number, 0);
  if (uffd < 0)
    fd_set_errno_error (error, "taking QEMU's userfaultfd");
  return uffd;
}

/* Adds to @released what the userfaultfd @number of QEMU, if it is one, guards. */
static gboolean
release_of (int pidfd, pid_t pid, int number, gboolean served, guint *released, GError **error)
{
  g_autoptr (GError) cause = NULL;
  g_auto (AutoFd) uffd = take_userfaultfd (pidfd, pid, number, &cause);
  g_autoptr (GArray) guarded = NULL;

  if (g_error_matches (cause, G_IO_ERROR, G_IO_ERROR_NOT_FOUND))
    return TRUE;
  if (cause != NULL) {
    g_propagate_error (error, g_steal_pointer (&cause));
    return FALSE;
  }
  /* smaps walks all of the guest's memory, so it is read only where there is a reason. */
  guarded = find_ranges (pid, error);
  if (guarded == NULL)
    return FALSE;
  *released += release_ranges (uffd, guarded, served);
  return TRUE;
}

/* Finds where the descriptors of guest-fds.h are in a QEMU that has RAM of ours, or a template's.
 */
static gboolean
find_shift (pid_t pid, int *shift)
{
  for (int i = 0; i < GUEST_FD_SHIFTS; i++) {
    g_autofree char *link =
        g_strdup_printf ("/proc/%d/fd/%d", (int)pid, GUEST_FD_RAM + i * GUEST_FD_SHIFT);
    g_autofree char *target = g_file_read_link (link, NULL);
    *shift = i * GUEST_FD_SHIFT;
    if (target != NULL && g_str_has_prefix (target, "/memfd:vmckpt-"))
      return TRUE;
  }
  return FALSE;
}

/* A pidfd of @qemu, or -1. */
static int
open_process (ProcessId qemu, GError **error)
{
  g_auto (AutoFd) pidfd = syscall (SYS_pidfd_open, qemu.pid, 0);

  if (pidfd >= 0 && process_id_alive (qemu))
    return fd_steal (&pidfd);
  g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND, "QEMU is gone");
  return -1;
}

gboolean
unprotect_memory (ProcessId qemu, guint *ranges, GError **error)
{
  g_autofree char *directory = g_strdup_printf ("/proc/%d/fd", (int)qemu.pid);
  g_auto (AutoFd) pidfd = open_process (qemu, error);
  int shift;
  gboolean ours = find_shift (qemu.pid, &shift);
  g_autoptr (GDir) dir = NULL;
  const char *name;
  guint released = 0;

  if (ranges != NULL)
    *ranges = 0;
  if (pidfd < 0)
    return FALSE;
  dir = g_dir_open (directory, 0, error);
  if (dir == NULL)
    return FALSE;
  while ((name = g_dir_read_name (dir)) != NULL) {
    int number = (int)g_ascii_strtoll (name, NULL, 10);
    if (ours && (number == GUEST_FD_UFFD_ASYNC + shift || number == GUEST_FD_UFFD_SYNC + shift))
      continue;
    if (!release_of (pidfd, qemu.pid, number, FALSE, &released, error))
      return FALSE;
  }
  if (ranges != NULL)
    *ranges = released;
  return TRUE;
}

gboolean
unprotect_served_memory (ProcessId qemu, guint *ranges, GError **error)
{
  g_auto (AutoFd) pidfd = open_process (qemu, error);
  guint released = 0;
  int shift;

  if (ranges != NULL)
    *ranges = 0;
  if (pidfd < 0)
    return FALSE;
  if (find_shift (qemu.pid, &shift) &&
      !release_of (pidfd, qemu.pid, GUEST_FD_UFFD_SYNC + shift, TRUE, &released, error))
    return FALSE;
  if (ranges != NULL)
    *ranges = released;
  return TRUE;
}
