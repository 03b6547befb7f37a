/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "index-scan.h"

#include "index-table-private.h"

struct _IndexScan {
  IndexTable *table;
  IndexSource *source; /* its */
  guint64 at, end;     /* of what is not in the buffer yet */
  gsize record;
  GBytes *holder;
  const guint8 *data;
  gsize left;       /* bytes at `data` */
  ChunkName before; /* the entry before */
};

static IndexScan *
scan_new (const IndexTable *table, guint64 at, guint64 end, gsize record)
{
  IndexScan *scan = g_new0 (IndexScan, 1);
  scan->table = index_table_ref ((IndexTable *)table);
  scan->source = scan->table->source;
  scan->at = at;
  scan->end = end;
  scan->record = record;
  return scan;
}

void
index_scan_free (IndexScan *scan)
{
  if (scan == NULL)
    return;
  index_table_unref (scan->table);
  g_clear_pointer (&scan->holder, g_bytes_unref);
  g_free (scan);
}

/* The next record, or NULL: the end, or a failure. */
static const guint8 *
scan_next (IndexScan *scan)
{
  g_autoptr (GError) error = NULL;

  if (scan->left == 0) {
    gsize some = MIN (scan->end - scan->at, INDEX_PIECE_BYTES / scan->record * scan->record);
    if (some == 0 || index_source_failure (scan->source) != INDEX_GOOD)
      return NULL;
    g_clear_pointer (&scan->holder, g_bytes_unref);
    scan->data = index_source_piece (scan->source, scan->at, some, &scan->holder, &error);
    if (scan->data == NULL) {
      index_source_fail (scan->source, index_source_judge (error));
      return NULL;
    }
    scan->at += some;
    scan->left = some;
  }
  const guint8 *record = scan->data;
  scan->data += scan->record;
  scan->left -= scan->record;
  return record;
}

IndexScan *
index_scan_packs (const IndexTable *table)
{
  return scan_new (table, table->packs_at, table->fan_at, PACK_RECORD);
}

IndexScan *
index_scan_frames (const IndexTable *table)
{
  return scan_new (table, table->frames_at, table->entries_at, FRAME_RECORD);
}

IndexScan *
index_scan_entries (const IndexTable *table)
{
  return scan_new (table, table->entries_at, table->source->size, ENTRY_RECORD);
}

gboolean
index_scan_pack (IndexScan *scan, IndexPack *pack)
{
  const guint8 *record = scan_next (scan);

  if (record != NULL)
    index_parse_pack (record, pack);
  return record != NULL;
}

gboolean
index_scan_frame (IndexScan *scan, IndexFrame *frame)
{
  const guint8 *record = scan_next (scan);

  if (record == NULL)
    return FALSE;
  index_parse_frame (record, frame);
  return frame->pack < scan->table->n_packs || index_source_fail (scan->source, INDEX_BROKEN);
}

gboolean
index_scan_entry (IndexScan *scan, IndexEntry *entry)
{
  const guint8 *record = scan_next (scan);

  if (record == NULL)
    return FALSE;
  index_parse_entry (record, entry);
  if (entry->frame >= scan->table->n_frames || chunk_name_compare (&scan->before, &entry->name) > 0)
    return index_source_fail (scan->source, INDEX_BROKEN);
  scan->before = entry->name;
  return TRUE;
}
