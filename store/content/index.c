/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "index.h"

#include "index-merge.h"
#include "index-scan.h"
#include "name-set.h"
#include "pack-set.h"

#include <vmckpt/store/store.h>

#include <string.h>

/* What packs tell beyond the tables is held in memory, some 50 bytes a chunk. */
#define RECOVER_MAX_ENTRIES 64000000

struct _Index {
  Backend *backend;
  const HashKey *key;
  BlockCache *cache;
  GMutex lock;
  IndexView *view;    /* (lock) (nullable) */
  GHashTable *broken; /* (lock) set of char*: tables that were opened, and then could not be read */
  guint64 serial;     /* (lock) of the last view that was begun */
};

static IndexView *
view_new (void)
{
  IndexView *view = g_new0 (IndexView, 1);
  view->refs = 1;
  view->tables = g_ptr_array_new_with_free_func ((GDestroyNotify)index_table_unref);
  view->damaged = g_ptr_array_new_with_free_func (g_free);
  return view;
}

IndexView *
index_view_ref (IndexView *view)
{
  g_atomic_int_inc (&view->refs);
  return view;
}

void
index_view_unref (IndexView *view)
{
  if (view == NULL || !g_atomic_int_dec_and_test (&view->refs))
    return;
  g_ptr_array_unref (view->tables);
  g_ptr_array_unref (view->damaged);
  g_clear_pointer (&view->recovered, index_table_unref);
  g_free (view);
}

/* Finds @name in one table, past copies in packs that are to be skipped and, with @full, past those
 * that are deltas. */
static gboolean
find_in_table (const IndexTable *table, const ChunkName *name, GHashTable *skip, gboolean full,
               ChunkLocation *location)
{
  gint64 at = index_table_find (table, name);
  ChunkName found = *name;

  for (; at >= 0 && at < index_table_entries (table) && chunk_name_equal (&found, name); at++) {
    gboolean sane = index_table_entry (table, at, &found, location, NULL);
    if (sane && chunk_name_equal (&found, name) &&
        !(full && location->frame.codec == FRAME_DELTA) &&
        (skip == NULL || !g_hash_table_contains (skip, &location->pack)))
      return TRUE;
  }
  return FALSE;
}

static gboolean
find_in_view (const IndexView *view, const ChunkName *name, GHashTable *skip, gboolean recovered,
              gboolean full, ChunkLocation *location)
{
  for (guint i = 0; i < view->tables->len; i++)
    if (find_in_table (view->tables->pdata[i], name, skip, full, location))
      return TRUE;
  return recovered && view->recovered != NULL &&
         find_in_table (view->recovered, name, skip, full, location);
}

void
index_view_list_packs (const IndexView *view, GHashTable *packs)
{
  for (guint i = 0; i < view->tables->len; i++) {
    g_autoptr (IndexScan) scan = index_scan_packs (view->tables->pdata[i]);
    IndexPack pack;
    while (index_scan_pack (scan, &pack))
      pack_set_add (packs, &pack.name);
  }
}

gboolean
index_view_failed (const IndexView *view)
{
  for (guint i = 0; i < view->tables->len; i++)
    if (index_table_failure (view->tables->pdata[i]) != INDEX_GOOD)
      return TRUE;
  return FALSE;
}

gboolean
index_view_find (const IndexView *view, const ChunkName *name, GHashTable *skip, gboolean recovered,
                 ChunkLocation *location)
{
  return find_in_view (view, name, skip, recovered, FALSE, location);
}

gboolean
index_view_find_full (const IndexView *view, const ChunkName *name, GHashTable *skip,
                      gboolean recovered, ChunkLocation *location)
{
  return find_in_view (view, name, skip, recovered, TRUE, location);
}

Index *
index_new (Backend *backend, const HashKey *key)
{
  Index *index = g_new0 (Index, 1);
  index->backend = backend;
  index->key = key;
  index->cache = block_cache_new (INDEX_CACHE_BYTES);
  index->broken = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  g_mutex_init (&index->lock);
  return index;
}

void
index_free (Index *index)
{
  g_clear_pointer (&index->view, index_view_unref);
  g_hash_table_unref (index->broken);
  block_cache_free (index->cache);
  g_mutex_clear (&index->lock);
  g_free (index);
}

static IndexMedium
medium_of (Index *index)
{
  return (IndexMedium){ index->backend, index->cache, index->key };
}

/* Makes @view the one that is known, unless that was listed later. */
static void
install (Index *index, IndexView *view)
{
  g_mutex_lock (&index->lock);
  IndexView *old = index->view;
  gboolean newer = old == NULL || old->serial < view->serial;
  if (newer)
    index->view = index_view_ref (view);
  g_mutex_unlock (&index->lock);
  if (newer)
    index_view_unref (old);
}

