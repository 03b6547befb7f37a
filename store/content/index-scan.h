/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading a part of an index table from its beginning to its end, past the cache. One thread. */
#pragma once

#include "index-table.h"

typedef struct _IndexScan IndexScan;

/* Its packs, frames or entries. A reference to @table is taken. Newly allocated. */
IndexScan *index_scan_packs (const IndexTable *table);
IndexScan *index_scan_frames (const IndexTable *table);
IndexScan *index_scan_entries (const IndexTable *table);
/* NULL is ignored. */
void index_scan_free (IndexScan *scan);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (IndexScan, index_scan_free)

/* The next one; FALSE at the end, and if the table has failed. A record that cannot be (a frame of
 * no pack, an entry of no frame, or out of order) is a failure. */
gboolean index_scan_pack (IndexScan *scan, IndexPack *pack);
gboolean index_scan_frame (IndexScan *scan, IndexFrame *frame);
gboolean index_scan_entry (IndexScan *scan, IndexEntry *entry);
