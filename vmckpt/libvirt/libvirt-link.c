/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/libvirt/libvirt-link.h>

#include "program.h"

#include <vmckpt/util/error.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/json.h>
#include <vmckpt/util/last-words.h>

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEFAULT_TIMEOUT_MS 30000
#define CANCEL_GRACE_MS 30000
#define JSON_DEPTH 32

/* A request that waits for its answer; on its asker's stack, in the link's table by its id. */
typedef struct {
  GQueue told;        /* of JsonObject: progress, not yet seen by the asker */
  JsonObject *answer; /* (nullable): the last line */
} Waiting;

struct _LibvirtLink {
  int refs; /* atomic */
  char *uri;
  ChildProcess child;
  AutoFd socket; /* the program's standard input and output */
  AutoFd said;   /* and standard error (last-words.h) */
  GThread *reader;

  GMutex send_lock; /* lines go out whole */

  GMutex lock; /* guards what follows */
  GCond changed;
  GHashTable *waiting; /* id → Waiting, not owned */
  guint64 last_id;
  GError *gone; /* (nullable): why no answer will come any more */
};

G_DEFINE_QUARK (vmckpt - libvirt - error, libvirt_error)

/* ---- The program's lines ---- */

/* Gives a line to whom it is for; one for nobody is dropped: its asker has given up. */
static gboolean
deliver (LibvirtLink *link, const char *line, gsize len, GError **error)
{
  g_autoptr (JsonObject) object =
      json_parse_bounded (line, len, LIBVIRT_LINE_MAX, JSON_DEPTH, error);
  guint64 id;

  if (object == NULL || !json_get_uint64 (object, "id", &id, error))
    return FALSE;
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&link->lock);
  Waiting *waiting = g_hash_table_lookup (link->waiting, &id);
  if (waiting == NULL || waiting->answer != NULL)
    return TRUE;
  if (json_object_has_member (object, "progress"))
    g_queue_push_tail (&waiting->told, g_steal_pointer (&object));
  else
    waiting->answer = g_steal_pointer (&object);
  g_cond_broadcast (&link->changed);
  return TRUE;
}

/* All whole lines of @bytes, taken out. */
static gboolean
deliver_lines (LibvirtLink *link, GByteArray *bytes, gsize searched, GError **error)
{
  gsize start = 0;
  const guint8 *end;

  while ((end = memchr (bytes->data + searched, '\n', bytes->len - searched)) != NULL) {
    gsize at = end - bytes->data;
    if (!deliver (link, (const char *)bytes->data + start, at - start, error))
      return FALSE;
    start = searched = at + 1;
  }
  if (start > 0)
    g_byte_array_remove_range (bytes, 0, start);
  if (bytes->len <= LIBVIRT_LINE_MAX)
    return TRUE;
  g_set_error (error, LIBVIRT_ERROR, LIBVIRT_ERROR_FAILED,
               "vmckpt-libvirt sent a line of more than %u bytes", LIBVIRT_LINE_MAX);
  return FALSE;
}

static gboolean
read_lines (LibvirtLink *link, GError **error)
{
  g_autoptr (GByteArray) bytes = g_byte_array_new();
  g_autofree guint8 *piece = g_malloc (64 * 1024);
  ssize_t n;

  while ((n = read (link->socket, piece, 64 * 1024)) > 0 || (n < 0 && errno == EINTR)) {
    gsize searched = bytes->len;
    g_byte_array_append (bytes, piece, MAX (n, 0));
    if (!deliver_lines (link, bytes, searched, error))
      return FALSE;
  }
  g_autofree char *said = last_words_read (link->said);
  g_set_error (error, LIBVIRT_ERROR, LIBVIRT_ERROR_LOST, "vmckpt-libvirt ended%s%s",
               said[0] != '\0' ? ": " : "", said);
  return FALSE;
}

static gpointer
read_thread (gpointer data)
{
  LibvirtLink *link = data;
  g_autoptr (GError) error = NULL;

  read_lines (link, &error);
  g_mutex_lock (&link->lock);
  link->gone = g_steal_pointer (&error);
  g_cond_broadcast (&link->changed);
  g_mutex_unlock (&link->lock);
  return NULL;
}

/* ---- Starting and ending ---- */

/* In the child: it must not see what is typed at the daemon's terminal. */
static void
set_up_child (gpointer user_data)
{
  setpgid (0, 0);
  signal (SIGPIPE, SIG_DFL);
}

