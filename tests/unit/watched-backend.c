/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "watched-backend.h"

typedef struct {
  BackendStream stream;
  BackendStream *inner;
} WatchedStream;

static Backend *
inner_of (Backend *backend)
{
  return ((WatchedBackend *)backend)->inner;
}

static gboolean
watched_put (Backend *backend, const char *name, GBytes *data, gboolean *existed, GError **error)
{
  WatchedBackend *self = (WatchedBackend *)backend;

  if (g_str_has_prefix (name, self->watched)) {
    g_mutex_lock (&self->lock);
    self->puts++;
    g_mutex_unlock (&self->lock);
  }
  return self->inner->ops->put_if_absent (self->inner, name, data, existed, error);
}

static gboolean
is_to_fail (WatchedBackend *self, const char *name, guint64 offset, gsize len)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->lock);

  return self->fail_prefix != NULL && g_str_has_prefix (name, self->fail_prefix) &&
         (len == G_MAXSIZE || offset + len > self->fail_from);
}

static GBytes *
watched_get (Backend *backend, const char *name, guint64 offset, gsize len, GError **error)
{
  WatchedBackend *self = (WatchedBackend *)backend;

  if (is_to_fail (self, name, offset, len)) {
    g_set_error (error, G_IO_ERROR, self->fail_code, "reading %s: as the test wants it", name);
    return NULL;
  }
  GBytes *bytes = self->inner->ops->get (self->inner, name, offset, len, error);
  if (bytes != NULL && g_str_has_prefix (name, self->watched)) {
    g_mutex_lock (&self->lock);
    self->gets++;
    self->get_bytes += g_bytes_get_size (bytes);
    self->largest_get = MAX (self->largest_get, g_bytes_get_size (bytes));
    g_mutex_unlock (&self->lock);
  }
  return bytes;
}

static gboolean
watched_stat (Backend *backend, const char *name, guint64 *size, GError **error)
{
  return inner_of (backend)->ops->stat (inner_of (backend), name, size, error);
}

static gboolean
watched_list (Backend *backend, const char *prefix, BackendListFunc func, gpointer user_data,
              GError **error)
{
  return inner_of (backend)->ops->list (inner_of (backend), prefix, func, user_data, error);
}

static gboolean
watched_remove (Backend *backend, const char *name, GError **error)
{
  return inner_of (backend)->ops->remove (inner_of (backend), name, error);
}

static gboolean
watched_sync (Backend *backend, GError **error)
{
  return inner_of (backend)->ops->sync (inner_of (backend), error);
}

static gboolean
watched_space (Backend *backend, guint64 *available, GError **error)
{
  return inner_of (backend)->ops->space (inner_of (backend), available, error);
}

static BackendStream *
watched_stream_begin (Backend *backend, GError **error)
{
  BackendStream *inner = inner_of (backend)->ops->stream_begin (inner_of (backend), error);

  if (inner == NULL)
    return NULL;
  WatchedStream *stream = g_new0 (WatchedStream, 1);
  stream->stream.backend = backend;
  stream->inner = inner;
  return &stream->stream;
}

static gboolean
watched_stream_write (BackendStream *stream, const void *data, gsize len, GError **error)
{
  BackendStream *inner = ((WatchedStream *)stream)->inner;
  WatchedBackend *self = (WatchedBackend *)stream->backend;

  g_mutex_lock (&self->lock);
  self->stream_bytes += len;
  g_mutex_unlock (&self->lock);
  return inner->backend->ops->stream_write (inner, data, len, error);
}

static gboolean
watched_stream_commit (BackendStream *stream, const char *name, gboolean *existed, GError **error)
{
  BackendStream *inner = ((WatchedStream *)stream)->inner;

  return inner->backend->ops->stream_commit (inner, name, existed, error);
}

static void
watched_stream_free (BackendStream *stream)
{
  backend_stream_free (((WatchedStream *)stream)->inner);
  g_free (stream);
}

static void
watched_free (Backend *backend)
{
  backend_free (inner_of (backend));
  g_mutex_clear (&((WatchedBackend *)backend)->lock);
  g_free (backend->location);
  g_free (backend);
}

static const BackendOps watched_ops = {
  .put_if_absent = watched_put,
  .get = watched_get,
  .stat = watched_stat,
  .list = watched_list,
  .remove = watched_remove,
  .sync = watched_sync,
  .space = watched_space,
  .stream_begin = watched_stream_begin,
  .stream_write = watched_stream_write,
  .stream_commit = watched_stream_commit,
  .stream_free = watched_stream_free,
  .free = watched_free,
};

WatchedBackend *
watched_backend_new (Backend *inner, const char *watched)
{
  WatchedBackend *self = g_new0 (WatchedBackend, 1);

  self->backend = (Backend){ &watched_ops, g_strdup (inner->location) };
  self->inner = inner;
  g_mutex_init (&self->lock);
  self->watched = watched;
  return self;
}

void
watched_backend_fail (WatchedBackend *self, const char *prefix)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->lock);

  self->fail_prefix = prefix;
}
