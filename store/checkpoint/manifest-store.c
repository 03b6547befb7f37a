/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Manifests in a store: which checkpoints there are. */
#include "manifest-private.h"

#include <vmckpt/util/bytes.h>

#include <string.h>

/* Names of maps that a store keeps in memory, and of manifests: 6 MiB. */
#define ROOTS_MAX 65536

void
manifest_set_not_found (GError **error, const char *reference)
{
  g_set_error (error, STORE_ERROR, STORE_ERROR_NOT_FOUND, "there is no checkpoint '%.80s'",
               reference);
}

Manifest *
store_manifest_load (Store *store, const char *id, GError **error)
{
  ChunkName hash, actual;
  g_autoptr (GError) cause = NULL;

  if (!bytes_from_hex (id, hash.bytes, sizeof hash.bytes)) {
    manifest_set_not_found (error, id);
    return NULL;
  }
  g_autofree char *object = object_name ("manifests", &hash);
  g_autoptr (GBytes) bytes = store_get_text (store, object, &cause);
  if (g_error_matches (cause, G_IO_ERROR, G_IO_ERROR_NOT_FOUND)) {
    manifest_set_not_found (error, id);
    return NULL;
  }
  if (bytes == NULL) {
    g_propagate_error (error, g_steal_pointer (&cause));
    return NULL;
  }
  chunk_name_of (&store->key, g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), &actual);
  if (!chunk_name_equal (&hash, &actual)) {
    g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED,
                 "%s is damaged: it does not hold what its name says", object);
    return NULL;
  }
  Manifest *manifest = manifest_from_bytes (bytes, error);
  if (manifest != NULL)
    manifest->id = g_strdup (id);
  else
    g_prefix_error (error, "%s: ", object);
  return manifest;
}

static int
compare_created (gconstpointer a, gconstpointer b)
{
  const Manifest *one = *(Manifest **)a, *other = *(Manifest **)b;
  if (one->created_us != other->created_us)
    return one->created_us < other->created_us ? -1 : 1;
  return strcmp (one->id, other->id);
}

GPtrArray *
store_manifest_list (Store *store, const char *guest, GPtrArray **damaged, GError **error)
{
  g_autoptr (GPtrArray) names = store_list_names (store, "manifests/", error);
  g_autoptr (GPtrArray) found = g_ptr_array_new_with_free_func ((GDestroyNotify)manifest_free);
  g_autoptr (GPtrArray) bad = g_ptr_array_new_with_free_func (g_free);
  ChunkName hash;

  for (guint i = 0; names != NULL && i < names->len; i++) {
    g_autoptr (GError) cause = NULL;
    if (!object_name_parse (names->pdata[i], "manifests", &hash))
      continue;
    g_autofree char *id = chunk_name_to_hex (&hash);
    g_autoptr (Manifest) manifest = store_manifest_load (store, id, &cause);
    if (manifest != NULL) {
      if (guest == NULL || g_str_equal (manifest->guest, guest))
        g_ptr_array_add (found, g_steal_pointer (&manifest));
    } else if (g_error_matches (cause, STORE_ERROR, STORE_ERROR_DAMAGED) ||
               g_error_matches (cause, STORE_ERROR, STORE_ERROR_VERSION)) {
      g_ptr_array_add (bad, g_steal_pointer (&id));
    } else if (!g_error_matches (cause, STORE_ERROR, STORE_ERROR_NOT_FOUND)) {
      g_propagate_error (error, g_steal_pointer (&cause));
      return NULL;
    }
  }
  if (names == NULL)
    return NULL;
  g_ptr_array_sort (found, compare_created);
  if (damaged != NULL)
    *damaged = g_steal_pointer (&bad);
  return g_steal_pointer (&found);
}

/* The names of the maps of one checkpoint: NULL without @error if it is gone or damaged. */
static GArray *
load_roots (Store *store, const ChunkName *hash, GError **error)
{
  g_autofree char *id = chunk_name_to_hex (hash);
  g_autoptr (GError) cause = NULL;
  g_autoptr (Manifest) manifest = store_manifest_load (store, id, &cause);

  if (manifest == NULL) {
    if (!g_error_matches (cause, STORE_ERROR, STORE_ERROR_DAMAGED) &&
        !g_error_matches (cause, STORE_ERROR, STORE_ERROR_VERSION) &&
        !g_error_matches (cause, STORE_ERROR, STORE_ERROR_NOT_FOUND))
      g_propagate_error (error, g_steal_pointer (&cause));
    return NULL;
  }
  GArray *roots = g_array_sized_new (FALSE, FALSE, sizeof (ChunkName), manifest->parts->len);
  for (guint i = 0; i < manifest->parts->len; i++) {
    const ManifestPart *part = manifest->parts->pdata[i];
    g_array_append_val (roots, part->map.root);
  }
  return roots;
}

static GArray *
known_roots (Store *store, const ChunkName *hash)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&store->lock);
  GArray *roots = g_hash_table_lookup (store->roots, hash);
  return roots != NULL ? g_array_ref (roots) : NULL;
}

/* Keeps what was found now for the next time, in place of what was found before. */
static void
keep_roots (Store *store, GHashTable *found)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&store->lock);
  g_hash_table_unref (store->roots);
  store->roots = g_hash_table_ref (found);
}

GHashTable *
store_manifest_roots (Store *store, GError **error)
{
  g_autoptr (GPtrArray) names = store_list_names (store, "manifests/", error);
  g_autoptr (GHashTable) found = g_hash_table_new_full (chunk_name_hash, chunk_name_equal, g_free,
                                                        (GDestroyNotify)g_array_unref);
  g_autoptr (GHashTable) all =
      g_hash_table_new_full (chunk_name_hash, chunk_name_equal, g_free, NULL);
  guint64 kept = 0;
  ChunkName hash;

  for (guint i = 0; names != NULL && i < names->len; i++) {
    g_autoptr (GError) cause = NULL;
    if (!object_name_parse (names->pdata[i], "manifests", &hash))
      continue;
    g_autoptr (GArray) roots = known_roots (store, &hash);
    if (roots == NULL)
      roots = load_roots (store, &hash, &cause);
    if (cause != NULL) {
      g_propagate_error (error, g_steal_pointer (&cause));
      return NULL;
    }
    for (guint j = 0; roots != NULL && j < roots->len; j++)
      g_hash_table_add (all, g_memdup2 (&g_array_index (roots, ChunkName, j), sizeof hash));
    if (roots != NULL && (kept += 1 + roots->len) <= ROOTS_MAX)
      g_hash_table_insert (found, g_memdup2 (&hash, sizeof hash), g_array_ref (roots));
  }
  if (names == NULL)
    return NULL;
  keep_roots (store, found);
  return g_steal_pointer (&all);
}
