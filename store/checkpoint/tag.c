/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tag.h"

#include "text-object.h"

#include <vmckpt/store/manifest.h>
#include <vmckpt/util/bytes.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/json.h>
#include <vmckpt/util/name.h>

#include <string.h>

#define TAG_MAGIC "vmckpt-tag"

typedef struct {
  char *object;
  char *checkpoint; /* NULL: it cannot be read */
  char *tag;
} Tag;

static void
tag_free (gpointer data)
{
  Tag *tag = data;
  g_free (tag->object);
  g_free (tag->checkpoint);
  g_free (tag->tag);
  g_free (tag);
}

/* Reads the object into @tag; leaves it without a checkpoint if it is damaged. */
static gboolean
read_tag (Store *store, const ChunkName *hash, Tag *tag, gboolean *gone, GError **error)
{
  g_autoptr (GError) cause = NULL;
  g_autoptr (GBytes) bytes = store_get_text (store, tag->object, &cause);
  ChunkName actual;

  *gone = g_error_matches (cause, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
  /* In an encrypted store the damage is found by reading. */
  if (g_error_matches (cause, STORE_ERROR, STORE_ERROR_DAMAGED))
    return TRUE;
  if (bytes == NULL && !*gone)
    g_propagate_error (error, g_steal_pointer (&cause));
  if (bytes == NULL)
    return *gone;
  chunk_name_of (&store->key, g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), &actual);
  if (!chunk_name_equal (hash, &actual))
    return TRUE;
  g_autoptr (JsonObject) object = text_object_read (bytes, TAG_MAGIC, NULL, NULL);
  const char *text = object != NULL ? json_get_string (object, "tag", NULL) : NULL;
  const char *checkpoint = text != NULL ? json_get_string (object, "checkpoint", NULL) : NULL;
  if (checkpoint != NULL && name_check (text, "tag", NULL)) {
    tag->checkpoint = g_strdup (checkpoint);
    tag->tag = g_strdup (text);
  }
  return TRUE;
}

/* All tag objects. (transfer full) (element-type Tag) */
static GPtrArray *
list_tags (Store *store, GError **error)
{
  g_autoptr (GPtrArray) tags = g_ptr_array_new_with_free_func (tag_free);
  g_autoptr (GPtrArray) names = store_list_names (store, "tags/", error);
  ChunkName hash;

  for (guint i = 0; names != NULL && i < names->len; i++) {
    gboolean gone;
    if (!object_name_parse (names->pdata[i], "tags", &hash))
      continue;
    Tag *tag = g_new0 (Tag, 1);
    tag->object = g_strdup (names->pdata[i]);
    g_ptr_array_add (tags, tag);
    if (!read_tag (store, &hash, tag, &gone, error))
      return NULL;
    if (gone)
      g_ptr_array_set_size (tags, tags->len - 1);
  }
  return names != NULL ? g_steal_pointer (&tags) : NULL;
}

static int
compare_strings (gconstpointer a, gconstpointer b)
{
  return strcmp (*(const char **)a, *(const char **)b);
}

GStrv
store_tags (Store *store, const Manifest *manifest, GError **error)
{
  g_autoptr (GPtrArray) tags = list_tags (store, error);
  g_autoptr (GPtrArray) found = g_ptr_array_new();
  GPtrArray *unique = g_ptr_array_new();

  if (tags == NULL) {
    g_ptr_array_unref (unique);
    return NULL;
  }
  if (manifest->tag != NULL)
    g_ptr_array_add (found, manifest->tag);
  for (guint i = 0; i < tags->len; i++) {
    const Tag *tag = tags->pdata[i];
    if (g_strcmp0 (tag->checkpoint, manifest->id) == 0 && manifest->id != NULL)
      g_ptr_array_add (found, tag->tag);
  }
  g_ptr_array_sort (found, compare_strings);
  for (guint i = 0; i < found->len; i++)
    if (i == 0 || !g_str_equal (found->pdata[i], found->pdata[i - 1]))
      g_ptr_array_add (unique, g_strdup (found->pdata[i]));
  g_ptr_array_add (unique, NULL);
  return (GStrv)g_ptr_array_free (unique, FALSE);
}

