/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The keeper writes serial.log and, when that is full, renames it to serial.log.1 and begins anew.
 * A follower remembers which file it reads (by inode) and how far; inotify tells when to look
 * again.
 */
#include "log.h"

#include "api-error.h"
#include "call.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE 65536

typedef struct {
  SoupServerMessage *message;
  Guest *guest;
  char *path;
  AutoFd fd; /* the log file being read */
  GFileMonitor *monitor;
  guint recheck;
  gboolean gone;
} Follower;

static void
follower_free (Follower *follower)
{
  g_clear_handle_id (&follower->recheck, g_source_remove);
  g_clear_object (&follower->monitor);
  fd_close (&follower->fd);
  g_free (follower->path);
  guest_unref (follower->guest);
  g_free (follower);
}

/* Appends what @fd still holds to the response. */
static void
append_rest (SoupServerMessage *message, int fd)
{
  SoupMessageBody *body = soup_server_message_get_response_body (message);
  g_autofree char *piece = g_malloc (PIECE);
  gssize n;

  while (fd >= 0 && (n = fd_read_full (fd, piece, PIECE, NULL)) > 0)
    soup_message_body_append (body, SOUP_MEMORY_COPY, piece, n);
}

static void
append_file (SoupServerMessage *message, Guest *guest, const char *name, AutoFd *keep)
{
  g_autofree char *path = g_build_filename (guest_directory (guest), name, NULL);
  g_auto (AutoFd) fd = open (path, O_RDONLY | O_CLOEXEC);

  append_rest (message, fd);
  if (keep != NULL)
    *keep = fd_steal (&fd);
}

/* TRUE if the log at @path is another file than the one that is open. */
static gboolean
was_rotated (Follower *follower)
{
  struct stat open_file, named;

  return stat (follower->path, &named) == 0 &&
         (follower->fd < 0 || fstat (follower->fd, &open_file) < 0 ||
          open_file.st_ino != named.st_ino || open_file.st_dev != named.st_dev);
}

static void
look (Follower *follower)
{
  if (follower->gone)
    return;
  gboolean ended = guest_state (follower->guest) == GUEST_EXITED;
  append_rest (follower->message, follower->fd);
  if (was_rotated (follower)) {
    fd_close (&follower->fd);
    append_file (follower->message, follower->guest, GUEST_FILE_LOG, &follower->fd);
  }
  if (ended) {
    follower->gone = TRUE;
    soup_message_body_complete (soup_server_message_get_response_body (follower->message));
  }
  soup_server_message_unpause (follower->message);
}

static void
on_changed (GFileMonitor *monitor, GFile *file, GFile *other, GFileMonitorEvent event,
            gpointer user_data)
{
  look (user_data);
}

static gboolean
on_recheck (gpointer user_data)
{
  look (user_data);
  return G_SOURCE_CONTINUE;
}

static void
on_finished (SoupServerMessage *message, gpointer user_data)
{
  follower_free (user_data);
}

static void
follow (SoupServerMessage *message, Guest *guest, AutoFd *fd)
{
  Follower *follower = g_new0 (Follower, 1);
  g_autoptr (GFile) directory = g_file_new_for_path (guest_directory (guest));
  SoupMessageHeaders *headers = soup_server_message_get_response_headers (message);

  follower->message = message;
  follower->guest = guest_ref (guest);
  follower->path = g_build_filename (guest_directory (guest), GUEST_FILE_LOG, NULL);
  follower->fd = fd_steal (fd);
  follower->monitor = g_file_monitor_directory (directory, G_FILE_MONITOR_NONE, NULL, NULL);
  if (follower->monitor != NULL) {
    g_file_monitor_set_rate_limit (follower->monitor, 50);
    g_signal_connect (follower->monitor, "changed", G_CALLBACK (on_changed), follower);
  }
  /* The guest's end is no change of a file that inotify would surely report before the state
   * changes. */
  follower->recheck = g_timeout_add (500, on_recheck, follower);
  soup_message_headers_set_encoding (headers, SOUP_ENCODING_CHUNKED);
  g_signal_connect (message, "finished", G_CALLBACK (on_finished), follower);
}

void
log_serve (Daemon *daemon, SoupServerMessage *message, Request *request)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Guest) guest = registry_get (daemon->registry, request->params[0], &error);
  g_auto (AutoFd) fd = -1;

  if (guest == NULL) {
    call_refuse (message, error);
    return;
  }
  soup_server_message_set_status (message, 200, NULL);
  soup_message_headers_set_content_type (soup_server_message_get_response_headers (message),
                                         "text/plain; charset=utf-8", NULL);
  append_file (message, guest, GUEST_FILE_LOG_OLD, NULL);
  append_file (message, guest, GUEST_FILE_LOG, &fd);
  if (request_query_bool (request, "follow"))
    follow (message, guest, &fd);
  else
    soup_message_body_complete (soup_server_message_get_response_body (message));
}
