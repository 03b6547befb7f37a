/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A checkpoint by what its user calls it, tags among it; and its end, with all that is about it. */
#include "hint-private.h"
#include "manifest-private.h"
#include "tag.h"

#include <vmckpt/util/bytes.h>
#include <vmckpt/util/error.h>

#include <string.h>

#define PREFIX_MIN_DIGITS 4

/* The newest checkpoint of @guest, with @tag if that is not NULL; NULL with @error or, if there is
 * none, without. */
static Manifest *
find_newest (Store *store, const char *guest, const char *tag, GError **error)
{
  g_autoptr (GPtrArray) manifests = store_manifest_list (store, guest, NULL, error);
  g_autoptr (GHashTable) tags = NULL;
  guint damaged;

  if (manifests == NULL)
    return NULL;
  if (tag != NULL) {
    tags = store_tags_all (store, &damaged, error);
    if (tags == NULL)
      return NULL;
  }
  for (guint i = manifests->len; i-- > 0;) {
    Manifest *manifest = manifests->pdata[i];
    GPtrArray *later = tags != NULL ? g_hash_table_lookup (tags, manifest->id) : NULL;
    if (tag == NULL || g_strcmp0 (manifest->tag, tag) == 0 ||
        (later != NULL && g_ptr_array_find_with_equal_func (later, tag, g_str_equal, NULL))) {
      g_ptr_array_set_free_func (manifests, NULL);
      for (guint j = 0; j < manifests->len; j++)
        if (j != i)
          manifest_free (manifests->pdata[j]);
      return manifest;
    }
  }
  return NULL;
}

static gboolean
looks_like_id (const char *text)
{
  gsize len = strlen (text);

  return len >= PREFIX_MIN_DIGITS && len <= 2 * CHUNK_NAME_BYTES &&
         strspn (text, "0123456789abcdef") == len;
}

/* Finds the one checkpoint whose id begins with @prefix. */
static Manifest *
find_by_prefix (Store *store, const char *prefix, GError **error)
{
  g_autoptr (GPtrArray) names = store_list_names (store, "manifests/", error);
  g_autoptr (GString) candidates = g_string_new (NULL);
  g_autofree char *wanted = g_strconcat ("manifests/", prefix, NULL);
  const char *found = NULL;
  guint count = 0;

  if (names == NULL)
    return NULL;
  for (guint i = 0; i < names->len; i++) {
    if (!g_str_has_prefix (names->pdata[i], wanted))
      continue;
    found = (const char *)names->pdata[i] + strlen ("manifests/");
    if (count++ < 8)
      g_string_append_printf (candidates, " %.16s", found);
  }
  if (count == 1)
    return store_manifest_load (store, found, error);
  if (count == 0)
    manifest_set_not_found (error, prefix);
  else
    g_set_error (error, STORE_ERROR, STORE_ERROR_AMBIGUOUS,
                 "'%s' is the beginning of %u checkpoints' ids:%s", prefix, count, candidates->str);
  return NULL;
}

Manifest *
store_manifest_find (Store *store, const char *reference, GError **error)
{
  const char *at = strchr (reference, '@');
  g_autofree char *guest =
      at != NULL ? g_strndup (reference, at - reference) : g_strdup (reference);
  g_autoptr (GError) cause = NULL;
  /* A whole id needs no list. */
  if (looks_like_id (reference) && strlen (reference) == 2 * CHUNK_NAME_BYTES) {
    Manifest *whole = store_manifest_load (store, reference, &cause);
    if (whole != NULL)
      return whole;
    if (!g_error_matches (cause, STORE_ERROR, STORE_ERROR_NOT_FOUND)) {
      g_propagate_error (error, g_steal_pointer (&cause));
      return NULL;
    }
    g_clear_error (&cause);
  }
  Manifest *manifest = find_newest (store, guest, at != NULL ? at + 1 : NULL, &cause);

  if (manifest != NULL)
    return manifest;
  if (cause != NULL)
    g_propagate_error (error, g_steal_pointer (&cause));
  else if (at == NULL && looks_like_id (reference))
    return find_by_prefix (store, reference, error);
  else
    manifest_set_not_found (error, reference);
  return NULL;
}

gboolean
store_manifest_remove (Store *store, const char *id, GError **error)
{
  ERROR_PREFIX (error, "removing checkpoint %.16s", id);
  ChunkName hash;
  guint64 size;

  if (!bytes_from_hex (id, hash.bytes, sizeof hash.bytes)) {
    manifest_set_not_found (error, id);
    return FALSE;
  }
  g_autofree char *object = object_name ("manifests", &hash);
  if (!store->backend->ops->stat (store->backend, object, &size, NULL)) {
    if (store_check_reachable (store, error))
      manifest_set_not_found (error, id);
    return FALSE;
  }
  /* The manifest first: tags and hints of a checkpoint that is not there are nothing. */
  return store_remove (store, object, error) && store_sync (store, error) &&
         tags_remove (store, id, error) && hint_remove (store, id, error) &&
         store_sync (store, error);
}
