/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A range is read by reading the blocks that cover it. Before the first range of an object, its
 * header and last block are read: that block holds only if the object has the name and the length
 * that it was put with. What was found is remembered (nothing of it is secret), so further ranges
 * cost one read each. An object that was removed and put anew has another salt: then no block opens
 * with what is remembered, and the object is looked at again before it is called damaged.
 */
#include "backend-sealed.h"

#include "backend-private.h"
#include "format.h"
#include "key-object.h"

#include <vmckpt/store/store.h>
#include <vmckpt/util/secret.h>

#include <string.h>

/* Remembered objects: about 200 bytes each. */
#define MAX_KNOWN 16384

/* What is sealed at a time. */
#define PIECE_BYTES (256 * 1024)

typedef struct {
  Backend backend;
  Backend *inner;
  Secret *key; /* a SealKey */
  GMutex lock;
  GHashTable *known; /* (lock) name → KnownObject */
} SealedBackend;

/* An object whose header and end were verified. */
typedef struct {
  SealHeader header;
  guint64 size; /* of the content */
} KnownObject;

static const SealKey *
seal_key (SealedBackend *self)
{
  return (const SealKey *)self->key->bytes;
}

/* What has to be read before there is a key, and files being written. */
static gboolean
is_plain (const char *name)
{
  return g_str_equal (name, FORMAT_OBJECT) || g_str_has_prefix (name, KEY_PREFIX) ||
         g_str_has_prefix (name, "tmp/");
}

static gboolean
damaged (GError **error, const char *name, const char *what)
{
  g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED, "%s is damaged: %s", name, what);
  return FALSE;
}

/* ---- Writing ---- */

static GBytes *
seal_whole (SealedBackend *self, const char *name, GBytes *content)
{
  gsize len;
  const guint8 *data = g_bytes_get_data (content, &len);
  const SealEnd end = { name, len };
  g_auto (ObjectKey) key = { 0 };
  SealHeader header;
  gsize stored = seal_stored_size (len), at = SEAL_HEADER_BYTES;
  guint8 *out = g_malloc (stored);

  seal_header_new (&header);
  object_key_derive (seal_key (self), &header, &key);
  memcpy (out, header.bytes, sizeof header);
  for (gsize done = 0, number = 0; at < stored; number++) {
    gsize part = MIN (len - done, SEAL_BLOCK_BYTES);
    gboolean last = done + part == len;
    seal_block (&key, number, data + done, part, last ? &end : NULL, out + at);
    done += part;
    at += part + SEAL_TAG_BYTES;
  }
  return g_bytes_new_take (out, stored);
}

/* An object that comes piece by piece. What could be its last block is held back: only the commit
 * knows that it is. */
typedef struct {
  BackendStream stream;
  BackendStream *inner;
  Secret *key;    /* an ObjectKey */
  guint8 *held;   /* SEAL_BLOCK_BYTES */
  gsize held_len; /* of these */
  guint64 size;   /* of the content so far */
} SealedStream;

static const ObjectKey *
stream_key (SealedStream *self)
{
  return (const ObjectKey *)self->key->bytes;
}

static BackendStream *
sealed_stream_begin (Backend *backend, GError **error)
{
  SealedBackend *self = (SealedBackend *)backend;
  g_autoptr (BackendStream) inner = self->inner->ops->stream_begin (self->inner, error);
  SealHeader header;

  seal_header_new (&header);
  if (inner == NULL || !self->inner->ops->stream_write (inner, header.bytes, sizeof header, error))
    return NULL;
  SealedStream *stream = g_new0 (SealedStream, 1);
  stream->stream.backend = backend;
  stream->inner = g_steal_pointer (&inner);
  stream->key = secret_new (sizeof (ObjectKey));
  stream->held = g_malloc (SEAL_BLOCK_BYTES);
  object_key_derive (seal_key (self), &header, (ObjectKey *)stream->key->bytes);
  return &stream->stream;
}

/* Seals the block that `size` ends with, as one that others follow, after what is in @out. */
static void
seal_next (SealedStream *self, const guint8 *block, GByteArray *out)
{
  guint at = out->len;

  g_byte_array_set_size (out, at + SEAL_STORED_BLOCK_BYTES);
  seal_block (stream_key (self), self->size / SEAL_BLOCK_BYTES - 1, block, SEAL_BLOCK_BYTES, NULL,
              out->data + at);
}

static void
seal_held (SealedStream *self, GByteArray *out)
{
  seal_next (self, self->held, out);
  self->held_len = 0;
}

