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
} Range;

/* The first line of an entry of smaps is "START-END PERMS …" in hexadecimal; other lines are
 * "Name: …", where a name may begin like a number ("AnonHugePages"). */
static gboolean
parse_range (const char *line, Range *range)
{
  Range found;
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

/* TRUE if a "VmFlags:" line says that userfaultfd guards the range: uw = write, um = missing. */
static gboolean
is_guarded (const char *line)
{
  return strstr (line, " uw") != NULL || strstr (line, " um") != NULL;
}

/* The guarded ranges of @pid, in an array of Range. */
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
    if (g_str_has_prefix (line, "VmFlags:") && is_guarded (line) && current.end != 0)
      g_array_append_val (ranges, current);
    else
      parse_range (line, &current);
  }
  return g_steal_pointer (&ranges);
}

/* Returns how many of @ranges were registered with @uffd and are now free. */
static guint
release_ranges (int uffd, const GArray *ranges)
{
  guint released = 0;

  for (guint i = 0; i < ranges->len; i++) {
    Range range = g_array_index (ranges, Range, i);
    struct uffdio_range where = { .start = range.start, .len = range.end - range.start };
    struct uffdio_writeprotect off = { .range = where, .mode = 0 };

    /* Only the first wakes the threads that wait; only the second keeps others from waiting. A
     * range of another userfaultfd fails in both, which is its turn later. */
    ioctl (uffd, UFFDIO_WRITEPROTECT, &off);
    if (ioctl (uffd, UFFDIO_UNREGISTER, &where) == 0)
      released++;
  }
  return released;
}

/* The userfaultfds that outlive a daemon: the next one goes on with them. Missing pages that were
 * let go of would read as zeros. */
static gboolean
is_served_by_daemons (const char *number)
{
  gint64 fd = g_ascii_strtoll (number, NULL, 10);

  return fd == GUEST_FD_UFFD_ASYNC || fd == GUEST_FD_UFFD_SYNC;
}

gboolean
unprotect_memory (ProcessId qemu, guint *ranges, GError **error)
{
  g_autofree char *directory = g_strdup_printf ("/proc/%d/fd", (int)qemu.pid);
  g_auto (AutoFd) pidfd = syscall (SYS_pidfd_open, qemu.pid, 0);
  g_autoptr (GArray) guarded = NULL;
  g_autoptr (GDir) dir = NULL;
  const char *name;
  guint released = 0;

  if (ranges != NULL)
    *ranges = 0;
  if (pidfd < 0 || !process_id_alive (qemu)) {
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND, "QEMU is gone");
    return FALSE;
  }
  dir = g_dir_open (directory, 0, error);
  if (dir == NULL)
    return FALSE;
  while ((name = g_dir_read_name (dir)) != NULL) {
    g_autofree char *link = g_build_filename (directory, name, NULL);
    g_autofree char *target = g_file_read_link (link, NULL);
    if (target == NULL || !g_str_equal (target, "anon_inode:[userfaultfd]") ||
        is_served_by_daemons (name))
      continue;

    g_auto (AutoFd) uffd =
        syscall (SYS_pidfd_getfd, pidfd, (int)g_ascii_strtoll (name, NULL, 10), 0);
    if (uffd < 0)
      return fd_set_errno_error (error, "taking QEMU's userfaultfd");
    /* smaps walks all of the guest's memory, so it is read only where there is a reason. */
    g_clear_pointer (&guarded, g_array_unref);
    guarded = find_ranges (qemu.pid, error);
    if (guarded == NULL)
      return FALSE;
    released += release_ranges (uffd, guarded);
  }
  if (ranges != NULL)
    *ranges = released;
  return TRUE;
}