IndexView *
index_view (Index *index, GError **error)
{
  g_mutex_lock (&index->lock);
  IndexView *view = index->view != NULL ? index_view_ref (index->view) : NULL;
  g_mutex_unlock (&index->lock);
  return view != NULL ? view : index_reload (index, error);
}

/* One table object in a listing. */
typedef struct {
  char *object;
  ChunkName hash;
  guint64 size;
  gint64 mtime_us;
} Listed;

static void
clear_listed (gpointer data)
{
  g_free (((Listed *)data)->object);
}

static gboolean
collect_table (const char *name, guint64 size, gint64 mtime_us, gpointer user_data)
{
  Listed listed = { .size = size, .mtime_us = mtime_us };

  if (object_name_parse (name, "index", &listed.hash)) {
    listed.object = g_strdup (name);
    g_array_append_val ((GArray *)user_data, listed);
  }
  return TRUE;
}

static int
compare_newest_first (gconstpointer a, gconstpointer b)
{
  const Listed *one = a, *other = b;
  if (one->mtime_us != other->mtime_us)
    return one->mtime_us > other->mtime_us ? -1 : 1;
  return chunk_name_compare (&one->hash, &other->hash);
}

static IndexTable *
find_loaded (const IndexView *old, const char *object)
{
  for (guint i = 0; old != NULL && i < old->tables->len; i++) {
    IndexTable *table = old->tables->pdata[i];
    if (g_str_equal (index_table_object (table), object) &&
        index_table_failure (table) == INDEX_GOOD)
      return index_table_ref (table);
  }
  return NULL;
}

/* Takes note of tables that could be opened, but not read: they are not opened again. */
static void
note_broken (Index *index, const IndexView *old)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&index->lock);

  for (guint i = 0; old != NULL && i < old->tables->len; i++)
    if (index_table_failure (old->tables->pdata[i]) == INDEX_BROKEN)
      g_hash_table_add (index->broken, g_strdup (index_table_object (old->tables->pdata[i])));
}

static gboolean
is_broken (Index *index, const char *object)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&index->lock);
  return g_hash_table_contains (index->broken, object);
}

/* Opens a table and checks it. */
static IndexTable *
load_table (Index *index, const Listed *listed, GError **error)
{
  IndexMedium medium = medium_of (index);

  if (is_broken (index, listed->object)) {
    g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED, "%s cannot be read", listed->object);
    return NULL;
  }
  return index_table_open (&medium, listed->object, listed->size, error);
}

/* Lists the tables until two listings agree: one alone may miss both a table that was replaced
 * meanwhile and the one that took its place. (transfer full) (element-type Listed) */
static GArray *
list_tables (Index *index, GError **error)
{
  g_autoptr (GArray) before = NULL;

  for (int attempt = 0;; attempt++) {
    g_autoptr (GArray) listing = g_array_new (FALSE, FALSE, sizeof (Listed));
    g_array_set_clear_func (listing, clear_listed);
    if (!index->backend->ops->list (index->backend, "index/", collect_table, listing, error))
      return NULL;
    g_array_sort (listing, compare_newest_first);
    gboolean same = before != NULL && before->len == listing->len;
    for (guint i = 0; same && i < listing->len; i++)
      same = chunk_name_equal (&g_array_index (before, Listed, i).hash,
                               &g_array_index (listing, Listed, i).hash);
    /* Somebody who always changes something cannot keep us from reading. */
    if (same || attempt == 20)
      return g_steal_pointer (&listing);
    g_clear_pointer (&before, g_array_unref);
    before = g_steal_pointer (&listing);
  }
}

/* One attempt; *again: a table went away between the listing and the reading. */
static IndexView *
try_load (Index *index, const IndexView *old, gboolean *again, GError **error)
{
  g_autoptr (IndexView) view = view_new();

  g_mutex_lock (&index->lock);
  view->serial = ++index->serial;
  g_mutex_unlock (&index->lock);
  g_autoptr (GArray) listing = list_tables (index, error);

  if (listing == NULL)
    return NULL;
  for (guint i = 0; i < listing->len; i++) {
    const Listed *listed = &g_array_index (listing, Listed, i);
    g_autoptr (GError) cause = NULL;
    IndexTable *table = find_loaded (old, listed->object);
    if (table == NULL)
      table = load_table (index, listed, &cause);
    if (table != NULL) {
      g_ptr_array_add (view->tables, table);
    } else if (g_error_matches (cause, STORE_ERROR, STORE_ERROR_DAMAGED)) {
      g_ptr_array_add (view->damaged, g_strdup (listed->object));
    } else {
      *again = g_error_matches (cause, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
      g_propagate_error (error, g_steal_pointer (&cause));
      return NULL;
    }
  }
  return g_steal_pointer (&view);
}

/* Loads the tables that are there, reusing those of @old. */
static IndexView *
load_view (Index *index, const IndexView *old, GError **error)
{
  for (int attempt = 0;; attempt++) {
    gboolean again = FALSE;
    g_autoptr (GError) cause = NULL;
    IndexView *view = try_load (index, old, &again, &cause);
    if (view != NULL)
      return view;
    /* Each time, somebody has merged tables in between; that does not happen ten times in a row. */
    if (!again || attempt == 10) {
      g_propagate_error (error, g_steal_pointer (&cause));
      return NULL;
    }
  }
}

static IndexView *
current_view (Index *index)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&index->lock);
  return index->view != NULL ? index_view_ref (index->view) : NULL;
}