static gboolean
sealed_stream_write (BackendStream *stream, const void *data, gsize len, GError **error)
{
  SealedStream *self = (SealedStream *)stream;
  g_autoptr (GByteArray) out =
      g_byte_array_sized_new ((len / SEAL_BLOCK_BYTES + 1) * SEAL_STORED_BLOCK_BYTES);
  const guint8 *from = data;

  while (len > 0) {
    if (self->held_len == SEAL_BLOCK_BYTES)
      seal_held (self, out);
    /* Blocks that others follow need not be held. */
    for (; self->held_len == 0 && len > SEAL_BLOCK_BYTES; len -= SEAL_BLOCK_BYTES) {
      self->size += SEAL_BLOCK_BYTES;
      seal_next (self, from, out);
      from += SEAL_BLOCK_BYTES;
    }
    gsize part = MIN (len, SEAL_BLOCK_BYTES - self->held_len);
    memcpy (self->held + self->held_len, from, part);
    self->held_len += part;
    self->size += part;
    from += part;
    len -= part;
  }
  return out->len == 0 ||
         self->inner->backend->ops->stream_write (self->inner, out->data, out->len, error);
}

static gboolean
sealed_stream_commit (BackendStream *stream, const char *name, gboolean *existed, GError **error)
{
  SealedStream *self = (SealedStream *)stream;
  const BackendOps *inner = self->inner->backend->ops;
  const SealEnd end = { name, self->size };
  guint64 last = self->size == 0 ? 0 : (self->size - 1) / SEAL_BLOCK_BYTES;
  guint8 out[SEAL_STORED_BLOCK_BYTES];

  if (!backend_name_valid (name, error))
    return FALSE;
  g_return_val_if_fail (!is_plain (name), FALSE);
  seal_block (stream_key (self), last, self->held, self->held_len, &end, out);
  return inner->stream_write (self->inner, out, self->held_len + SEAL_TAG_BYTES, error) &&
         inner->stream_commit (self->inner, name, existed, error);
}

static void
sealed_stream_free (BackendStream *stream)
{
  SealedStream *self = (SealedStream *)stream;

  backend_stream_free (self->inner);
  secret_free (self->key);
  g_free (self->held);
  g_free (self);
}

/* ---- Whole objects ---- */

/* A great one goes piece by piece, so that it is not in memory twice. */
static gboolean
put_in_pieces (Backend *backend, const char *name, GBytes *data, gboolean *existed, GError **error)
{
  gsize len;
  const guint8 *from = g_bytes_get_data (data, &len);
  g_autoptr (BackendStream) stream = sealed_stream_begin (backend, error);

  if (stream == NULL)
    return FALSE;
  for (gsize done = 0; done < len; done += PIECE_BYTES)
    if (!sealed_stream_write (stream, from + done, MIN (len - done, PIECE_BYTES), error))
      return FALSE;
  return sealed_stream_commit (stream, name, existed, error);
}

static gboolean
sealed_put (Backend *backend, const char *name, GBytes *data, gboolean *existed, GError **error)
{
  SealedBackend *self = (SealedBackend *)backend;

  if (!backend_name_valid (name, error))
    return FALSE;
  if (g_bytes_get_size (data) > PIECE_BYTES && !is_plain (name))
    return put_in_pieces (backend, name, data, existed, error);
  g_autoptr (GBytes) stored = is_plain (name) ? g_bytes_ref (data) : seal_whole (self, name, data);
  return self->inner->ops->put_if_absent (self->inner, name, stored, existed, error);
}

/* ---- Reading ---- */

static gboolean
lookup_known (SealedBackend *self, const char *name, KnownObject *object)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->lock);
  const KnownObject *known = g_hash_table_lookup (self->known, name);

  if (known != NULL)
    *object = *known;
  return known != NULL;
}

static void
remember (SealedBackend *self, const char *name, const KnownObject *object)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->lock);

  if (g_hash_table_size (self->known) >= MAX_KNOWN)
    g_hash_table_remove_all (self->known);
  g_hash_table_replace (self->known, g_strdup (name), g_memdup2 (object, sizeof *object));
}

static void
forget (SealedBackend *self, const char *name)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->lock);
  g_hash_table_remove (self->known, name);
}

static void
sealed_forget (Backend *backend)
{
  SealedBackend *self = (SealedBackend *)backend;
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->lock);
  g_hash_table_remove_all (self->known);
}

