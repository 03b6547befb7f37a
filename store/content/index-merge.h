/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One table out of several, or out of one without some packs: read and written as streams, so that
 * memory does not grow with the tables. Their entries are read twice: for the fan-out, which comes
 * first, and to be written.
 */
#pragma once

#include "index-table.h"

/**
 * index_merge_tables:
 * @tables: (element-type IndexTable)
 * @skip: (nullable): set of ChunkName, packs that are left out
 * @object: (out): the table's name; NULL if nothing is left. (transfer full)
 * @size: (out) (optional): its bytes
 *
 * A pack that several of them name is taken from the first. Puts the table; the caller syncs.
 *
 * Memory: a buffer of 256 KiB per table, one bit per frame, 50 bytes per pack, the fan-out (16 MiB
 * at most).
 *
 * Returns: FALSE with STORE_ERROR_DAMAGED if one of them cannot be read, or the backend's error.
 */
gboolean index_merge_tables (const IndexMedium *medium, GPtrArray *tables, GHashTable *skip,
                             char **object, guint64 *size, GCancellable *cancellable,
                             GError **error);

/**
 * index_merge_choose:
 * @tables: (element-type IndexTable)
 *
 * Chooses tables to merge: the greatest number, at least 4, of the smallest of which the greatest
 * has no more entries than the others together. So whatever is written again ends up in a table of
 * twice the size, which happens to an entry at most log2 of the entries of the store times; and of
 * the tables that stay, each has more entries than all smaller ones together (but for the three
 * smallest), so that there are about log2 of them too.
 *
 * Returns: (transfer container): the tables, or NULL if there are none.
 */
GPtrArray *index_merge_choose (GPtrArray *tables);
