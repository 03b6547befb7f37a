/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   start, adopt ─▶ listener (ours) ─▶ child that waits ─▶ recorded ─▶ it may go ─▶ ready byte
 *                        ▲                                                             │
 *                        └────────────── after a pause, if it dies again ◀── pidfd ◀───┘
 *
 * Killed between any two, the next daemon finds a record of a process that is there, or of one that
 * is gone and has to be started again. The listening socket is kept open here while this daemon
 * lives, so that a client that comes between two servers waits in its queue.
 */
#include "nbdkit-launch.h"

#include <vmckpt/store/store.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>

#include <errno.h>
#include <glib-unix.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* A password takes a quarter of a second for each key, on a machine that does nothing else. */
#define READY_TIMEOUT_MS 60000
/* A server that lived so long may be started again at once. */
#define LIVED_US (10 * G_USEC_PER_SEC)
#define PAUSE_FIRST_MS 250
#define PAUSE_MAX_MS 30000
#define KILL_TIMEOUT_MS 5000

struct _DiskServer {
  gatomicrefcount refs; /* the owner's, and each source's */
  DiskServerWatch watch;
  GMutex lock; /* of what follows */
  DiskServerRecord *record;
  KeyMaterial *key; /* (nullable) */
  AutoFd listener;  /* -1: an adopted process has the only one */
  AutoFd ready;     /* -1: nothing is expected */
  AutoFd pidfd;
  GSource *death, *readiness, *retry;
  gint64 started_us; /* monotonic */
  guint deaths;      /* in a row, each soon after its start */
  gboolean let_go;   /* the owner has freed or ended it */
};

static DiskServer *
server_ref (DiskServer *server)
{
  g_atomic_ref_count_inc (&server->refs);
  return server;
}

static void
server_unref (gpointer data)
{
  DiskServer *server = data;

  if (!g_atomic_ref_count_dec (&server->refs))
    return;
  if (server->watch.destroy != NULL)
    server->watch.destroy (server->watch.user_data);
  if (server->watch.context != NULL)
    g_main_context_unref (server->watch.context);
  disk_server_record_free (server->record);
  key_material_free (server->key);
  fd_close (&server->listener);
  fd_close (&server->ready);
  fd_close (&server->pidfd);
  g_mutex_clear (&server->lock);
  g_free (server);
}

static DiskServer *
server_new (DiskServerRecord *record, const KeyMaterial *key, const DiskServerWatch *watch)
{
  DiskServer *server = g_new0 (DiskServer, 1);

  g_atomic_ref_count_init (&server->refs);
  if (watch != NULL)
    server->watch = *watch;
  if (server->watch.context != NULL)
    g_main_context_ref (server->watch.context);
  g_mutex_init (&server->lock);
  server->record = record;
  server->key = key != NULL ? key_material_copy (key) : NULL;
  server->listener = server->ready = server->pidfd = -1;
  return server;
}

static void
tell (DiskServer *server, DiskServerEvent event, const char *message)
{
  if (server->watch.func != NULL)
    server->watch.func (server, event, message, server->watch.user_data);
}

/* ---- Sources, with the lock ---- */

static void
drop_source (GSource **source)
{
  if (*source == NULL)
    return;
  g_source_destroy (*source);
  g_clear_pointer (source, g_source_unref);
}

static void
drop_sources (DiskServer *server)
{
  drop_source (&server->death);
  drop_source (&server->readiness);
  drop_source (&server->retry);
  fd_close (&server->ready);
}

static void
attach (DiskServer *server, GSource **place, GSource *source, GSourceFunc func)
{
  drop_source (place);
  *place = source;
  g_source_set_callback (source, func, server_ref (server), server_unref);
  g_source_attach (source, server->watch.context);
}

static gboolean on_death (int fd, GIOCondition condition, gpointer user_data);
static gboolean on_ready (int fd, GIOCondition condition, gpointer user_data);
static gboolean on_retry (gpointer user_data);

static GSource *
fd_source_new (int fd)
{
  return g_unix_fd_source_new (fd, G_IO_IN | G_IO_HUP | G_IO_ERR);
}

/* Watches the process, child or not, dead or alive. FALSE if it is gone for good, or cannot be
 * watched now. */