/* Block @number of an object opens; @out gets its content. */
static gboolean
open_block (const ObjectKey *key, const char *name, const KnownObject *object, guint64 number,
            const guint8 *stored, gsize len, guint8 *out, GError **error)
{
  guint64 last = object->size == 0 ? 0 : (object->size - 1) / SEAL_BLOCK_BYTES;
  const SealEnd end = { name, object->size };

  if (seal_block_open (key, number, stored, len, number == last ? &end : NULL, out))
    return TRUE;
  g_autofree char *what = g_strdup_printf (
      "its block %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
      " does not open: it was changed, or the object was cut, or it is another one's",
      number, last + 1);
  return damaged (error, name, what);
}

/* Reads @len bytes of the content at @offset, from blocks that @stored begins with: those from
 * @offset's block on. */
static GBytes *
open_range (SealedBackend *self, const char *name, const KnownObject *object, GBytes *stored,
            guint64 offset, gsize len, GError **error)
{
  gsize left;
  const guint8 *from = g_bytes_get_data (stored, &left);
  g_autofree guint8 *out = g_try_malloc (MAX (len, 1));
  g_auto (ObjectKey) key = { 0 };
  guint8 block[SEAL_BLOCK_BYTES] = { 0 };
  guint64 number = offset / SEAL_BLOCK_BYTES;
  gsize skip = offset % SEAL_BLOCK_BYTES, done = 0;

  if (out == NULL) {
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED, "no memory to read %zu bytes of %s", len,
                 name);
    return NULL;
  }
  object_key_derive (seal_key (self), &object->header, &key);
  do {
    gsize part = MIN (left, SEAL_STORED_BLOCK_BYTES);
    gsize content = part - MIN (part, SEAL_TAG_BYTES);
    gsize take = MIN (content - MIN (content, skip), len - done);
    /* A block that is wanted whole is opened where it belongs. */
    gboolean whole = skip == 0 && take == content;
    if (!open_block (&key, name, object, number++, from, part, whole ? out + done : block, error))
      return NULL;
    if (!whole)
      memcpy (out + done, block + skip, take);
    done += take;
    skip = 0;
    from += part;
    left -= part;
  } while (done < len || left > 0);
  return g_bytes_new_take (g_steal_pointer (&out), len);
}

/* Reads the header and the last block: is it an object that was put under this name? */
static gboolean
look_at (SealedBackend *self, const char *name, KnownObject *object, GError **error)
{
  Backend *inner = self->inner;
  guint64 stored_size;

  if (!inner->ops->stat (inner, name, &stored_size, error))
    return FALSE;
  if (!seal_content_size (stored_size, &object->size))
    return damaged (error, name, "no sealed object has its size; it was cut, or never whole");
  g_autoptr (GBytes) header = inner->ops->get (inner, name, 0, SEAL_HEADER_BYTES, error);
  if (header == NULL)
    return FALSE;
  memcpy (object->header.bytes, g_bytes_get_data (header, NULL), SEAL_HEADER_BYTES);
  if (!seal_header_check (&object->header, error)) {
    g_prefix_error (error, "%s is damaged: ", name);
    return FALSE;
  }
  guint64 last = object->size == 0 ? 0 : (object->size - 1) / SEAL_BLOCK_BYTES;
  guint64 at = SEAL_HEADER_BYTES + last * SEAL_STORED_BLOCK_BYTES;
  g_autoptr (GBytes) end = inner->ops->get (inner, name, at, stored_size - at, error);
  if (end == NULL)
    return FALSE;
  guint64 from = last * SEAL_BLOCK_BYTES;
  g_autoptr (GBytes) content =
      open_range (self, name, object, end, from, object->size - from, error);
  return content != NULL;
}

static GBytes *
read_range (SealedBackend *self, const char *name, const KnownObject *object, guint64 offset,
            gsize len, GError **error)
{
  Backend *inner = self->inner;

  if (!backend_check_range (name, object->size, offset, &len, error))
    return NULL;
  if (len == 0)
    return g_bytes_new (NULL, 0);
  guint64 first = offset / SEAL_BLOCK_BYTES, last = (offset + len - 1) / SEAL_BLOCK_BYTES;
  guint64 at = SEAL_HEADER_BYTES + first * SEAL_STORED_BLOCK_BYTES;
  guint64 end = MIN (SEAL_HEADER_BYTES + (last + 1) * SEAL_STORED_BLOCK_BYTES,
                     seal_stored_size (object->size));
  g_autoptr (GBytes) stored = inner->ops->get (inner, name, at, end - at, error);
  return stored != NULL ? open_range (self, name, object, stored, offset, len, error) : NULL;
}

