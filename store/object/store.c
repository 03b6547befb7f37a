/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store-private.h"

#include "backend-sealed.h"
#include "format.h"
#include "key-ring.h"
#include "text-object.h"

#include <vmckpt/util/error.h>

#include <sodium.h>

#define FRAME_CACHE_BYTES (8 * 1024 * 1024)
/* A checkpoint of the smallest guest does not fit in less. */
#define SPACE_MIN_BYTES (4 * 1024 * 1024)

GQuark
store_error_quark (void)
{
  return g_quark_from_static_string ("vmckpt-store-error");
}

static gboolean
put_format (Backend *backend, GBytes *format, GError **error)
{
  gboolean existed = FALSE;

  if (!backend->ops->put_if_absent (backend, FORMAT_OBJECT, format, &existed, error))
    return FALSE;
  if (existed) {
    g_set_error_literal (error, STORE_ERROR, STORE_ERROR_EXISTS, "there is a store already");
    return FALSE;
  }
  return backend->ops->sync (backend, error);
}

gboolean
store_init (Backend *backend, GError **error)
{
  ERROR_PREFIX (error, "making a store at %s", backend->location);

  if (sodium_init() < 0) {
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_FAILED, "libsodium does not start");
    return FALSE;
  }
  g_autoptr (GBytes) format = store_format_create();
  return put_format (backend, format, error);
}

gboolean
store_init_encrypted (Backend *backend, const KeyMaterial *material, const char *label,
                      GError **error)
{
  ERROR_PREFIX (error, "making an encrypted store at %s", backend->location);
  g_autoptr (MasterKey) master = master_key_new_random();
  g_autofree char *id = store_format_new_id();
  guint64 size;

  /* The key comes first: a store without one could never be opened. */
  if (backend->ops->stat (backend, FORMAT_OBJECT, &size, NULL)) {
    g_set_error_literal (error, STORE_ERROR, STORE_ERROR_EXISTS, "there is a store already");
    return FALSE;
  }
  g_autofree char *key_id = key_put (backend, id, master, material, label, error);
  if (key_id == NULL)
    return FALSE;
  g_autoptr (GBytes) format = store_format_create_encrypted (id, master);
  g_autoptr (GError) cause = NULL;
  if (put_format (backend, format, &cause))
    return TRUE;
  /* After any other failure the format may be there, and need its key. */
  if (g_error_matches (cause, STORE_ERROR, STORE_ERROR_EXISTS))
    key_drop (backend, key_id);
  g_propagate_error (error, g_steal_pointer (&cause));
  return FALSE;
}

/* A text object's bytes, no more than one can have. */
static GBytes *
get_text (Backend *backend, const char *name, GError **error)
{
  guint64 size = 0;

  if (!backend->ops->stat (backend, name, &size, error))
    return NULL;
  if (size <= TEXT_OBJECT_MAX_BYTES)
    return backend->ops->get (backend, name, 0, G_MAXSIZE, error);
  g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED,
               "%s is damaged: %" G_GUINT64_FORMAT " bytes are too many for what it is", name,
               size);
  return NULL;
}

/* Reads the format object. */
static GBytes *
load_format (Backend *backend, StoreFormat *format, GError **error)
{
  g_autoptr (GError) cause = NULL;
  g_autoptr (GBytes) bytes = get_text (backend, FORMAT_OBJECT, &cause);

  if (g_error_matches (cause, G_IO_ERROR, G_IO_ERROR_NOT_FOUND)) {
    g_set_error_literal (error, STORE_ERROR, STORE_ERROR_NOT_A_STORE,
                         "there is no store here (no format object); make one with `vmckpt store "
                         "init`");
    return NULL;
  }
  if (bytes == NULL) {
    g_propagate_error (error, g_steal_pointer (&cause));
    return NULL;
  }
  if (!store_format_parse (bytes, format, error)) {
    g_prefix_error (error, "the object '%s': ", FORMAT_OBJECT);
    return NULL;
  }
  return g_steal_pointer (&bytes);
}

