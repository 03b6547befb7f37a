/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "announce.h"

#include "text-object.h"

#include <vmckpt/util/bytes.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/json.h>

#include <string.h>

#define WRITER_MAGIC "vmckpt-writer"
#define CONDEMNED_MAGIC "vmckpt-condemned"
#define WAITS_SUFFIX ".waits"
#define WALKS_MEMBER "walks_index"

void
announcement_free (Announcement *announcement)
{
  g_free (announcement->object);
  owner_clear (&announcement->owner);
  g_free (announcement);
}

gboolean
announcement_is_stale (const Announcement *announcement)
{
  return owner_is_stale (&announcement->owner, announcement->age_us);
}

/* Puts a text object, and syncs. After FALSE it is not there, unless the store does not answer. */
static gboolean
put_text (Store *store, const char *name, const char *magic, JsonObject *object, GError **error)
{
  g_autoptr (GBytes) bytes =
      store_text_pad (store, text_object_write (magic, object, &store->key), &store->key);

  if (!store_put (store, name, bytes, NULL, error))
    return FALSE;
  if (store_sync (store, error))
    return TRUE;
  store->backend->ops->remove (store->backend, name, NULL);
  return FALSE;
}

/* A new name in @directory. */
static char *
random_name (const char *directory)
{
  g_autofree char *uuid = g_uuid_string_random();
  return g_strdup_printf ("%s/%s", directory, uuid);
}

static JsonObject *
get_text (Store *store, const char *name, const char *magic, GError **error)
{
  g_autoptr (GBytes) bytes = store_get_text (store, name, error);

  return bytes != NULL ? text_object_read (bytes, magic, &store->key, error) : NULL;
}

void
announcement_take_back (Store *store, char *object)
{
  const BackendOps *ops = store->backend->ops;

  if (object == NULL)
    return;
  if (ops->remove (store->backend, object, NULL) && ops->sync (store->backend, NULL)) {
    g_free (object);
    return;
  }
  g_mutex_lock (&store->lock);
  g_ptr_array_add (store->left, object);
  g_mutex_unlock (&store->lock);
}

/* Takes back what could not be taken back. */
static void
retry_left (Store *store)
{
  g_autoptr (GPtrArray) left = NULL;

  g_mutex_lock (&store->lock);
  if (store->left->len > 0) {
    left = store->left;
    store->left = g_ptr_array_new_with_free_func (g_free);
  }
  g_mutex_unlock (&store->lock);
  while (left != NULL && left->len > 0)
    announcement_take_back (store, g_ptr_array_steal_index (left, left->len - 1));
}

char *
announcement_put (Store *store, AnnounceKind kind, GError **error)
{
  g_autoptr (JsonObject) object = json_object_new();
  g_auto (Owner) self = { 0 };

  owner_init_self (&self);
  json_object_set_string_member (object, "kind", kind == ANNOUNCE_GC ? "gc" : "writer");
  if (kind == ANNOUNCE_WALKER)
    json_object_set_boolean_member (object, WALKS_MEMBER, TRUE);
  owner_to_json (&self, object);
  g_autofree char *name = random_name ("writers");
  retry_left (store);
  if (put_text (store, name, WRITER_MAGIC, object, error))
    return g_steal_pointer (&name);
  /* An error does not say that it is not there (a network file system that timed out). */
  announcement_take_back (store, g_steal_pointer (&name));
  return NULL;
}

typedef struct {
  char *name;
  gint64 mtime_us;
} Listed;

static void
clear_listed (gpointer data)
{
  g_free (((Listed *)data)->name);
}

static gboolean
collect (const char *name, guint64 size, gint64 mtime_us, gpointer user_data)
{
  Listed listed = { g_strdup (name), mtime_us };
  g_array_append_val ((GArray *)user_data, listed);
  return TRUE;
}

/* Reads one announcement; NULL without @error if it is gone. What cannot be understood counts as a
 * writer on an unknown host, which only its age can end. */
