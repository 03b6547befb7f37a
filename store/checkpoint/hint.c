/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* hints/ID, a text object; ID is the checkpoint's. */
#include "hint-private.h"

#include "text-object.h"

#include <vmckpt/util/bytes.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/json.h>

#include <string.h>

#define HINT_MAGIC "vmckpt-hint"
#define HINT_DIRECTORY "hints"

/* The object's name; NULL with @error if @id is none. */
static char *
hint_object (const char *id, GError **error)
{
  ChunkName hash;

  if (bytes_from_hex (id, hash.bytes, sizeof hash.bytes))
    return object_name (HINT_DIRECTORY, &hash);
  g_set_error (error, STORE_ERROR, STORE_ERROR_NOT_FOUND, "there is no checkpoint '%.64s'", id);
  return NULL;
}

/* *exists: FALSE only if there is surely no such object. */
static gboolean
object_exists (Store *store, const char *object, gboolean *exists, GError **error)
{
  g_autoptr (GError) cause = NULL;
  guint64 size;

  *exists = store->backend->ops->stat (store->backend, object, &size, &cause);
  if (*exists || g_error_matches (cause, G_IO_ERROR, G_IO_ERROR_NOT_FOUND))
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&cause));
  return FALSE;
}

static gboolean
checkpoint_exists (Store *store, const ChunkName *hash, gboolean *exists, GError **error)
{
  g_autofree char *object = object_name ("manifests", hash);
  return object_exists (store, object, exists, error);
}

/* The bytes of such a text object; NULL with @error. */
static GBytes *
hint_parse (Store *store, GBytes *bytes, GError **error)
{
  g_autoptr (JsonObject) object = text_object_read (bytes, HINT_MAGIC, &store->key, error);
  const char *text = object != NULL ? json_get_string (object, "data", error) : NULL;
  gsize len = 0;

  if (text == NULL)
    return NULL;
  guint8 *data = g_base64_decode (text, &len);
  if (data != NULL && len <= STORE_HINT_MAX_BYTES)
    return g_bytes_new_take (data, len);
  g_free (data);
  g_set_error_literal (error, STORE_ERROR, STORE_ERROR_DAMAGED, "it has no data");
  return NULL;
}

/* Reads and checks one; STORE_ERROR_NOT_FOUND or STORE_ERROR_DAMAGED. */
static GBytes *
hint_read (Store *store, const char *object, GError **error)
{
  g_autoptr (GError) cause = NULL;
  g_autoptr (GBytes) bytes = store_get_text (store, object, &cause);
  GBytes *data = bytes != NULL ? hint_parse (store, bytes, &cause) : NULL;

  if (data != NULL)
    return data;
  if (g_error_matches (cause, G_IO_ERROR, G_IO_ERROR_NOT_FOUND))
    g_set_error (error, STORE_ERROR, STORE_ERROR_NOT_FOUND, "there is no %s", object);
  else if (bytes != NULL && !g_error_matches (cause, STORE_ERROR, STORE_ERROR_VERSION))
    g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED, "%s: %s", object, cause->message);
  else
    g_propagate_error (error, g_steal_pointer (&cause));
  return NULL;
}

gboolean
store_hint_put (Store *store, const char *id, GBytes *data, GError **error)
{
  ERROR_PREFIX (error, "keeping a hint for checkpoint %.16s", id);
  g_autoptr (JsonObject) object = json_object_new();
  g_autofree char *name = hint_object (id, error);
  gsize len;
  const guint8 *bytes = g_bytes_get_data (data, &len);
  ChunkName hash;
  gboolean exists, existed;

  if (name == NULL || !bytes_from_hex (id, hash.bytes, sizeof hash.bytes) ||
      !checkpoint_exists (store, &hash, &exists, error))
    return FALSE;
  if (!exists) {
    g_set_error_literal (error, STORE_ERROR, STORE_ERROR_NOT_FOUND, "there is no such checkpoint");
    return FALSE;
  }
  if (len > STORE_HINT_MAX_BYTES) {
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, "%zu bytes are too many", len);
    return FALSE;
  }
  g_autofree char *text = g_base64_encode (bytes, len);
  json_object_set_string_member (object, "data", text);
  g_autoptr (GBytes) content =
      store_text_pad (store, text_object_write (HINT_MAGIC, object, &store->key), &store->key);
  return store_put (store, name, content, &existed, error);
}

GBytes *
store_hint_get (Store *store, const char *id, GError **error)
{
  ERROR_PREFIX (error, "reading the hint of checkpoint %.16s", id);
  g_autofree char *name = hint_object (id, error);

  return name != NULL ? hint_read (store, name, error) : NULL;
}

gboolean
hint_remove (Store *store, const char *id, GError **error)
{
  g_autofree char *name = hint_object (id, error);

  return name != NULL && store_remove (store, name, error);
}

/* Reads all hints and calls for each that is there; stops with FALSE when that does. */
typedef gboolean (*HintFunc) (Store *store, const char *object, const ChunkName *checkpoint,
                              gboolean damaged, gpointer user_data, GError **error);

static gboolean
foreach_hint (Store *store, HintFunc func, gpointer user_data, GError **error)
{
  g_autoptr (GPtrArray) names = store_list_names (store, HINT_DIRECTORY "/", error);

  for (guint i = 0; names != NULL && i < names->len; i++) {
    g_autoptr (GError) cause = NULL;
    g_autoptr (GBytes) data = NULL;
    ChunkName checkpoint;
    if (!object_name_parse (names->pdata[i], HINT_DIRECTORY, &checkpoint))
      continue;
    data = hint_read (store, names->pdata[i], &cause);
    gboolean damaged = g_error_matches (cause, STORE_ERROR, STORE_ERROR_DAMAGED);
    if (g_error_matches (cause, STORE_ERROR, STORE_ERROR_NOT_FOUND) ||
        g_error_matches (cause, STORE_ERROR, STORE_ERROR_VERSION))
      continue; /* it went meanwhile, or is a later program's */
    if (cause != NULL && !damaged) {
      g_propagate_error (error, g_steal_pointer (&cause));
      return FALSE;
    }
    if (!func (store, names->pdata[i], &checkpoint, damaged, user_data, error))
      return FALSE;
  }
  return names != NULL;
}

/* A HintFunc. */
static gboolean
remove_if_stray (Store *store, const char *object, const ChunkName *checkpoint, gboolean damaged,
                 gpointer user_data G_GNUC_UNUSED, GError **error)
{
  gboolean exists;

  return checkpoint_exists (store, checkpoint, &exists, error) &&
         ((exists && !damaged) || store_remove (store, object, error));
}

gboolean
hints_remove_stray (Store *store, GError **error)
{
  return foreach_hint (store, remove_if_stray, NULL, error);
}

/* A HintFunc. */
static gboolean
note_if_damaged (Store *store G_GNUC_UNUSED, const char *object,
                 const ChunkName *checkpoint G_GNUC_UNUSED, gboolean damaged, gpointer user_data,
                 GError **error G_GNUC_UNUSED)
{
  if (damaged)
    g_ptr_array_add (user_data, g_strdup (object));
  return TRUE;
}

gboolean
hints_check (Store *store, GPtrArray *damaged, GError **error)
{
  return foreach_hint (store, note_if_damaged, damaged, error);
}
