/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Page maps: what the pages of one piece of a checkpoint (a RAM block, a disk, the device state)
 * are. A map says for each 4 KiB page the name of its content, as a Merkle tree; a page of zeros
 * and a subtree of zeros have no name and cost nothing. Maps are immutable; a new one is written by
 * naming only what differs from a former one (docs/store-format.md, "Page maps").
 */
#pragma once

#include <gio/gio.h>

#include <vmckpt/util/progress.h>

typedef struct _Store Store;
typedef struct _StoreWriter StoreWriter;

#define PAGE_SIZE_BYTES 4096
#define CHUNK_NAME_BYTES 32

/* The keyed hash of a chunk's content; all zeros stands for content that is all zeros. */
typedef struct {
  guint8 bytes[CHUNK_NAME_BYTES];
} ChunkName;

/* A page map as a manifest refers to it. The value is the whole map's identity. */
typedef struct {
  guint64 length; /* bytes described; the last page is padded with zeros */
  ChunkName root; /* all zeros: everything is zero */
} PageMap;

/* ---- Writing ---- */

typedef struct _PageMapWriter PageMapWriter;

/**
 * page_map_writer_new:
 * @writer: the transaction that the pages belong to; must outlive this
 * @length: bytes to be described
 * @base: (nullable): a map in the same store (of a checkpoint, or flushed) from which every page is
 * taken that is not put; its length may differ. NULL: pages that are not put are zeros. A base that
 * is gone is STORE_ERROR_NOT_FOUND: write a full map then.
 *
 * Pages are hashed, compared, compressed and stored by worker threads behind the scenes, with
 * bounded memory: page_map_writer_put() waits when the workers are behind. One thread at a time.
 */
PageMapWriter *page_map_writer_new (StoreWriter *writer, guint64 length, const PageMap *base,
                                    GError **error);

/* Drops a writer that was not finished. */
void page_map_writer_free (PageMapWriter *writer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PageMapWriter, page_map_writer_free)

/**
 * page_map_writer_put:
 * @page: index of the page, in any order; a page put again replaces the former content
 * @data: (nullable): PAGE_SIZE_BYTES bytes, copied; NULL or all zeros: a page of zeros
 *
 * Returns: FALSE with @error when this or an earlier page could not be stored; the transaction is
 * then lost.
 */
gboolean page_map_writer_put (PageMapWriter *writer, guint64 page, const guint8 *data,
                              GError **error);

/**
 * page_map_writer_flush:
 *
 * Makes all that was put so far durable, as a map that what is put later goes onto: little is left
 * for page_map_writer_finish() and the commit. No page may be put meanwhile by another map's writer
 * of the same transaction.
 */
gboolean page_map_writer_flush (PageMapWriter *writer, GError **error);

/* What became of the pages put so far; exact after page_map_writer_finish(). */
typedef struct {
  guint64 put;       /* pages put */
  guint64 zero;      /* of these: pages of zeros */
  guint64 unchanged; /* of these: equal to the base's page at the same place */
  guint64 known;     /* of these: changed, but the content is in the store already */
  guint64 fresh;     /* of these: new to the store */
} PageMapStats;

/* Waits for all pages, writes the tree and yields the map; @stats: (out) (optional). */
gboolean page_map_writer_finish (PageMapWriter *writer, PageMap *map, PageMapStats *stats,
                                 GError **error);

/* ---- Reading ---- */

typedef struct _PageMapReader PageMapReader;

/* Opens a map for reading; nodes are read when needed. One thread at a time. */
PageMapReader *page_map_reader_new (Store *store, const PageMap *map, GError **error);
/* Frees @reader. */
void page_map_reader_free (PageMapReader *reader);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PageMapReader, page_map_reader_free)

/* The name of page @page (all zeros: a page of zeros). */
gboolean page_map_reader_name (PageMapReader *reader, guint64 page, ChunkName *name,
                               GError **error);

