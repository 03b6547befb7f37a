/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Objects in a hash table: what a directory does, without a medium. For tests. */
#include "backend-private.h"

#include <vmckpt/util/fault.h>

typedef struct {
  GBytes *data;
  gint64 mtime_us;
} Object;

typedef struct {
  Backend backend;
  GMutex lock;
  GHashTable *objects; /* (lock) name → Object */
} MemoryBackend;

static void
object_free (gpointer data)
{
  Object *object = data;
  g_bytes_unref (object->data);
  g_free (object);
}

static gboolean
memory_put (Backend *backend, const char *name, GBytes *data, gboolean *existed, GError **error)
{
  MemoryBackend *self = (MemoryBackend *)backend;

  if (!backend_name_valid (name, error) || !fault_visit (FAULT_OBJECT_WRITTEN, error) ||
      !fault_visit (FAULT_OBJECT_SYNCED, error))
    return FALSE;
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->lock);
  *existed = g_hash_table_contains (self->objects, name);
  if (*existed)
    return TRUE;
  if (!fault_visit (FAULT_OBJECT_NAMED, error))
    return FALSE;
  Object *object = g_new0 (Object, 1);
  /* A copy: the caller's bytes may be a view of something that changes. */
  object->data = g_bytes_new (g_bytes_get_data (data, NULL), g_bytes_get_size (data));
  object->mtime_us = g_get_real_time();
  g_hash_table_insert (self->objects, g_strdup (name), object);
  return TRUE;
}

typedef struct {
  BackendStream stream;
  GByteArray *data;
} MemoryStream;

static BackendStream *
memory_stream_begin (Backend *backend, GError **error)
{
  MemoryStream *self = g_new0 (MemoryStream, 1);
  self->stream.backend = backend;
  self->data = g_byte_array_new();
  return &self->stream;
}

static gboolean
memory_stream_write (BackendStream *stream, const void *data, gsize len, GError **error)
{
  MemoryStream *self = (MemoryStream *)stream;

  if (self->data->len > G_MAXUINT - len) {
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE, "the object is too large");
    return FALSE;
  }
  g_byte_array_append (self->data, data, len);
  return TRUE;
}

static gboolean
memory_stream_commit (BackendStream *stream, const char *name, gboolean *existed, GError **error)
{
  MemoryStream *self = (MemoryStream *)stream;
  g_autoptr (GBytes) data = g_bytes_new_static (self->data->data, self->data->len);

  return memory_put (stream->backend, name, data, existed, error);
}

static void
memory_stream_free (BackendStream *stream)
{
  MemoryStream *self = (MemoryStream *)stream;
  g_byte_array_unref (self->data);
  g_free (self);
}

/* The object's bytes with a reference, or NULL with @error. */
static GBytes *
find_object (Backend *backend, const char *name, GError **error)
{
  MemoryBackend *self = (MemoryBackend *)backend;

  if (!backend_name_valid (name, error))
    return NULL;
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->lock);
  Object *object = g_hash_table_lookup (self->objects, name);
  if (object != NULL)
    return g_bytes_ref (object->data);
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND, "there is no object %s", name);
  return NULL;
}

static GBytes *
memory_get (Backend *backend, const char *name, guint64 offset, gsize len, GError **error)
{
  g_autoptr (GBytes) data = find_object (backend, name, error);

  if (data == NULL || !backend_check_range (name, g_bytes_get_size (data), offset, &len, error))
    return NULL;
  return g_bytes_new_from_bytes (data, offset, len);
}

static gboolean
memory_stat (Backend *backend, const char *name, guint64 *size, GError **error)
{
  g_autoptr (GBytes) data = find_object (backend, name, error);

  if (data != NULL)
    *size = g_bytes_get_size (data);
  return data != NULL;
}

static gboolean
memory_list (Backend *backend, const char *prefix, BackendListFunc func, gpointer user_data,
             GError **error)
{
  MemoryBackend *self = (MemoryBackend *)backend;
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);
  GHashTableIter iter;
  gpointer key;

  if (!backend_prefix_valid (prefix, error))
    return FALSE;
  g_mutex_lock (&self->lock);
  g_hash_table_iter_init (&iter, self->objects);
  while (g_hash_table_iter_next (&iter, &key, NULL))
    if (g_str_has_prefix (key, prefix))
      g_ptr_array_add (names, g_strdup (key));
  g_mutex_unlock (&self->lock);
  /* Called without the lock: @func may use the backend. */
  for (guint i = 0; i < names->len; i++) {
    g_mutex_lock (&self->lock);
    Object *object = g_hash_table_lookup (self->objects, names->pdata[i]);
    guint64 size = object != NULL ? g_bytes_get_size (object->data) : 0;
    gint64 mtime_us = object != NULL ? object->mtime_us : 0;
    g_mutex_unlock (&self->lock);
    if (object != NULL && !func (names->pdata[i], size, mtime_us, user_data))
      break;
  }
  return TRUE;
}

static gboolean
memory_remove (Backend *backend, const char *name, GError **error)
{
  MemoryBackend *self = (MemoryBackend *)backend;

  if (!backend_name_valid (name, error))
    return FALSE;
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->lock);
  g_hash_table_remove (self->objects, name);
  return TRUE;
}

static gboolean
memory_sync (Backend *backend, GError **error)
{
  return TRUE;
}

static gboolean
memory_space (Backend *backend, guint64 *available, GError **error)
{
  *available = G_MAXUINT64;
  return TRUE;
}

static void
memory_free (Backend *backend)
{
  MemoryBackend *self = (MemoryBackend *)backend;

  g_hash_table_unref (self->objects);
  g_mutex_clear (&self->lock);
  g_free (backend->location);
  g_free (self);
}

static const BackendOps memory_ops = {
  .put_if_absent = memory_put,
  .get = memory_get,
  .stat = memory_stat,
  .list = memory_list,
  .remove = memory_remove,
  .sync = memory_sync,
  .space = memory_space,
  .stream_begin = memory_stream_begin,
  .stream_write = memory_stream_write,
  .stream_commit = memory_stream_commit,
  .stream_free = memory_stream_free,
  .free = memory_free,
};

Backend *
backend_memory_new (void)
{
  MemoryBackend *memory = g_new0 (MemoryBackend, 1);

  memory->backend = (Backend){ &memory_ops, g_strdup ("memory:") };
  memory->objects = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, object_free);
  g_mutex_init (&memory->lock);
  return &memory->backend;
}