/* In guarded memory, as the key of names is in it. */
static Store *
store_new (Backend *backend, const char *id, const HashKey *key, GBytes *format)
{
  Store *store = sodium_malloc (sizeof *store);

  if (store == NULL)
    g_error ("no memory for a store");
  *store = (Store){ .refs = 1, .backend = backend, .id = g_strdup (id), .key = *key };
  store->format = g_bytes_ref (format);
  store->index = index_new (store->backend, &store->key);
  store->frames = frame_cache_new (FRAME_CACHE_BYTES);
  g_mutex_init (&store->lock);
  store->roots = g_hash_table_new_full (chunk_name_hash, chunk_name_equal, g_free,
                                        (GDestroyNotify)g_array_unref);
  store->left = g_ptr_array_new_with_free_func (g_free);
  return store;
}

/* The master key has unlocked: what the store's own format says is checked with it. */
static Store *
open_sealed (Backend *backend, const StoreFormat *format, GBytes *bytes, MasterKey *master,
             GError **error)
{
  g_autoptr (MasterKey) owned = master;
  g_autoptr (Secret) hash_key = master_key_derive_hash_key (master);
  g_autoptr (Secret) seal_key = master_key_derive_seal_key (master);

  if (!master_key_check_text (master, FORMAT_OBJECT, bytes, error)) {
    backend_free (backend);
    return NULL;
  }
  Backend *sealed = backend_sealed_new (backend, (const SealKey *)seal_key->bytes);
  Store *store = store_new (sealed, format->id, (const HashKey *)hash_key->bytes, bytes);
  store->master = g_steal_pointer (&owned);
  return store;
}

Store *
store_open_with_key (Backend *backend, const KeyMaterial *material, char **key_id, GError **error)
{
  g_autoptr (Backend) owned = backend;
  g_auto (StoreFormat) format = { 0 };
  g_autofree char *opened_by = NULL;
  ERROR_PREFIX (error, "opening the store %s", backend->location);

  if (key_id != NULL)
    *key_id = NULL;
  if (sodium_init() < 0) {
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_FAILED, "libsodium does not start");
    return NULL;
  }
  g_autoptr (GBytes) bytes = load_format (backend, &format, error);
  if (bytes == NULL || !key_expected (format.encrypted, material, error))
    return NULL;
  if (!format.encrypted)
    return store_new (g_steal_pointer (&owned), format.id, &format.key, bytes);
  MasterKey *master = key_unlock (backend, format.id, material, &opened_by, error);
  Store *store =
      master != NULL ? open_sealed (g_steal_pointer (&owned), &format, bytes, master, error) : NULL;
  if (store != NULL && key_id != NULL)
    *key_id = g_steal_pointer (&opened_by);
  return store;
}

Store *
store_open (Backend *backend, GError **error)
{
  return store_open_with_key (backend, NULL, NULL, error);
}

gboolean
store_is_encrypted (Store *store)
{
  return store->master != NULL;
}

Store *
store_ref (Store *store)
{
  g_atomic_int_inc (&store->refs);
  return store;
}

void
store_unref (Store *store)
{
  if (!g_atomic_int_dec_and_test (&store->refs))
    return;
  /* Announcements that could not be taken back: the last chance. */
  for (guint i = 0; i < store->left->len; i++)
    store->backend->ops->remove (store->backend, store->left->pdata[i], NULL);
  g_ptr_array_unref (store->left);
  g_hash_table_unref (store->roots);
  index_free (store->index);
  frame_cache_free (store->frames);
  g_mutex_clear (&store->lock);
  secret_free (store->master);
  g_bytes_unref (store->format);
  g_free (store->id);
  backend_free (store->backend);
  sodium_free (store);
}

const char *
store_location (Store *store)
{
  return store->backend->location;
}

const char *
store_id (Store *store)
{
  return store->id;
}

gboolean
store_check_reachable (Store *store, GError **error)
{
  guint64 size;
  g_autoptr (GError) cause = NULL;

  if (store->backend->ops->stat (store->backend, FORMAT_OBJECT, &size, &cause))
    return TRUE;
  g_set_error (error, STORE_ERROR, STORE_ERROR_UNREACHABLE,
               "the store %s is gone or does not answer (is its file system still mounted?): %s",
               store_location (store), cause->message);
  return FALSE;
}