/* Reads one page, verified; @data: (out caller-allocates): PAGE_SIZE_BYTES. */
gboolean page_map_reader_read (PageMapReader *reader, guint64 page, guint8 *data, GError **error);

/* Pages that page_map_reader_read_run() takes at once. */
#define PAGE_MAP_RUN_MAX 512
/* Pages of which page_map_reader_find_data() tells together. */
#define PAGE_MAP_STRETCH 256

/**
 * page_map_reader_read_run:
 * @count: 1 … PAGE_MAP_RUN_MAX
 * @data: (out caller-allocates): @count pages
 * @zero: (out caller-allocates): of each page, whether it is one of zeros
 *
 * Reads @count pages from @first, verified. Frames of which a part is taken are kept for a while,
 * so that what lies beside a page comes soon after it. Any thread, several at once.
 * STORE_ERROR_DAMAGED names the page.
 */
gboolean page_map_reader_read_run (PageMapReader *reader, guint64 first, guint count, guint8 *data,
                                   gboolean *zero, GError **error);

/**
 * page_map_reader_find_data:
 * @bits: (out caller-allocates): a bit for each PAGE_MAP_STRETCH pages of the map, lowest first
 *
 * Sets the bits of the stretches that may have pages other than zeros; the others have none. Reads
 * one node in 256 and the overrides. Any thread.
 */
gboolean page_map_reader_find_data (PageMapReader *reader, guint64 *bits, GError **error);

/**
 * page_map_reader_find_run:
 * @first: a page of the map
 * @limit: how many pages to look at, at least 1; what is beyond the end is left out
 * @zero: (out): whether page @first is one of zeros
 *
 * Says how many pages from @first on are alike in that. Reads nodes, no pages. Any thread.
 *
 * Returns: their number, at least 1; 0 with @error.
 */
guint64 page_map_reader_find_run (PageMapReader *reader, guint64 first, guint64 limit,
                                  gboolean *zero, GError **error);

/* @data is NULL for a page of zeros; return FALSE with @error set to stop. */
typedef gboolean (*PageFunc) (guint64 page, const guint8 *data, gpointer user_data, GError **error);

/**
 * page_map_reader_foreach:
 * @include_zeros: also call for pages of zeros
 * @progress: (nullable): PHASE_READ
 *
 * Calls @func for all pages in ascending order, each verified; reads ahead in parallel.
 * STORE_ERROR_DAMAGED names the object and page.
 */
gboolean page_map_reader_foreach (PageMapReader *reader, gboolean include_zeros, PageFunc func,
                                  gpointer user_data, const Progress *progress,
                                  GCancellable *cancellable, GError **error);

/**
 * page_map_reader_foreach_of:
 * @wanted: a bit for each page of the map, the lowest of a byte first
 *
 * As page_map_reader_foreach() without zeros, but only for the pages whose bit is set; what is
 * below other pages alone is not read.
 */
gboolean page_map_reader_foreach_of (PageMapReader *reader, const guint8 *wanted, PageFunc func,
                                     gpointer user_data, const Progress *progress,
                                     GCancellable *cancellable, GError **error);

/**
 * page_map_reader_write_file:
 * @fd: a file that reads as zeros wherever a page of zeros goes: new, or cut to nothing before
 * @progress: (nullable): PHASE_READ
 *
 * Writes all pages to their places, by the threads that read them; pages of zeros are left out. The
 * file's length is the caller's to set, and its sync the caller's to do.
 */
gboolean page_map_reader_write_file (PageMapReader *reader, int fd, const Progress *progress,
                                     GCancellable *cancellable, GError **error);

/* Called for each page whose name differs between two maps. */
typedef gboolean (*PageDiffFunc) (guint64 page, const ChunkName *a, const ChunkName *b,
                                  gpointer user_data);

/* Compares two maps of one store without reading pages or shared subtrees. */
gboolean page_map_diff (Store *store, const PageMap *a, const PageMap *b, PageDiffFunc func,
                        gpointer user_data, GError **error);