static gboolean
watch_process (DiskServer *server)
{
  ProcessId process = server->record->process;

  fd_close (&server->pidfd);
  server->pidfd = syscall (SYS_pidfd_open, process.pid, 0);
  /* Compared after it was opened: until then the pid may have become another's. */
  if (server->pidfd < 0 || process_id_of (process.pid).start_ticks != process.start_ticks)
    return FALSE;
  attach (server, &server->death, fd_source_new (server->pidfd), G_SOURCE_FUNC (on_death));
  return TRUE;
}

/* ---- Starting, with the lock ---- */

static gboolean
launch (DiskServer *server, GError **error)
{
  g_auto (NbdkitLaunch) started = NBDKIT_LAUNCH_NONE;
  DiskServerRecord *record = server->record;

  if (record->encrypted && server->key == NULL) {
    g_set_error (error, STORE_ERROR, STORE_ERROR_KEY_NEEDED,
                 "the store %s is encrypted, and its key is not known here any more",
                 record->store);
    return FALSE;
  }
  if (server->listener < 0)
    server->listener = nbdkit_listen (record, error);
  if (server->listener < 0 ||
      !nbdkit_launch (record, server->listener, server->key, &started, error))
    return FALSE;
  record->process = process_id_of (started.child.pid);
  if (!fault_visit (FAULT_SERVER_MADE, error) || !disk_server_record_write (record, error) ||
      !fault_visit (FAULT_SERVER_RECORDED, error) || !nbdkit_launch_go (&started, error)) {
    record->process = (ProcessId){ 0 };
    return FALSE;
  }
  server->started_us = g_get_monotonic_time();
  fd_close (&server->ready);
  server->ready = fd_steal (&started.ready);
  child_process_release (&started.child);
  return TRUE;
}

/* Reaps it if it was our child. The wait status, or -1. */
static int
reap (DiskServer *server)
{
  int status, result = -1;

  if (waitpid (server->record->process.pid, &status, WNOHANG) == server->record->process.pid)
    result = status;
  server->record->process = (ProcessId){ 0 };
  return result;
}

/* How long to wait before the next start, after another death. */
static guint
next_pause_ms (const DiskServer *server)
{
  if (server->deaths <= 1)
    return 0;
  return MIN (PAUSE_FIRST_MS << MIN (server->deaths - 2, 16), PAUSE_MAX_MS);
}

static void
retry_after (DiskServer *server, guint ms)
{
  attach (server, &server->retry, g_timeout_source_new (ms), on_retry);
}

/* Starts it again. Returns NULL, or why that cannot be (newly allocated). */
static char *
start_again (DiskServer *server)
{
  g_autoptr (GError) error = NULL;

  if (launch (server, &error)) {
    attach (server, &server->readiness, fd_source_new (server->ready), G_SOURCE_FUNC (on_ready));
    if (!watch_process (server))
      retry_after (server, PAUSE_FIRST_MS);
    return NULL;
  }
  server->deaths++;
  if (!g_error_matches (error, STORE_ERROR, STORE_ERROR_KEY_NEEDED))
    retry_after (server, MAX (next_pause_ms (server), PAUSE_FIRST_MS));
  return g_strdup (error->message);
}

/* ---- Events ---- */

static gboolean
on_retry (gpointer user_data)
{
  DiskServer *server = user_data;
  g_autofree char *trouble = NULL;

  g_mutex_lock (&server->lock);
  if (!server->let_go) {
    drop_source (&server->retry);
    if (!process_id_alive (server->record->process)) {
      reap (server);
      trouble = start_again (server);
    } else if (!watch_process (server)) {
      retry_after (server, PAUSE_MAX_MS);
    }
  }
  g_mutex_unlock (&server->lock);
  if (trouble != NULL)
    tell (server, DISK_SERVER_WAITING, trouble);
  return G_SOURCE_REMOVE;
}

