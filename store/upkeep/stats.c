/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is in a store, in numbers. */
#include "gc-private.h"

#include <string.h>

/* How often chunks are counted anew because the index changed under it. */
#define COUNTS_MAX 10

static gboolean
add_object (const char *name, guint64 size, gint64 mtime_us, gpointer user_data)
{
  StoreStats *stats = user_data;

  if (g_str_has_prefix (name, "packs/")) {
    stats->packs++;
    stats->pack_bytes += size;
  } else {
    stats->other_bytes += size;
  }
  return TRUE;
}

/* Counts the distinct chunks: copies in other packs are not counted again. */
static void
count_chunks (const IndexView *view, StoreStats *stats)
{
  for (guint i = 0; i < view->tables->len; i++) {
    const IndexTable *table = view->tables->pdata[i];
    ChunkName before = { 0 };
    for (guint j = 0; j < index_table_entries (table); j++) {
      ChunkLocation location;
      ChunkName name;
      if (!index_table_entry (table, j, &name, &location, NULL) ||
          chunk_name_equal (&name, &before))
        continue;
      gboolean counted = FALSE;
      for (guint k = 0; k < i && !counted; k++)
        counted = index_table_find (view->tables->pdata[k], &name) >= 0;
      stats->chunks += !counted;
      stats->chunk_bytes += counted ? 0 : location.len;
      before = name;
    }
  }
}

/* The same judgement as gc's. */
static gboolean
count_unused (Store *store, StoreStats *stats, GError **error)
{
  StoreGcReport report;

  if (!store_gc (store, TRUE, &report, NULL, NULL, error))
    return FALSE;
  stats->unused_bytes = report.freed_bytes;
  return TRUE;
}

gboolean
store_stats (Store *store, gboolean with_unused, StoreStats *stats, GError **error)
{
  g_autoptr (GPtrArray) manifests = store_manifest_list (store, NULL, NULL, error);
  g_autoptr (IndexView) view = manifests != NULL ? index_reload (store->index, error) : NULL;

  memset (stats, 0, sizeof *stats);
  if (view == NULL || !store_list (store, "", add_object, stats, error))
    return FALSE;
  stats->checkpoints = manifests->len;
  for (guint i = 0; i < manifests->len; i++) {
    const Manifest *manifest = manifests->pdata[i];
    for (guint j = 0; j < manifest->parts->len; j++)
      stats->logical_bytes += ((ManifestPart *)manifest->parts->pdata[j])->map.length;
  }
  count_chunks (view, stats);
  /* Tables that were replaced meanwhile: what there is now. */
  for (int attempt = 0; index_view_failed (view) && attempt < COUNTS_MAX; attempt++) {
    index_view_unref (view);
    view = index_reload (store->index, error);
    if (view == NULL)
      return FALSE;
    stats->chunks = stats->chunk_bytes = 0;
    count_chunks (view, stats);
  }
  return !with_unused || count_unused (store, stats, error);
}
