/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The side of who has bridges: starting, finding and ending them. */
#include <vmckpt/libvirt/libvirt-bridge.h>

#include "bridge-record.h"
#include "program.h"

#include <vmckpt/util/error.h>
#include <vmckpt/util/fd.h>

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define START_TIMEOUT_MS 20000
#define END_TIMEOUT_MS 2000
#define REPORT_FD 3
#define REPORT_MAX_BYTES 65536
#define LOG_NAME "bridge.log"

void
libvirt_bridge_clear (LibvirtBridge *bridge)
{
  g_clear_pointer (&bridge->uri, g_free);
  g_clear_pointer (&bridge->uuid, g_free);
}

gboolean
libvirt_bridge_find (const char *directory, LibvirtBridge *bridge, GError **error)
{
  *bridge = (LibvirtBridge){ 0 };
  if (!bridge_record_read (directory, bridge, error))
    return FALSE;
  if (process_id_alive (bridge->bridge))
    return TRUE;
  libvirt_bridge_clear (bridge);
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND, "the bridge of %s has ended", directory);
  return FALSE;
}

/* What comes through @fd until its end; NULL if that does not come in time. */
static GString *
read_report (int fd)
{
  gint64 deadline_us = g_get_monotonic_time() + START_TIMEOUT_MS * 1000L;
  g_autoptr (GString) report = g_string_new (NULL);

  while (report->len < REPORT_MAX_BYTES) {
    struct pollfd ready = { .fd = fd, .events = POLLIN };
    gint64 left_ms = (deadline_us - g_get_monotonic_time()) / 1000;
    char piece[4096];
    ssize_t n;

    if (left_ms <= 0)
      return NULL;
    if (poll (&ready, 1, (int)left_ms) <= 0)
      continue;
    n = read (fd, piece, sizeof piece);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      break;
    g_string_append_len (report, piece, n);
  }
  return g_steal_pointer (&report);
}

/* "ok", or a LibvirtError's number and why. */
static gboolean
take_report (const GString *report, GError **error)
{
  char *text = NULL;
  gint64 code;

  if (report != NULL && g_str_equal (report->str, "ok"))
    return TRUE;
  if (report == NULL || report->len == 0) {
    g_set_error_literal (error, LIBVIRT_ERROR, LIBVIRT_ERROR_FAILED,
                         report == NULL ? "its bridge did not come up in time"
                                        : "vmckpt-libvirt ended without a word");
    return FALSE;
  }
  code = g_ascii_strtoll (report->str, &text, 10);
  g_set_error_literal (error, LIBVIRT_ERROR,
                       code >= 0 && code <= LIBVIRT_ERROR_IMPOSSIBLE ? (int)code
                                                                     : LIBVIRT_ERROR_FAILED,
                       *text == ' ' ? text + 1 : text);
  return FALSE;
}

/* In the child: it outlives the daemon, and its terminal. */
static void
set_up_child (gpointer user_data)
{
  setsid();
}

static gboolean
spawn (const char *uri, const char *uuid, const char *directory, GError **error)
{
  g_autofree char *program = libvirt_program_find (error);
  g_autofree char *log_path = g_build_filename (directory, LOG_NAME, NULL);
  g_autofree char *in = g_strdup_printf ("--directory=%s", directory);
  g_autoptr (GError) cause = NULL;
  g_auto (AutoFd) ours = -1;
  g_auto (AutoFd) theirs = -1;
  g_auto (AutoFd) log = -1;
  int fds[2], number = REPORT_FD;

  if (program == NULL || !g_unix_open_pipe (fds, FD_CLOEXEC, error))
    return FALSE;
  ours = fds[0];
  theirs = fds[1];
  log = open (log_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (log < 0)
    return fd_set_errno_error (error, "%s", log_path);
  const char *args[] = { program, "--connect", uri, in, "--report-fd=3", "bridge", uuid, NULL };
  /* GLib lets it be started by a child in between, so that it never becomes our zombie. */
  if (!g_spawn_async_with_pipes_and_fds ("/", args, NULL, G_SPAWN_DEFAULT, set_up_child, NULL, -1,
                                         log, log, &theirs, &number, 1, NULL, NULL, NULL, NULL,
                                         &cause)) {
    g_set_error (error, LIBVIRT_ERROR, LIBVIRT_ERROR_FAILED, "%s", cause->message);
    return FALSE;
  }
  fd_close (&theirs);
  g_autoptr (GString) report = read_report (ours);
  if (report != NULL && g_str_has_suffix (report->str, "\n"))
    g_string_truncate (report, report->len - 1);
  return take_report (report, error);
}

gboolean
libvirt_bridge_start (const char *uri, const char *uuid, const char *directory,
                      LibvirtBridge *bridge, GError **error)
{
  ERROR_PREFIX (error, "domain %s of %s", uuid, uri);

  if (libvirt_bridge_find (directory, bridge, NULL))
    return TRUE;
  return spawn (uri, uuid, directory, error) && libvirt_bridge_find (directory, bridge, error);
}

void
libvirt_bridge_end (const LibvirtBridge *bridge, const char *directory)
{
  process_id_signal (bridge->bridge, SIGTERM);
  if (!process_id_wait_gone (bridge->bridge, END_TIMEOUT_MS))
    process_id_signal (bridge->bridge, SIGKILL);
  process_id_wait_gone (bridge->bridge, END_TIMEOUT_MS);
  bridge_record_remove (directory);
}
