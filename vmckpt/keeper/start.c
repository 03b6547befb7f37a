/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon's side of starting a keeper: finding the program, and hearing from it whether it and
 * its QEMU came up. */
#include <vmckpt/keeper/keeper.h>

#include "protocol.h"

#include <vmckpt/util/fd.h>

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#define ADOPT_TIMEOUT_MS 5000
/* The keeper has its own deadline and reports; this much later it is taken for dead. */
#define REPORT_GRACE_MS 10000
#define REPORT_MAX_BYTES (64 * 1024)
/* Where the keeper finds its end of the report pipe. */
#define REPORT_FD 3

/* VMCKPT_KEEPER, then the build tree of the running program, then where it is installed. */
static char *
find_program (GError **error)
{
  const char *named = g_getenv ("VMCKPT_KEEPER");
  if (named != NULL && *named != '\0')
    return g_strdup (named);

  g_autofree char *self = g_file_read_link ("/proc/self/exe", NULL);
  g_autofree char *bin = self != NULL ? g_path_get_dirname (self) : g_strdup (".");
  const char *candidates[] = { bin,
                               "vmckpt-keeper",
                               NULL,
                               bin,
                               "../keeper/vmckpt-keeper",
                               NULL,
                               VMCKPT_LIBEXECDIR,
                               "vmckpt-keeper",
                               NULL };

  for (guint i = 0; i < G_N_ELEMENTS (candidates); i += 3) {
    g_autofree char *path = g_build_filename (candidates[i], candidates[i + 1], NULL);
    if (g_file_test (path, G_FILE_TEST_IS_EXECUTABLE))
      return g_steal_pointer (&path);
  }
  g_set_error (error, KEEPER_ERROR, KEEPER_ERROR_START,
               "vmckpt-keeper is neither beside this program nor in %s; VMCKPT_KEEPER can name it",
               VMCKPT_LIBEXECDIR);
  return NULL;
}

/* Everything that comes through @fd until its end, "ok" or the deadline. NULL on the deadline. */
static GString *
read_report (int fd, int timeout_ms)
{
  g_autoptr (GString) report = g_string_new (NULL);
  gint64 deadline = g_get_monotonic_time() + (gint64)timeout_ms * 1000;

  while (report->len < REPORT_MAX_BYTES && !g_str_equal (report->str, KEEPER_REPORT_OK)) {
    struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
    gint64 left = (deadline - g_get_monotonic_time()) / 1000;
    char buf[4096];

    if (left <= 0)
      return NULL;
    if (poll (&poll_fd, 1, left) <= 0)
      continue;
    ssize_t n = read (fd, buf, sizeof buf);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      break;
    g_string_append_len (report, buf, n);
  }
  return g_steal_pointer (&report);
}

/* Whether descriptors up to @number can be had, which are QEMU's under these numbers. */
static gboolean
check_open_files (int number, GError **error)
{
  struct rlimit files;

  if (getrlimit (RLIMIT_NOFILE, &files) < 0 || files.rlim_cur > (rlim_t)number)
    return TRUE;
  g_set_error (error, KEEPER_ERROR, KEEPER_ERROR_START,
               "QEMU needs descriptor %d, and a process may have %" G_GUINT64_FORMAT
               " open files here: raise the limit ('ulimit -n', LimitNOFILE=)",
               number, (guint64)files.rlim_cur);
  return FALSE;
}

/* Starts the program with @args and descriptors, and waits for its report: "ok", or what went
 * wrong. @starter: (out): the end of the report pipe by which it knows that this process lives.
 */