/* TRUE if the same tables are damaged in both. */
static gboolean
same_damage (const IndexView *one, const IndexView *other)
{
  if (one->damaged->len != other->damaged->len)
    return FALSE;
  for (guint i = 0; i < one->damaged->len; i++)
    if (!g_ptr_array_find_with_equal_func (other->damaged, one->damaged->pdata[i], g_str_equal,
                                           NULL))
      return FALSE;
  return TRUE;
}

IndexView *
index_reload (Index *index, GError **error)
{
  g_autoptr (IndexView) old = current_view (index);
  note_broken (index, old);
  g_autoptr (IndexView) view = load_view (index, old, error);

  if (view == NULL)
    return NULL;
  /* A damaged table is a reason to look into the packs right away; once. */
  if (view->damaged->len > 0 && (old == NULL || !same_damage (view, old)))
    return index_recover (index, error);
  if (view->damaged->len > 0 && old->recovered != NULL)
    view->recovered = index_table_ref (old->recovered);
  install (index, view);
  return g_steal_pointer (&view);
}

static gboolean
collect_pack (const char *name, guint64 size, gint64 mtime_us, gpointer user_data)
{
  ChunkName hash;

  if (object_name_parse (name, "packs", &hash))
    g_hash_table_add (user_data, g_memdup2 (&hash, sizeof hash));
  return TRUE;
}

/* Moves tables that do not hash to their name to the damaged ones. */
static void
drop_damaged (Index *index, IndexView *view)
{
  for (guint i = view->tables->len; i-- > 0;) {
    IndexTable *table = view->tables->pdata[i];
    ChunkName hash;
    object_name_parse (index_table_object (table), "index", &hash);
    if (index_table_verify (table, &hash))
      continue;
    g_ptr_array_add (view->damaged, g_strdup (index_table_object (table)));
    g_ptr_array_remove_index (view->tables, i);
  }
}

/* Reads the footers of @packs; one that cannot be read is left out: check names it. */
static IndexTable *
table_from_packs (Index *index, GHashTable *packs, GError **error)
{
  g_autoptr (IndexContents) contents = index_contents_new();
  GHashTableIter iter;
  gpointer name;
  ChunkName hash;

  g_hash_table_iter_init (&iter, packs);
  while (g_hash_table_iter_next (&iter, &name, NULL)) {
    g_autoptr (PackFooter) footer = pack_footer_load (index->backend, index->key, name, NULL);
    if (footer != NULL)
      index_contents_add_footer (contents, name, footer);
    if (contents->entries->len > RECOVER_MAX_ENTRIES) {
      g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED,
                   "the index is lost of more than %u chunks: too many to do without it",
                   RECOVER_MAX_ENTRIES);
      return NULL;
    }
  }
  g_autoptr (GBytes) bytes = index_contents_to_bytes (contents, index->key, &hash);
  return index_table_new ("the index rebuilt from packs", bytes, index->key, error);
}

/* Takes the packs that good tables name off @packs. A table that cannot be read to its end joins
 * the damaged ones, and has taken nothing. */
static void
take_off_indexed (IndexView *view, GHashTable *packs)
{
  for (guint i = view->tables->len; i-- > 0;) {
    IndexTable *table = view->tables->pdata[i];
    g_autoptr (GArray) names = g_array_new (FALSE, FALSE, sizeof (ChunkName));
    g_autoptr (IndexScan) scan = index_scan_packs (table);
    IndexPack pack;
    while (index_scan_pack (scan, &pack))
      g_array_append_val (names, pack.name);
    if (index_table_failure (table) != INDEX_GOOD) {
      g_ptr_array_add (view->damaged, g_strdup (index_table_object (table)));
      g_ptr_array_remove_index (view->tables, i);
      continue;
    }
    for (guint j = 0; j < names->len; j++)
      g_hash_table_remove (packs, &g_array_index (names, ChunkName, j));
  }
}