static Announcement *
read_announcement (Store *store, const Listed *listed, GError **error)
{
  g_autoptr (Announcement) announcement = g_new0 (Announcement, 1);
  g_autoptr (GError) cause = NULL;
  g_autoptr (JsonObject) object = get_text (store, listed->name, WRITER_MAGIC, &cause);

  announcement->object = g_strdup (listed->name);
  if (object != NULL && owner_from_json (&announcement->owner, object, NULL)) {
    if (g_str_equal (json_get_string_or (object, "kind", ""), "gc"))
      announcement->kind = ANNOUNCE_GC;
    else if (json_object_has_member (object, WALKS_MEMBER))
      announcement->kind = ANNOUNCE_WALKER;
    return g_steal_pointer (&announcement);
  }
  if (g_error_matches (cause, G_IO_ERROR, G_IO_ERROR_NOT_FOUND))
    return NULL;
  if (cause != NULL && !g_error_matches (cause, STORE_ERROR, STORE_ERROR_DAMAGED)) {
    g_propagate_error (error, g_steal_pointer (&cause));
    return NULL;
  }
  owner_clear (&announcement->owner);
  announcement->owner = (Owner){ 0 };
  announcement->damaged = TRUE;
  return g_steal_pointer (&announcement);
}

/* When @own was put, by the store's clock; 0: nobody knows. */
static gint64
time_of (GArray *listing, const char *own)
{
  for (guint i = 0; i < listing->len; i++) {
    const Listed *listed = &g_array_index (listing, Listed, i);
    if (g_strcmp0 (listed->name, own) == 0)
      return listed->mtime_us;
  }
  return 0;
}

GPtrArray *
announcements_list (Store *store, const char *own, GError **error)
{
  g_autoptr (GArray) listing = g_array_new (FALSE, FALSE, sizeof (Listed));
  g_autoptr (GPtrArray) found = g_ptr_array_new_with_free_func ((GDestroyNotify)announcement_free);

  g_array_set_clear_func (listing, clear_listed);
  retry_left (store);
  if (!store_list (store, "writers/", collect, listing, error))
    return NULL;
  gint64 now_us = time_of (listing, own);
  for (guint i = 0; i < listing->len; i++) {
    g_autoptr (GError) cause = NULL;
    const Listed *listed = &g_array_index (listing, Listed, i);
    Announcement *announcement = read_announcement (store, listed, &cause);
    if (announcement != NULL) {
      announcement->put_us = listed->mtime_us;
      announcement->age_us = now_us - listed->mtime_us;
      g_ptr_array_add (found, announcement);
    } else if (cause != NULL) {
      g_propagate_error (error, g_steal_pointer (&cause));
      return NULL;
    }
  }
  return g_steal_pointer (&found);
}

gboolean
announcements_any_walker (Store *store, const char *own, gboolean *any, GError **error)
{
  g_autoptr (GPtrArray) all = announcements_list (store, own, error);

  *any = FALSE;
  for (guint i = 0; all != NULL && i < all->len; i++) {
    const Announcement *announcement = all->pdata[i];
    if (announcement->kind != ANNOUNCE_WRITER && g_strcmp0 (announcement->object, own) != 0 &&
        !announcement_is_stale (announcement))
      *any = TRUE;
  }
  return all != NULL;
}

gboolean
announcements_check (Store *store, GPtrArray *damaged, GError **error)
{
  g_autoptr (GPtrArray) all = announcements_list (store, NULL, error);

  for (guint i = 0; all != NULL && i < all->len; i++) {
    const Announcement *announcement = all->pdata[i];
    if (announcement->damaged)
      g_ptr_array_add (damaged, g_strdup (announcement->object));
  }
  return all != NULL;
}

