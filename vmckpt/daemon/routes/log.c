/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The keeper writes serial.log and, when that is full, renames it to serial.log.1 and begins anew.
 * A follower remembers which file it reads (by inode) and how far; inotify tells when to look
 * again.
 */
#include "log.h"

#include "api-error.h"
#include "call.h"
#include "client-watch.h"

#include <vmckpt/drivers/domain-spec.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE 65536
#define LOG_MAX (16 << 20) /* bytes of one file that are shown: what a keeper holds at most */

typedef struct {
  SoupServerMessage *message;
  Guest *guest;
  char *path;
  AutoFd fd; /* the log file being read */
  GFileMonitor *monitor;
  guint recheck;
  GSource *hangup;
  guint unsent; /* pieces handed to libsoup and not written yet */
  gboolean ended;
} Follower;

static void
follower_free (Follower *follower)
{
  g_clear_handle_id (&follower->recheck, g_source_remove);
  g_clear_object (&follower->monitor);
  client_watch_end (&follower->hangup);
  fd_close (&follower->fd);
  g_free (follower->path);
  guest_unref (follower->guest);
  g_free (follower);
}

/* Appends what @fd still holds to the response; returns the number of pieces. */
static guint
append_rest (SoupServerMessage *message, int fd)
{
  SoupMessageBody *body = soup_server_message_get_response_body (message);
  g_autofree char *piece = g_malloc (PIECE);
  guint pieces = 0;
  gssize n;

  while (fd >= 0 && (n = fd_read_full (fd, piece, PIECE, NULL)) > 0) {
    soup_message_body_append (body, SOUP_MEMORY_COPY, piece, n);
    pieces++;
  }
  return pieces;
}

/* Where a guest's output is: the keeper's files, or the one of libvirt's side. NULL: nowhere. */
static char *
log_path (Guest *guest)
{
  const GuestSpec *spec = guest_spec (guest);

  return spec->driver == GUEST_DRIVER_LIBVIRT
             ? g_strdup (spec->serial_log)
             : g_build_filename (guest_directory (guest), GUEST_FILE_LOG, NULL);
}

/* What somebody else writes may be of any kind and size. */
static int
open_log (const char *path)
{
  g_auto (AutoFd) fd = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat st;

  if (fd < 0 || fstat (fd, &st) < 0 || !S_ISREG (st.st_mode))
    return -1;
  if (st.st_size > LOG_MAX)
    lseek (fd, st.st_size - LOG_MAX, SEEK_SET);
  return fd_steal (&fd);
}

static guint
append_file (SoupServerMessage *message, const char *path, AutoFd *keep)
{
  g_auto (AutoFd) fd = open_log (path);
  guint pieces = append_rest (message, fd);

  if (keep != NULL)
    *keep = fd_steal (&fd);
  return pieces;
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
end (Follower *follower)
{
  follower->ended = TRUE;
  soup_message_body_complete (soup_server_message_get_response_body (follower->message));
  soup_server_message_unpause (follower->message);
}

/* Sends what is new, unless the client has not yet taken what was sent before. */
static void
look (Follower *follower)
{
  if (follower->ended || follower->unsent > 0)
    return;
  gboolean over = guest_state (follower->guest) == GUEST_EXITED;
  follower->unsent += append_rest (follower->message, follower->fd);
  if (was_rotated (follower)) {
    fd_close (&follower->fd);
    follower->unsent += append_file (follower->message, follower->path, &follower->fd);
  }
  if (over)
    end (follower);
  else if (follower->unsent > 0)
    soup_server_message_unpause (follower->message);
}

static void
on_wrote_chunk (SoupServerMessage *message, gpointer user_data)
{
  Follower *follower = user_data;

  if (follower->unsent > 0 && --follower->unsent == 0)
    look (follower);
}

static gboolean
on_client_gone (gpointer user_data)
{
  Follower *follower = user_data;

  if (!follower->ended)
    end (follower); /* the write fails, and with it the exchange ends */
  return G_SOURCE_REMOVE;
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
  g_signal_handlers_disconnect_by_data (message, user_data);
  follower_free (user_data);
}

static void
follow (SoupServerMessage *message, Guest *guest, const char *path, AutoFd *fd, guint unsent)
{
  Follower *follower = g_new0 (Follower, 1);
  g_autofree char *place = g_path_get_dirname (path);
  g_autoptr (GFile) directory = g_file_new_for_path (place);
  SoupMessageHeaders *headers = soup_server_message_get_response_headers (message);

  follower->message = message;
  follower->guest = guest_ref (guest);
  follower->path = g_strdup (path);
  follower->fd = fd_steal (fd);
  follower->unsent = unsent;
  follower->hangup = client_watch (message, on_client_gone, follower, NULL);
  follower->monitor = g_file_monitor_directory (directory, G_FILE_MONITOR_NONE, NULL, NULL);
  if (follower->monitor != NULL) {
    g_file_monitor_set_rate_limit (follower->monitor, 50);
    g_signal_connect (follower->monitor, "changed", G_CALLBACK (on_changed), follower);
  }
  /* The guest's end is no change of a file that inotify would surely report before the state
   * changes. */
  follower->recheck = g_timeout_add (500, on_recheck, follower);
  soup_message_headers_set_encoding (headers, SOUP_ENCODING_CHUNKED);
  soup_message_body_set_accumulate (soup_server_message_get_response_body (message), FALSE);
  g_signal_connect (message, "wrote-chunk", G_CALLBACK (on_wrote_chunk), follower);
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
  g_autofree char *path = log_path (guest);
  if (path == NULL) {
    g_autofree char *reason = domain_spec_no_log (guest_spec (guest));
    g_set_error_literal (&error, API_ERROR, API_CONFLICT, reason);
    call_refuse (message, error);
    return;
  }
  g_autofree char *older =
      g_strconcat (path, guest_spec (guest)->driver == GUEST_DRIVER_LIBVIRT ? ".0" : ".1", NULL);
  soup_server_message_set_status (message, 200, NULL);
  soup_message_headers_set_content_type (soup_server_message_get_response_headers (message),
                                         "text/plain; charset=utf-8", NULL);
  guint pieces = append_file (message, older, NULL);
  pieces += append_file (message, path, &fd);
  if (request_query_bool (request, "follow"))
    follow (message, guest, path, &fd, pieces);
  else
    soup_message_body_complete (soup_server_message_get_response_body (message));
}
