/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading a stretch of pages at once: names → places → frames, each read once and in the order of
 * the packs → pages, verified several at a time.
 */
#pragma once

#include "page-node.h"
#include "store-private.h"

/* Of a few leaves: most frames then belong to one batch alone. */
#define PAGE_BATCH_PAGES (2 * NODE_FANOUT)

typedef struct {
  Store *store;
  guint64 first;                     /* page */
  guint count;                       /* pages */
  ChunkName names[PAGE_BATCH_PAGES]; /* all zeros: not read */
  guint8 *data;                      /* count pages; what is not read is undefined */
} PageBatch;

/* Reads all pages that have a name; an error names the page. Any thread. */
gboolean page_batch_read (PageBatch *batch, GError **error);

/* Writes what was read to its places in @fd, up to @length bytes from the file's beginning. */
gboolean page_batch_write (const PageBatch *batch, int fd, guint64 length, GError **error);

/* Puts "page N: " before the error. Returns FALSE. */
gboolean page_prefix_error (guint64 page, GError **error);

/* FALSE with STORE_ERROR_DAMAGED if a chunk of @len bytes is not a page. */
gboolean page_check_length (gsize len, GError **error);