void
condemned_free (Condemned *condemned)
{
  g_free (condemned->object);
  g_hash_table_unref (condemned->packs);
  g_hash_table_unref (condemned->waits_for);
  g_free (condemned);
}

char *
condemned_put (Store *store, GPtrArray *packs, GError **error)
{
  g_autoptr (JsonObject) object = json_object_new();
  g_autofree char *name = random_name ("condemned");
  JsonArray *list = json_array_new();

  for (guint i = 0; i < packs->len; i++) {
    g_autofree char *hex = chunk_name_to_hex (packs->pdata[i]);
    json_array_add_string_element (list, hex);
  }
  json_object_set_array_member (object, "packs", list);
  return put_text (store, name, CONDEMNED_MAGIC, object, error) ? g_steal_pointer (&name) : NULL;
}

gboolean
condemned_put_waits (Store *store, const char *object, GHashTable *waits_for, GError **error)
{
  g_autoptr (JsonObject) json = json_object_new();
  g_autofree char *name = g_strconcat (object, WAITS_SUFFIX, NULL);
  JsonArray *writers = json_array_new();
  GHashTableIter iter;
  gpointer writer;

  g_hash_table_iter_init (&iter, waits_for);
  while (g_hash_table_iter_next (&iter, &writer, NULL))
    json_array_add_string_element (writers, writer);
  json_object_set_array_member (json, "waits_for", writers);
  return put_text (store, name, CONDEMNED_MAGIC, json, error);
}

gboolean
condemned_remove (Store *store, const char *object, GError **error)
{
  g_autofree char *waits = g_strconcat (object, WAITS_SUFFIX, NULL);

  /* In this order: a list without the other is one that nobody has looked at yet. */
  return store_remove (store, waits, error) && store_remove (store, object, error);
}

/* Adds the strings of a list to @set, as names of packs or as they are. */
static gboolean
read_strings (JsonArray *list, gboolean packs, GHashTable *set, GError **error)
{
  for (guint i = 0; i < json_array_get_length (list); i++) {
    JsonNode *node = json_array_get_element (list, i);
    const char *text = JSON_NODE_HOLDS_VALUE (node) ? json_node_get_string (node) : NULL;
    ChunkName name;
    if (text == NULL || (packs && !bytes_from_hex (text, name.bytes, sizeof name.bytes))) {
      g_set_error_literal (error, STORE_ERROR, STORE_ERROR_DAMAGED, "its list is wrong");
      return FALSE;
    }
    if (packs)
      g_hash_table_add (set, g_memdup2 (&name, sizeof name));
    else
      g_hash_table_add (set, g_strdup (text));
  }
  return TRUE;
}

/* Reads the strings of one member of one object into @set. */
static gboolean
read_list (Store *store, const char *object, const char *member, gboolean packs, GHashTable *set,
           GError **error)
{
  g_autoptr (GError) cause = NULL;
  g_autoptr (JsonObject) json = get_text (store, object, CONDEMNED_MAGIC, error);

  if (json == NULL)
    return FALSE;
  JsonArray *list = json_get_array (json, member, &cause);
  if (list != NULL)
    return read_strings (list, packs, set, error);
  g_set_error_literal (error, STORE_ERROR, STORE_ERROR_DAMAGED, cause->message);
  return FALSE;
}

static Condemned *
read_condemned (Store *store, const char *name, GError **error)
{
  g_autoptr (Condemned) condemned = g_new0 (Condemned, 1);
  g_autofree char *waits = g_strconcat (name, WAITS_SUFFIX, NULL);
  g_autoptr (GError) cause = NULL;

  condemned->object = g_strdup (name);
  condemned->packs = g_hash_table_new_full (chunk_name_hash, chunk_name_equal, g_free, NULL);
  condemned->waits_for = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  if (!read_list (store, name, "packs", TRUE, condemned->packs, error))
    return NULL;
  condemned->knows_writers =
      read_list (store, waits, "waits_for", FALSE, condemned->waits_for, &cause);
  /* Not there, or not readable: gc notes anew who is there. */
  if (!condemned->knows_writers && !g_error_matches (cause, G_IO_ERROR, G_IO_ERROR_NOT_FOUND) &&
      !g_error_matches (cause, STORE_ERROR, STORE_ERROR_DAMAGED)) {
    g_propagate_error (error, g_steal_pointer (&cause));
    return NULL;
  }
  return g_steal_pointer (&condemned);
}