static gboolean
run_keeper (const char *const *args, const KeeperFd *fds, guint n_fds, int timeout_ms,
            AutoFd *starter, GError **error)
{
  int sources[KEEPER_FDS_MAX + 1], targets[KEEPER_FDS_MAX + 1];
  g_autoptr (GError) cause = NULL;
  g_auto (AutoFd) ours = -1;
  g_auto (AutoFd) theirs = -1;
  int pipe_fds[2];

  if (!g_unix_open_pipe (pipe_fds, FD_CLOEXEC, error))
    return FALSE;
  ours = pipe_fds[0];
  theirs = pipe_fds[1];

  g_return_val_if_fail (n_fds <= KEEPER_FDS_MAX, FALSE);
  sources[0] = theirs;
  targets[0] = REPORT_FD;
  for (guint i = 0; i < n_fds; i++) {
    sources[i + 1] = fds[i].fd;
    targets[i + 1] = fds[i].number;
    if (!check_open_files (fds[i].number, error))
      return FALSE;
  }
  /* GLib lets it be started by a child in between, so that it never becomes our zombie. */
  if (!g_spawn_async_with_pipes_and_fds (NULL, args, NULL, G_SPAWN_DEFAULT, NULL, NULL, -1, -1, -1,
                                         sources, targets, n_fds + 1, NULL, NULL, NULL, NULL,
                                         &cause)) {
    g_set_error (error, KEEPER_ERROR, KEEPER_ERROR_START, "starting %s: %s", args[0],
                 cause->message);
    return FALSE;
  }
  fd_close (&theirs);

  g_autoptr (GString) report = read_report (ours, timeout_ms + REPORT_GRACE_MS);
  if (report != NULL && g_str_equal (report->str, KEEPER_REPORT_OK)) {
    *starter = fd_steal (&ours);
    return TRUE;
  }
  if (report == NULL)
    g_set_error (error, KEEPER_ERROR, KEEPER_ERROR_START, "%s did not report in time", args[0]);
  else
    g_set_error (error, KEEPER_ERROR, KEEPER_ERROR_START, "%s",
                 report->len > 0 ? report->str : "vmckpt-keeper ended without a word");
  return FALSE;
}

Keeper *
keeper_start (const char *directory, const KeeperLaunch *launch, GError **error)
{
  g_autofree char *program = find_program (error);
  g_autoptr (GPtrArray) args = g_ptr_array_new_with_free_func (g_free);
  g_auto (AutoFd) starter = -1;

  if (program == NULL)
    return NULL;
  g_ptr_array_add (args, g_strdup (program));
  g_ptr_array_add (args, g_strdup_printf ("--directory=%s", directory));
  g_ptr_array_add (args, g_strdup_printf ("--report-fd=%d", REPORT_FD));
  g_ptr_array_add (args, g_strdup_printf ("--timeout-ms=%d", launch->timeout_ms));
  if (launch->incoming)
    g_ptr_array_add (args, g_strdup ("--incoming"));
  if (launch->preload != NULL)
    g_ptr_array_add (args, g_strdup_printf ("--preload=%s", launch->preload));
  for (guint i = 0; i < launch->n_fds; i++)
    g_ptr_array_add (args, g_strdup_printf ("--pass-fd=%d", launch->fds[i].number));
  g_ptr_array_add (args, g_strdup ("--"));
  for (gsize i = 0; launch->argv[i] != NULL; i++)
    g_ptr_array_add (args, g_strdup (launch->argv[i]));
  g_ptr_array_add (args, NULL);

  if (!run_keeper ((const char *const *)args->pdata, launch->fds, launch->n_fds, launch->timeout_ms,
                   &starter, error))
    return NULL;
  Keeper *keeper = keeper_attach (directory, error);
  if (keeper != NULL && launch->incoming)
    keeper_set_starter (keeper, fd_steal (&starter));
  return keeper;
}

Keeper *
keeper_adopt (const char *directory, ProcessId qemu, KeeperAdopt how, GError **error)
{
  g_autofree char *program = find_program (error);
  g_autofree char *in = g_strdup_printf ("--directory=%s", directory);
  g_autofree char *report = g_strdup_printf ("--report-fd=%d", REPORT_FD);
  g_autofree char *timeout = g_strdup_printf ("--timeout-ms=%d", ADOPT_TIMEOUT_MS);
  g_autofree char *adopt =
      g_strdup_printf ("--adopt=%d:%" G_GUINT64_FORMAT, (int)qemu.pid, qemu.start_ticks);
  const char *args[8] = { program, in, report, timeout, adopt };
  guint n_args = 5;
  g_auto (AutoFd) starter = -1;

  if (how & KEEPER_ADOPT_PAUSED)
    args[n_args++] = "--paused";
  if (how & KEEPER_ADOPT_FOREIGN)
    args[n_args++] = "--foreign";

  if (program == NULL || !run_keeper (args, NULL, 0, ADOPT_TIMEOUT_MS, &starter, error))
    return NULL;
  return keeper_attach (directory, error);
}