static gboolean
spawn (LibvirtLink *link, GError **error)
{
  g_autofree char *program = libvirt_program_find (error);
  g_autoptr (GError) cause = NULL;
  g_auto (AutoFd) theirs = -1;
  int pair[2];
  GPid pid;

  if (program == NULL)
    return FALSE;
  if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
    return fd_set_errno_error (error, "a socket");
  link->socket = pair[0];
  theirs = pair[1];
  link->said = last_words_new();
  const char *args[] = { program, "--connect", link->uri, "serve", NULL };
  if (!g_spawn_async_with_pipes_and_fds ("/", args, NULL, G_SPAWN_DO_NOT_REAP_CHILD, set_up_child,
                                         NULL, theirs, theirs, link->said, NULL, NULL, 0, &pid,
                                         NULL, NULL, NULL, &cause)) {
    g_set_error (error, LIBVIRT_ERROR, LIBVIRT_ERROR_FAILED, "%s", cause->message);
    return FALSE;
  }
  link->child.pid = pid;
  return TRUE;
}

LibvirtLink *
libvirt_link_open (const char *uri, GError **error)
{
  ERROR_PREFIX (error, "libvirt at %s", uri);
  g_autoptr (LibvirtLink) link = g_new0 (LibvirtLink, 1);

  link->refs = 1;
  link->uri = g_strdup (uri);
  link->socket = link->said = -1;
  link->waiting = g_hash_table_new (g_int64_hash, g_int64_equal);
  g_mutex_init (&link->send_lock);
  g_mutex_init (&link->lock);
  g_cond_init (&link->changed);
  if (!spawn (link, error))
    return NULL;
  link->reader = g_thread_new ("libvirt-link", read_thread, link);
  return g_steal_pointer (&link);
}

LibvirtLink *
libvirt_link_ref (LibvirtLink *link)
{
  g_atomic_int_inc (&link->refs);
  return link;
}

void
libvirt_link_unref (LibvirtLink *link)
{
  if (!g_atomic_int_dec_and_test (&link->refs))
    return;
  child_process_end (&link->child);
  if (link->socket >= 0)
    shutdown (link->socket, SHUT_RDWR);
  if (link->reader != NULL)
    g_thread_join (link->reader);
  fd_close (&link->socket);
  fd_close (&link->said);
  g_hash_table_unref (link->waiting);
  g_mutex_clear (&link->send_lock);
  g_mutex_clear (&link->lock);
  g_cond_clear (&link->changed);
  g_clear_error (&link->gone);
  g_free (link->uri);
  g_free (link);
}

const char *
libvirt_link_uri (const LibvirtLink *link)
{
  return link->uri;
}

gboolean
libvirt_link_usable (LibvirtLink *link)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&link->lock);

  return link->gone == NULL;
}

/* ---- Requests ---- */

static gboolean
send_line (LibvirtLink *link, JsonObject *request, int pass_fd, GError **error)
{
  g_autofree char *text = json_to_line (request);
  g_autofree char *line = g_strconcat (text, "\n", NULL);
  gsize len = strlen (line);

  if (len > LIBVIRT_LINE_MAX) {
    g_set_error (error, LIBVIRT_ERROR, LIBVIRT_ERROR_USAGE,
                 "a request of %" G_GSIZE_FORMAT " bytes is too long", len);
    return FALSE;
  }
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&link->send_lock);
  return fd_send (link->socket, line, len, pass_fd, error);
}

static void
send_cancel (LibvirtLink *link, guint64 id)
{
  g_autoptr (JsonObject) request = json_object_new();

  json_object_set_int_member (request, "id", 0);
  json_object_set_string_member (request, "request", "cancel");
  json_object_set_int_member (request, "of", (gint64)id);
  send_line (link, request, -1, NULL);
}

static JsonObject *
make_request (guint64 id, const char *name, JsonObject *arguments, int pass_fd)
{
  JsonObject *request = json_object_new();
  g_autoptr (GList) members = arguments != NULL ? json_object_get_members (arguments) : NULL;

  json_object_set_int_member (request, "id", (gint64)id);
  json_object_set_string_member (request, "request", name);
  json_object_set_boolean_member (request, "fd", pass_fd >= 0);
  for (GList *member = members; member != NULL; member = member->next)
    json_object_set_member (request, member->data,
                            json_object_dup_member (arguments, member->data));
  return request;
}

/* What the asker waits with. */
typedef struct {
  LibvirtLink *link;
  guint64 id;
  Waiting waiting;
  gint64 deadline_us; /* monotonic; G_MAXINT64: none */
  LibvirtProgressFunc func;
  gpointer user_data;
} Asking;

static void
on_cancelled (GCancellable *cancellable, gpointer user_data)
{
  Asking *asking = user_data;

  g_mutex_lock (&asking->link->lock);
  g_cond_broadcast (&asking->link->changed);
  g_mutex_unlock (&asking->link->lock);
}