static gboolean
on_ready (int fd, GIOCondition condition, gpointer user_data)
{
  DiskServer *server = user_data;
  gboolean serves = FALSE;
  char byte;

  g_mutex_lock (&server->lock);
  if (!server->let_go) {
    serves = read (fd, &byte, 1) == 1; /* else on_death() says more */
    drop_source (&server->readiness);
    fd_close (&server->ready);
  }
  g_mutex_unlock (&server->lock);
  if (serves)
    tell (server, DISK_SERVER_STARTED_AGAIN, "the disk server had died and was started again");
  return G_SOURCE_REMOVE;
}

/* With the lock: the process is gone. Says what to tell, if anything. */
static gboolean
handle_death (DiskServer *server, DiskServerEvent *event, char **message)
{
  gboolean waited_for = server->ready >= 0; /* it never served */
  int status = reap (server);

  drop_source (&server->death);
  drop_source (&server->readiness);
  fd_close (&server->ready);
  if (!waited_for && server->record->exit_last && status != -1 && WIFEXITED (status) &&
      WEXITSTATUS (status) == 0) {
    fd_close (&server->listener);
    disk_server_record_remove (server->record);
    *event = DISK_SERVER_ENDED;
    *message = g_strdup ("the last client of the disk server is gone");
    return TRUE;
  }
  if (g_get_monotonic_time() - server->started_us >= LIVED_US)
    server->deaths = 0;
  server->deaths++;
  *event = DISK_SERVER_WAITING;
  guint pause = next_pause_ms (server);
  if (pause == 0) {
    *message = start_again (server);
    return *message != NULL;
  }
  retry_after (server, pause);
  g_autofree char *tail = nbdkit_log_tail (server->record->directory);
  *message = g_strdup_printf ("the disk server %s: %s",
                              waited_for ? "did not come up again" : "died again", tail);
  return TRUE;
}

static gboolean
on_death (int fd, GIOCondition condition, gpointer user_data)
{
  DiskServer *server = user_data;
  g_autofree char *message = NULL;
  DiskServerEvent event;
  gboolean told = FALSE;

  g_mutex_lock (&server->lock);
  if (!server->let_go)
    told = handle_death (server, &event, &message);
  g_mutex_unlock (&server->lock);
  if (told)
    tell (server, event, message);
  return G_SOURCE_REMOVE;
}

/* ---- For others ---- */

/* Waits for the first byte of a server that was just started. */
static gboolean
wait_ready (DiskServer *server, GError **error)
{
  struct pollfd wait = { .fd = server->ready, .events = POLLIN };
  gint64 deadline = g_get_monotonic_time() + READY_TIMEOUT_MS * G_GINT64_CONSTANT (1000);
  char byte;

  for (;;) {
    gint64 left = (deadline - g_get_monotonic_time()) / 1000;
    if (left <= 0) {
      g_set_error_literal (error, DISK_ERROR, DISK_ERROR_FAILED, "it does not come up");
      return FALSE;
    }
    if (poll (&wait, 1, left) <= 0)
      continue;
    if (read (server->ready, &byte, 1) == 1)
      break;
    g_autofree char *tail = nbdkit_log_tail (server->record->directory);
    g_set_error_literal (error, DISK_ERROR, DISK_ERROR_FAILED,
                         *tail != '\0' ? tail : "nbdkit ended without a word");
    return FALSE;
  }
  fd_close (&server->ready);
  return TRUE;
}

/* Ends the process that @record names, and reaps it if it is ours. */
static void
end_process (const DiskServerRecord *record, guint grace_ms)
{
  ProcessId process = record->process;

  if (process.start_ticks == 0)
    return;
  if (grace_ms > 0 && process_id_signal (process, SIGTERM))
    process_id_wait_gone (process, grace_ms);
  if (process_id_alive (process) && process_id_signal (process, SIGKILL))
    process_id_wait_gone (process, KILL_TIMEOUT_MS);
  waitpid (process.pid, NULL, WNOHANG);
}

static gboolean
check_free (const char *directory, GError **error)
{
  g_autoptr (DiskServerRecord) record = disk_server_record_read (directory, NULL);

  if (record == NULL || !process_id_alive (record->process))
    return TRUE;
  g_set_error (error, DISK_ERROR, DISK_ERROR_BUSY, "process %d serves there already",
               (int)record->process.pid);
  return FALSE;
}

