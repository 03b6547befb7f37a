/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The bytes of an index table, for those who write and read them:
 *
 *   head      64 bytes: magic, version, counts, hash of head + packs + fan-out
 *   packs     48 bytes each
 *   fan-out   2^bits + 1 counts: entries before those whose name begins with these bits
 *   frames    20 bytes each
 *   entries   44 bytes each, sorted by name
 */
#pragma once

#include "index-table.h"

#define INDEX_MAGIC "vmckindx"
#define INDEX_VERSION 2
/* A table without frames of deltas is one of version 1, which older programs read. */
#define INDEX_VERSION_PLAIN 1
#define HEAD_BYTES 64
#define HEAD_HASH_AT 32
#define PACK_RECORD 48
#define FRAME_RECORD 20
#define ENTRY_RECORD 44
#define FAN_RECORD 4
#define FAN_BITS_MAX 22
/* A bucket of so many entries is less than a block of the cache. */
#define ENTRIES_PER_BUCKET 64

/* The first @bits bits of a name. */
guint32 index_name_bucket (const ChunkName *name, guint bits);

/* Bits of fan-out that a table of so many entries gets. */
guint index_fan_bits (guint64 n_entries);

/* Append the head (its hash left blank) or a record. @deltas: some frame is one of deltas: programs
 * that do not know them must refuse the table. */
void index_add_head (GByteArray *out, gboolean deltas, guint fan_bits, guint32 packs,
                     guint32 frames, guint32 entries);
void index_add_pack (GByteArray *out, const IndexPack *pack);
void index_add_frame (GByteArray *out, const IndexFrame *frame);
void index_add_entry (GByteArray *out, const IndexEntry *entry);

/* Read a record of the table; what it says is not checked. */
void index_parse_pack (const guint8 *record, IndexPack *pack);
void index_parse_frame (const guint8 *record, IndexFrame *frame);
void index_parse_entry (const guint8 *record, IndexEntry *entry);