gboolean
store_format_unchanged (Store *store, GError **error)
{
  g_auto (StoreFormat) format = { 0 };
  g_autoptr (GBytes) bytes = store_get_text (store, FORMAT_OBJECT, error);

  if (bytes == NULL || !store_format_parse (bytes, &format, error))
    return FALSE;
  if (!g_str_equal (format.id, store->id)) {
    g_set_error_literal (error, STORE_ERROR, STORE_ERROR_DAMAGED, "belongs to another store");
    return FALSE;
  }
  if (g_bytes_equal (bytes, store->format))
    return TRUE;
  g_set_error_literal (error, STORE_ERROR, STORE_ERROR_DAMAGED,
                       "is not what it was when the store was opened");
  return FALSE;
}

/* A failed call: if the store itself is gone, that is what is said. */
static gboolean
explain_failure (Store *store, GError *cause, GError **error)
{
  if (store_check_reachable (store, error))
    g_propagate_prefixed_error (error, cause, "store %s: ", store_location (store));
  else
    g_error_free (cause);
  return FALSE;
}

gboolean
store_put (Store *store, const char *name, GBytes *data, gboolean *existed, GError **error)
{
  GError *cause = NULL;
  gboolean there;

  return store->backend->ops->put_if_absent (store->backend, name, data,
                                             existed != NULL ? existed : &there, &cause) ||
         explain_failure (store, cause, error);
}

GBytes *
store_text_pad (Store *store, GBytes *bytes, const HashKey *key)
{
  return store_is_encrypted (store) ? text_object_pad (bytes, key) : bytes;
}

GBytes *
store_get (Store *store, const char *name, guint64 offset, gsize len, GError **error)
{
  GError *cause = NULL;
  GBytes *bytes = store->backend->ops->get (store->backend, name, offset, len, &cause);

  if (bytes == NULL)
    explain_failure (store, cause, error);
  return bytes;
}

GBytes *
store_get_text (Store *store, const char *name, GError **error)
{
  GError *cause = NULL;
  GBytes *bytes = get_text (store->backend, name, &cause);

  if (bytes == NULL)
    explain_failure (store, cause, error);
  return bytes;
}

gboolean
store_list (Store *store, const char *prefix, BackendListFunc func, gpointer user_data,
            GError **error)
{
  GError *cause = NULL;

  return store->backend->ops->list (store->backend, prefix, func, user_data, &cause) ||
         explain_failure (store, cause, error);
}

gboolean
store_remove (Store *store, const char *name, GError **error)
{
  GError *cause = NULL;

  return store->backend->ops->remove (store->backend, name, &cause) ||
         explain_failure (store, cause, error);
}

gboolean
store_sync (Store *store, GError **error)
{
  GError *cause = NULL;

  return store->backend->ops->sync (store->backend, &cause) ||
         explain_failure (store, cause, error);
}

static gboolean
collect_name (const char *name, guint64 size, gint64 mtime_us, gpointer user_data)
{
  g_ptr_array_add (user_data, g_strdup (name));
  return TRUE;
}

GPtrArray *
store_list_names (Store *store, const char *prefix, GError **error)
{
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);

  if (!store_list (store, prefix, collect_name, names, error))
    return NULL;
  /* Nothing there may mean that nothing is there any more: an unmounted directory looks empty. */
  if (names->len == 0 && !store_check_reachable (store, error))
    return NULL;
  return g_steal_pointer (&names);
}

gboolean
store_probe_writable (Store *store, guint64 *available, GError **error)
{
  guint64 space = G_MAXUINT64;

  if (!store_check_reachable (store, error) ||
      !store->backend->ops->space (store->backend, &space, error))
    return FALSE;
  if (available != NULL)
    *available = space;
  if (space >= SPACE_MIN_BYTES)
    return TRUE;
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE,
               "the store %s is full: %" G_GUINT64_FORMAT
               " KiB are left; 'vmckpt forget' or 'vmckpt rm', then 'vmckpt store gc', make room",
               store_location (store), space / 1024);
  return FALSE;
}