DiskServer *
disk_server_start (const DiskServerOptions *options, const DiskServerWatch *watch, GError **error)
{
  ERROR_PREFIX (error, "serving the disks of checkpoint %.12s", options->checkpoint);
  DiskServer *server = server_new (disk_server_record_new (options), options->key, watch);
  g_autofree char *log = g_build_filename (options->directory, DISK_SERVER_FILE_LOG, NULL);

  g_mutex_lock (&server->lock);
  gboolean up = check_free (options->directory, error);
  if (up) {
    unlink (log); /* what an earlier server there said would be taken for this one's words */
    up = launch (server, error) && wait_ready (server, error);
  }
  if (up && !watch_process (server))
    retry_after (server, PAUSE_FIRST_MS);
  gboolean listens = server->listener >= 0;
  g_mutex_unlock (&server->lock);
  if (up)
    return server;
  /* Nobody is told of what nobody has got. A socket that is not ours is left alone. */
  server->watch.destroy = NULL;
  if (listens)
    disk_server_end (server, 0);
  else
    disk_server_free (server);
  return NULL;
}

DiskServer *
disk_server_adopt (const char *directory, const KeyMaterial *key, const DiskServerWatch *watch,
                   GError **error)
{
  DiskServerRecord *record = disk_server_record_read (directory, error);

  if (record == NULL)
    return NULL;
  DiskServer *server = server_new (record, key, watch);
  g_mutex_lock (&server->lock);
  server->started_us = g_get_monotonic_time();
  if (!process_id_alive (record->process) || !watch_process (server)) {
    record->process = (ProcessId){ 0 };
    /* There, since nbdkit would end with a thread that goes away before it serves. */
    retry_after (server, 0);
  }
  g_mutex_unlock (&server->lock);
  return server;
}

/* No event comes any more, except one that is on its way. */
static void
let_go (DiskServer *server)
{
  g_mutex_lock (&server->lock);
  server->let_go = TRUE;
  drop_sources (server);
  g_mutex_unlock (&server->lock);
}

void
disk_server_free (DiskServer *server)
{
  if (server == NULL)
    return;
  let_go (server);
  server_unref (server);
}

void
disk_server_end (DiskServer *server, guint grace_ms)
{
  let_go (server);
  end_process (server->record, grace_ms);
  disk_server_record_remove (server->record);
  server_unref (server);
}

void
disk_server_end_found (const char *directory)
{
  g_autoptr (DiskServerRecord) record = disk_server_record_read (directory, NULL);

  if (record == NULL)
    return;
  end_process (record, 0);
  disk_server_record_remove (record);
}

void
disk_server_offer_key (DiskServer *server, const KeyMaterial *key)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&server->lock);

  if (server->key != NULL || !server->record->encrypted || server->let_go)
    return;
  server->key = key_material_copy (key);
  if (server->record->process.start_ticks == 0)
    retry_after (server, 0);
}

gboolean
disk_server_needs_key (DiskServer *server)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&server->lock);

  return server->key == NULL && server->record->encrypted &&
         server->record->process.start_ticks == 0;
}

ProcessId
disk_server_process (DiskServer *server)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&server->lock);

  return server->record->process;
}

const char *
disk_server_socket (DiskServer *server)
{
  return server->record->socket;
}

guint16
disk_server_port (DiskServer *server)
{
  return server->record->port;
}

const char *
disk_server_store (DiskServer *server)
{
  return server->record->store;
}

const char *
disk_server_checkpoint (DiskServer *server)
{
  return server->record->checkpoint;
}

char *
disk_server_uri (DiskServer *server, const char *disk)
{
  const DiskServerRecord *record = server->record;
  g_autofree char *name = g_uri_escape_string (disk != NULL ? disk : "", NULL, FALSE);

  if (record->socket != NULL) {
    g_autofree char *path = g_uri_escape_string (record->socket, "/", FALSE);
    return g_strdup_printf ("nbd%s+unix:///%s?socket=%s", record->tls != NULL ? "s" : "", name,
                            path);
  }
  gboolean v6 = strchr (record->address, ':') != NULL;
  return g_strdup_printf ("nbd%s://%s%s%s:%u/%s", record->tls != NULL ? "s" : "", v6 ? "[" : "",
                          record->address, v6 ? "]" : "", record->port, name);
}