/* Adds one list to @found, or its name to @bad (nullable). One that is gone was dealt with. */
static gboolean
add_condemned (Store *store, const char *name, GPtrArray *found, GPtrArray *bad, GError **error)
{
  g_autoptr (GError) cause = NULL;
  Condemned *condemned = read_condemned (store, name, &cause);

  if (condemned != NULL) {
    g_ptr_array_add (found, condemned);
  } else if (bad != NULL && g_error_matches (cause, STORE_ERROR, STORE_ERROR_DAMAGED)) {
    g_ptr_array_add (bad, g_strdup (name));
  } else if (!g_error_matches (cause, G_IO_ERROR, G_IO_ERROR_NOT_FOUND)) {
    g_propagate_prefixed_error (error, g_steal_pointer (&cause), "%s: ", name);
    return FALSE;
  }
  return TRUE;
}

GPtrArray *
condemned_list (Store *store, GPtrArray **damaged, GError **error)
{
  g_autoptr (GArray) listing = g_array_new (FALSE, FALSE, sizeof (Listed));
  g_autoptr (GPtrArray) found = g_ptr_array_new_with_free_func ((GDestroyNotify)condemned_free);
  g_autoptr (GPtrArray) bad = g_ptr_array_new_with_free_func (g_free);

  g_array_set_clear_func (listing, clear_listed);
  if (!store_list (store, "condemned/", collect, listing, error))
    return NULL;
  for (guint i = 0; i < listing->len; i++) {
    const char *name = g_array_index (listing, Listed, i).name;
    if (!g_str_has_suffix (name, WAITS_SUFFIX) &&
        !add_condemned (store, name, found, damaged != NULL ? bad : NULL, error))
      return NULL;
  }
  if (damaged != NULL)
    *damaged = g_steal_pointer (&bad);
  return g_steal_pointer (&found);
}

gboolean
condemned_remove_stray (Store *store, GError **error)
{
  g_autoptr (GPtrArray) names = store_list_names (store, "condemned/", error);
  g_autoptr (GHashTable) there = g_hash_table_new (g_str_hash, g_str_equal);

  if (names == NULL)
    return FALSE;
  for (guint i = 0; i < names->len; i++)
    g_hash_table_add (there, names->pdata[i]);
  for (guint i = 0; i < names->len; i++) {
    g_autofree char *list = g_strdup (names->pdata[i]);
    if (!g_str_has_suffix (list, WAITS_SUFFIX))
      continue;
    list[strlen (list) - strlen (WAITS_SUFFIX)] = 0;
    if (!g_hash_table_contains (there, list) && !store_remove (store, names->pdata[i], error))
      return FALSE;
  }
  return TRUE;
}

GHashTable *
condemned_packs (Store *store, GError **error)
{
  g_autoptr (GPtrArray) lists = condemned_list (store, NULL, error);
  g_autoptr (GHashTable) all =
      g_hash_table_new_full (chunk_name_hash, chunk_name_equal, g_free, NULL);

  if (lists == NULL)
    return NULL;
  for (guint i = 0; i < lists->len; i++) {
    GHashTableIter iter;
    gpointer name;
    g_hash_table_iter_init (&iter, ((Condemned *)lists->pdata[i])->packs);
    while (g_hash_table_iter_next (&iter, &name, NULL))
      g_hash_table_add (all, g_memdup2 (name, CHUNK_NAME_BYTES));
  }
  return g_steal_pointer (&all);
}