/* A whole object in one read. */
static GBytes *
read_whole (SealedBackend *self, const char *name, GError **error)
{
  g_autoptr (GBytes) all = self->inner->ops->get (self->inner, name, 0, G_MAXSIZE, error);
  KnownObject object;

  if (all == NULL)
    return NULL;
  if (!seal_content_size (g_bytes_get_size (all), &object.size)) {
    damaged (error, name, "no sealed object has its size; it was cut, or never whole");
    return NULL;
  }
  memcpy (object.header.bytes, g_bytes_get_data (all, NULL), SEAL_HEADER_BYTES);
  if (!seal_header_check (&object.header, error)) {
    g_prefix_error (error, "%s is damaged: ", name);
    return NULL;
  }
  g_autoptr (GBytes) blocks =
      g_bytes_new_from_bytes (all, SEAL_HEADER_BYTES, g_bytes_get_size (all) - SEAL_HEADER_BYTES);
  return open_range (self, name, &object, blocks, 0, object.size, error);
}

static GBytes *
sealed_get (Backend *backend, const char *name, guint64 offset, gsize len, GError **error)
{
  SealedBackend *self = (SealedBackend *)backend;
  KnownObject object;

  if (!backend_name_valid (name, error))
    return NULL;
  if (is_plain (name))
    return self->inner->ops->get (self->inner, name, offset, len, error);
  if (offset == 0 && len == G_MAXSIZE)
    return read_whole (self, name, error);
  if (lookup_known (self, name, &object)) {
    GBytes *content = read_range (self, name, &object, offset, len, NULL);
    if (content != NULL)
      return content;
    forget (self, name);
  }
  if (!look_at (self, name, &object, error))
    return NULL;
  remember (self, name, &object);
  return read_range (self, name, &object, offset, len, error);
}

/* ---- Everything else ---- */

static guint64
shown_size (const char *name, guint64 stored)
{
  guint64 content;

  if (is_plain (name))
    return stored;
  return seal_content_size (stored, &content) ? content : 0;
}

static gboolean
sealed_stat (Backend *backend, const char *name, guint64 *size, GError **error)
{
  SealedBackend *self = (SealedBackend *)backend;

  if (!self->inner->ops->stat (self->inner, name, size, error))
    return FALSE;
  *size = shown_size (name, *size);
  return TRUE;
}

typedef struct {
  BackendListFunc func;
  gpointer user_data;
} Listing;

static gboolean
show_listed (const char *name, guint64 size, gint64 mtime_us, gpointer user_data)
{
  const Listing *listing = user_data;
  return listing->func (name, shown_size (name, size), mtime_us, listing->user_data);
}

static gboolean
sealed_list (Backend *backend, const char *prefix, BackendListFunc func, gpointer user_data,
             GError **error)
{
  SealedBackend *self = (SealedBackend *)backend;
  Listing listing = { func, user_data };

  return self->inner->ops->list (self->inner, prefix, show_listed, &listing, error);
}

static gboolean
sealed_remove (Backend *backend, const char *name, GError **error)
{
  SealedBackend *self = (SealedBackend *)backend;

  forget (self, name);
  return self->inner->ops->remove (self->inner, name, error);
}

static gboolean
sealed_sync (Backend *backend, GError **error)
{
  SealedBackend *self = (SealedBackend *)backend;
  return self->inner->ops->sync (self->inner, error);
}

static gboolean
sealed_space (Backend *backend, guint64 *available, GError **error)
{
  SealedBackend *self = (SealedBackend *)backend;
  return self->inner->ops->space (self->inner, available, error);
}

static void
sealed_free (Backend *backend)
{
  SealedBackend *self = (SealedBackend *)backend;

  backend_free (self->inner);
  secret_free (self->key);
  g_hash_table_unref (self->known);
  g_mutex_clear (&self->lock);
  g_free (backend->location);
  g_free (self);
}

static const BackendOps sealed_ops = {
  .put_if_absent = sealed_put,
  .get = sealed_get,
  .stat = sealed_stat,
  .list = sealed_list,
  .remove = sealed_remove,
  .sync = sealed_sync,
  .space = sealed_space,
  .stream_begin = sealed_stream_begin,
  .stream_write = sealed_stream_write,
  .stream_commit = sealed_stream_commit,
  .stream_free = sealed_stream_free,
  .forget = sealed_forget,
  .free = sealed_free,
};

Backend *
backend_sealed_new (Backend *inner, const SealKey *key)
{
  SealedBackend *sealed = g_new0 (SealedBackend, 1);

  sealed->backend = (Backend){ &sealed_ops, g_strdup (inner->location) };
  sealed->inner = inner;
  sealed->key = secret_new_copy (key->bytes, sizeof key->bytes);
  sealed->known = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  g_mutex_init (&sealed->lock);
  return &sealed->backend;
}