IndexView *
index_recover (Index *index, GError **error)
{
  g_autoptr (GHashTable) packs =
      g_hash_table_new_full (chunk_name_hash, chunk_name_equal, g_free, NULL);

  g_mutex_lock (&index->lock);
  g_hash_table_remove_all (index->broken); /* a medium may have got better */
  g_mutex_unlock (&index->lock);
  /* All of them from the medium again: what is in memory says nothing about that. */
  g_autoptr (IndexView) view = load_view (index, NULL, error);
  if (view == NULL)
    return NULL;
  drop_damaged (index, view);
  if (!index->backend->ops->list (index->backend, "packs/", collect_pack, packs, error))
    return NULL;
  take_off_indexed (view, packs);
  g_mutex_lock (&index->lock);
  for (guint i = 0; i < view->damaged->len; i++)
    g_hash_table_add (index->broken, g_strdup (view->damaged->pdata[i]));
  g_mutex_unlock (&index->lock);
  if (g_hash_table_size (packs) > 0) {
    view->recovered = table_from_packs (index, packs, error);
    if (view->recovered == NULL)
      return NULL;
  }
  install (index, view);
  return g_steal_pointer (&view);
}

gboolean
index_publish (Index *index, IndexContents *contents, guint64 *size, char **object, GError **error)
{
  ChunkName hash;
  gboolean existed;
  g_autoptr (GBytes) bytes = index_contents_to_bytes (contents, index->key, &hash);
  g_autofree char *name = object_name ("index", &hash);

  if (!index->backend->ops->put_if_absent (index->backend, name, bytes, &existed, error))
    return FALSE;
  if (size != NULL)
    *size = g_bytes_get_size (bytes);
  if (object != NULL)
    *object = g_steal_pointer (&name);
  return TRUE;
}

gboolean
index_rewrite (Index *index, IndexTable *table, GHashTable *skip, char **object, GError **error)
{
  IndexMedium medium = medium_of (index);
  g_autoptr (GPtrArray) tables = g_ptr_array_new();
  g_autofree char *name = NULL;

  g_ptr_array_add (tables, table);
  if (!index_merge_tables (&medium, tables, skip, &name, NULL, NULL, error))
    return FALSE;
  if (object != NULL)
    *object = g_steal_pointer (&name);
  return TRUE;
}

/* Removes what was merged into @merged, which may be one of them. */
static gboolean
remove_tables (Index *index, GPtrArray *tables, const char *merged, GError **error)
{
  for (guint i = 0; i < tables->len; i++) {
    const char *object = index_table_object (tables->pdata[i]);
    if (g_strcmp0 (object, merged) != 0 &&
        !index->backend->ops->remove (index->backend, object, error))
      return FALSE;
  }
  return TRUE;
}

/* TRUE if each of them holds what its name says. */
static gboolean
verify_tables (GPtrArray *tables, GError **error)
{
  for (guint i = 0; i < tables->len; i++) {
    ChunkName hash;
    object_name_parse (index_table_object (tables->pdata[i]), "index", &hash);
    if (!index_table_verify (tables->pdata[i], &hash))
      return index_table_check (tables->pdata[i], error);
  }
  return TRUE;
}

gboolean
index_merge (Index *index, IndexView *view, IndexMayRemove may_remove, gpointer user_data,
             guint64 *size, GCancellable *cancellable, GError **error)
{
  IndexMedium medium = medium_of (index);
  g_autoptr (IndexView) now = index_view_ref (view);
  guint64 written = 0;

  if (size != NULL)
    *size = 0;
  /* What is damaged is recovery's business, not ours. */
  while (now->damaged->len == 0) {
    g_autoptr (GPtrArray) chosen = index_merge_choose (now->tables);
    g_autofree char *merged = NULL;
    if (chosen == NULL || !may_remove (user_data))
      return TRUE;
    /* Or what is wrong in one would be under a hash that is right from now on. */
    if (!verify_tables (chosen, error) ||
        !index_merge_tables (&medium, chosen, NULL, &merged, &written, cancellable, error) ||
        !index->backend->ops->sync (index->backend, error))
      return FALSE;
    if (size != NULL)
      *size += written;
    /* Who began to walk meanwhile keeps what it has; a later merge takes the same tables again. */
    if (!may_remove (user_data))
      return TRUE;
    if (!remove_tables (index, chosen, merged, error))
      return FALSE;
    IndexView *after = index_reload (index, error);
    if (after == NULL)
      return FALSE;
    index_view_unref (now);
    now = after;
  }
  return TRUE;
}

void
index_cache_stats (Index *index, BlockCacheStats *stats)
{
  block_cache_stats (index->cache, stats);
}