static void
free_tags (gpointer tags)
{
  g_ptr_array_unref (tags);
}

GHashTable *
store_tags_all (Store *store, guint *damaged, GError **error)
{
  g_autoptr (GPtrArray) tags = list_tags (store, error);
  GHashTable *all;

  if (tags == NULL)
    return NULL;
  *damaged = 0;
  all = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, free_tags);
  for (guint i = 0; i < tags->len; i++) {
    const Tag *tag = tags->pdata[i];
    GPtrArray *list = tag->checkpoint != NULL ? g_hash_table_lookup (all, tag->checkpoint) : NULL;
    *damaged += tag->checkpoint == NULL;
    if (tag->checkpoint != NULL && list == NULL) {
      list = g_ptr_array_new_with_free_func (g_free);
      g_hash_table_insert (all, g_strdup (tag->checkpoint), list);
    }
    if (list != NULL)
      g_ptr_array_add (list, g_strdup (tag->tag));
  }
  return all;
}

gboolean
store_tag_add (Store *store, const char *id, const char *tag, GError **error)
{
  ERROR_PREFIX (error, "tagging checkpoint %.16s", id);
  g_autoptr (JsonObject) object = json_object_new();
  ChunkName hash;

  if (!name_check (tag, "tag", error))
    return FALSE;
  g_autoptr (Manifest) manifest = store_manifest_load (store, id, error);
  if (manifest == NULL)
    return FALSE;
  json_object_set_string_member (object, "checkpoint", id);
  json_object_set_string_member (object, "tag", tag);
  json_object_set_int_member (object, "created_us", g_get_real_time());
  g_autoptr (GBytes) bytes =
      store_text_pad (store, text_object_write (TAG_MAGIC, object, NULL), NULL);
  chunk_name_of (&store->key, g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), &hash);
  g_autofree char *name = object_name ("tags", &hash);
  return store_put (store, name, bytes, NULL, error) && store_sync (store, error);
}

gboolean
tags_remove (Store *store, const char *id, GError **error)
{
  g_autoptr (GPtrArray) tags = list_tags (store, error);

  for (guint i = 0; tags != NULL && i < tags->len; i++) {
    const Tag *tag = tags->pdata[i];
    if (g_strcmp0 (tag->checkpoint, id) == 0 && !store_remove (store, tag->object, error))
      return FALSE;
  }
  return tags != NULL;
}

/* TRUE if there is surely no such checkpoint. */
static gboolean
checkpoint_gone (Store *store, const char *id)
{
  g_autofree char *object = g_strconcat ("manifests/", id, NULL);
  g_autoptr (GError) cause = NULL;
  guint64 size;

  return !store->backend->ops->stat (store->backend, object, &size, &cause) &&
         (g_error_matches (cause, G_IO_ERROR, G_IO_ERROR_NOT_FOUND) ||
          g_error_matches (cause, G_IO_ERROR, G_IO_ERROR_INVALID_FILENAME));
}

gboolean
tags_remove_stray (Store *store, GError **error)
{
  g_autoptr (GPtrArray) tags = list_tags (store, error);

  for (guint i = 0; tags != NULL && i < tags->len; i++) {
    const Tag *tag = tags->pdata[i];
    if ((tag->checkpoint == NULL || checkpoint_gone (store, tag->checkpoint)) &&
        !store_remove (store, tag->object, error))
      return FALSE;
  }
  return tags != NULL;
}

gboolean
tags_check (Store *store, GPtrArray *damaged, GError **error)
{
  g_autoptr (GPtrArray) tags = list_tags (store, error);

  for (guint i = 0; tags != NULL && i < tags->len; i++) {
    const Tag *tag = tags->pdata[i];
    if (tag->checkpoint == NULL)
      g_ptr_array_add (damaged, g_strdup (tag->object));
  }
  return tags != NULL;
}
