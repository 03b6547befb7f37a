/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a migration stream becomes in a checkpoint: items go in, parts of a manifest come out. */
#pragma once

#include "ram-blocks.h"

typedef struct {
  StoreWriter *writer;    /* borrowed */
  const Manifest *parent; /* (nullable) borrowed */
  RamBlocks *ram;         /* NULL until the stream has declared its blocks */
  GByteArray *config;     /* the configuration section */
  GByteArray *devices;    /* the opaque device state */
  char *machine;          /* machine type as the configuration says */
} StreamParts;

/* To be cleared with stream_parts_clear(). */
void stream_parts_init (StreamParts *parts, StoreWriter *writer, const Manifest *parent);
/* Frees what it holds. */
void stream_parts_clear (StreamParts *parts);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (StreamParts, stream_parts_clear)

/* Takes the item that @reader gave last. STREAM_ITEM_END does nothing here. */
gboolean stream_parts_take (StreamParts *parts, StreamReader *reader, const StreamItem *item,
                            GError **error);

/* After the end: every page of every block must have come; RAM_ERROR. */
gboolean stream_parts_check_complete (const StreamParts *parts, GError **error);

/* Adds the parts "ram" (one per block), "configuration" and "device-state" to @manifest; @stats:
 * (inout): of RAM, added up. */
gboolean stream_parts_store (StreamParts *parts, Manifest *manifest, PageMapStats *stats,
                             GError **error);