/* Gives what has been told to the asker's function, the lock being free meanwhile. */
static void
show_progress (Asking *asking)
{
  JsonObject *told;

  while ((told = g_queue_pop_head (&asking->waiting.told)) != NULL) {
    g_mutex_unlock (&asking->link->lock);
    JsonObject *progress = json_get_object (told, "progress", NULL);
    if (asking->func != NULL && progress != NULL)
      asking->func (progress, asking->user_data);
    json_object_unref (told);
    g_mutex_lock (&asking->link->lock);
  }
}

/* Until the answer is there, or none will come; with the lock held. */
static gboolean
wait_locked (Asking *asking, GCancellable *cancellable, GError **error)
{
  LibvirtLink *link = asking->link;
  gboolean told = FALSE; /* to end the work */

  for (;;) {
    show_progress (asking);
    if (asking->waiting.answer != NULL)
      return TRUE;
    if (link->gone != NULL) {
      g_propagate_error (error, g_error_copy (link->gone));
      return FALSE;
    }
    if (!told && g_cancellable_is_cancelled (cancellable)) {
      told = TRUE;
      asking->deadline_us = g_get_monotonic_time() + CANCEL_GRACE_MS * 1000L;
      g_mutex_unlock (&link->lock);
      send_cancel (link, asking->id);
      g_mutex_lock (&link->lock);
      continue;
    }
    if (asking->deadline_us == G_MAXINT64)
      g_cond_wait (&link->changed, &link->lock);
    else if (!g_cond_wait_until (&link->changed, &link->lock, asking->deadline_us)) {
      if (!g_cancellable_set_error_if_cancelled (cancellable, error))
        g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT,
                             "libvirt did not answer in time");
      return FALSE;
    }
  }
}

/* The result, or the program's own words as an error. */
static JsonObject *
take_answer (JsonObject *answer, GCancellable *cancellable, GError **error)
{
  JsonObject *result = json_get_object (answer, "result", NULL);
  JsonObject *failure = json_get_object (answer, "error", NULL);
  guint64 code;

  if (result != NULL)
    return json_object_ref (result);
  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return NULL;
  code = failure != NULL ? json_get_uint64_or (failure, "code", LIBVIRT_ERROR_FAILED)
                         : LIBVIRT_ERROR_FAILED;
  g_set_error_literal (error, LIBVIRT_ERROR,
                       code <= LIBVIRT_ERROR_IMPOSSIBLE ? (int)code : LIBVIRT_ERROR_FAILED,
                       failure != NULL ? json_get_string_or (failure, "message", "no reason given")
                                       : "vmckpt-libvirt answered with what is no answer");
  return NULL;
}

JsonObject *
libvirt_link_ask (LibvirtLink *link, const char *request, JsonObject *arguments, int pass_fd,
                  int timeout_ms, LibvirtProgressFunc func, gpointer user_data,
                  GCancellable *cancellable, GError **error)
{
  Asking asking = { .link = link, .func = func, .user_data = user_data };
  JsonObject *result = NULL;
  gulong handler = 0;

  if (timeout_ms == 0)
    timeout_ms = DEFAULT_TIMEOUT_MS;
  asking.deadline_us =
      timeout_ms < 0 ? G_MAXINT64 : g_get_monotonic_time() + timeout_ms * (gint64)1000;
  g_mutex_lock (&link->lock);
  asking.id = ++link->last_id;
  g_hash_table_insert (link->waiting, &asking.id, &asking.waiting);
  g_mutex_unlock (&link->lock);

  g_autoptr (JsonObject) line = make_request (asking.id, request, arguments, pass_fd);
  if (cancellable != NULL)
    handler = g_cancellable_connect (cancellable, G_CALLBACK (on_cancelled), &asking, NULL);
  g_autoptr (GError) unsent = NULL;
  send_line (link, line, pass_fd, &unsent);
  g_mutex_lock (&link->lock);
  /* A program that has ended has said why: that is told rather than the failure to write to it. */
  if (unsent != NULL && unsent->domain == LIBVIRT_ERROR)
    g_propagate_error (error, g_steal_pointer (&unsent));
  else if (wait_locked (&asking, cancellable, error))
    result = take_answer (asking.waiting.answer, cancellable, error);
  g_hash_table_remove (link->waiting, &asking.id);
  g_mutex_unlock (&link->lock);
  g_cancellable_disconnect (cancellable, handler);
  g_queue_clear_full (&asking.waiting.told, (GDestroyNotify)json_object_unref);
  g_clear_pointer (&asking.waiting.answer, json_object_unref);
  return result;
}
