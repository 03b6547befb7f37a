/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is in a store, in numbers. */
#include "gc-private.h"
#include "index-layout.h"
#include "index-scan.h"

/* How often chunks are counted anew because the index changed under it. */
#define COUNTS_MAX 10

/* Between these many names it is looked whether somebody wants the count to end. */
#define NAMES_PER_STEP 65536

typedef struct {
  StoreStats *stats;
  GCancellable *cancellable;
} Objects;

static gboolean
add_object (const char *name, guint64 size, gint64 mtime_us, gpointer user_data)
{
  const Objects *objects = user_data;
  StoreStats *stats = objects->stats;

  if (g_str_has_prefix (name, "packs/")) {
    stats->packs++;
    stats->pack_bytes += size;
  } else {
    stats->other_bytes += size;
  }
  return !g_cancellable_is_cancelled (objects->cancellable);
}

/* A table being read in order beside the others. */
typedef struct {
  IndexScan *scan;
  IndexEntry entry;
  gboolean more;
} Walk;

static void
clear_walk (gpointer data)
{
  index_scan_free (((Walk *)data)->scan);
}

/* @entries: (out): of all tables together. (transfer full) (element-type Walk) */
static GArray *
begin_walks (const IndexView *view, guint64 *entries)
{
  GArray *walks = g_array_sized_new (FALSE, TRUE, sizeof (Walk), view->tables->len);

  g_array_set_clear_func (walks, clear_walk);
  *entries = 0;
  for (guint i = 0; i < view->tables->len; i++) {
    const IndexTable *table = view->tables->pdata[i];
    Walk walk = { .scan = index_scan_entries (table) };
    walk.more = index_scan_entry (walk.scan, &walk.entry);
    *entries += index_table_entries (table);
    g_array_append_val (walks, walk);
  }
  return walks;
}

/* The entry whose name comes next in any table; NULL at the end of all. */
static const IndexEntry *
next_entry (const GArray *walks)
{
  const IndexEntry *next = NULL;

  for (guint i = 0; i < walks->len; i++) {
    const Walk *walk = &g_array_index (walks, Walk, i);
    if (walk->more && (next == NULL || chunk_name_compare (&walk->entry.name, &next->name) < 0))
      next = &walk->entry;
  }
  return next;
}

/* Passes all entries of @name; returns how many there are. */
static guint
pass_name (GArray *walks, const ChunkName *name)
{
  guint passed = 0;

  for (guint i = 0; i < walks->len; i++) {
    Walk *walk = &g_array_index (walks, Walk, i);
    for (; walk->more && chunk_name_equal (&walk->entry.name, name); passed++)
      walk->more = index_scan_entry (walk->scan, &walk->entry);
  }
  return passed;
}

/* Counts the distinct chunks, all tables read side by side, once: copies in other packs are not
 * counted again. */
static gboolean
count_chunks (const IndexView *view, StoreStats *stats, const Progress *progress,
              GCancellable *cancellable, GError **error)
{
  guint64 entries, passed = 0;
  g_autoptr (GArray) walks = begin_walks (view, &entries);

  stats->chunks = stats->chunk_bytes = 0;
  for (const IndexEntry *entry; (entry = next_entry (walks)) != NULL;) {
    ChunkName name = entry->name;
    if (stats->chunks++ % NAMES_PER_STEP == 0) {
      if (g_cancellable_set_error_if_cancelled (cancellable, error))
        return FALSE;
      progress_report (progress, PHASE_READ, passed * ENTRY_RECORD, entries * ENTRY_RECORD);
    }
    stats->chunk_bytes += entry->len;
    passed += pass_name (walks, &name);
  }
  return TRUE;
}

/* Tables that are replaced meanwhile are listed anew. */
static gboolean
count_index (Store *store, StoreStats *stats, const Progress *progress, GCancellable *cancellable,
             GError **error)
{
  for (int attempt = 0; attempt <= COUNTS_MAX; attempt++) {
    g_autoptr (IndexView) view = index_reload (store->index, error);
    if (view == NULL || !count_chunks (view, stats, progress, cancellable, error))
      return FALSE;
    if (!index_view_failed (view))
      break;
  }
  return TRUE;
}

/* The same judgement as gc's. */
static gboolean
count_unused (Store *store, StoreStats *stats, const Progress *progress, GCancellable *cancellable,
              GError **error)
{
  StoreGcReport report;

  if (!store_gc (store, TRUE, &report, progress, cancellable, error))
    return FALSE;
  stats->unused_bytes = report.freed_bytes;
  return TRUE;
}

gboolean
store_stats (Store *store, gboolean with_unused, StoreStats *stats, const Progress *progress,
             GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) manifests = store_manifest_list (store, NULL, NULL, error);

  *stats = (StoreStats){ 0 };
  Objects objects = { stats, cancellable };
  if (manifests == NULL || !store_list (store, "", add_object, &objects, error) ||
      g_cancellable_set_error_if_cancelled (cancellable, error))
    return FALSE;
  stats->checkpoints = manifests->len;
  for (guint i = 0; i < manifests->len; i++) {
    const Manifest *manifest = manifests->pdata[i];
    for (guint j = 0; j < manifest->parts->len; j++)
      stats->logical_bytes += ((ManifestPart *)manifest->parts->pdata[j])->map.length;
  }
  return count_index (store, stats, progress, cancellable, error) &&
         (!with_unused || count_unused (store, stats, progress, cancellable, error));
}
