/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A set of pages: a bit for each, the lowest of a 64-bit word first. One thread at a time, but
 * threads that work on different words do not disturb each other. */
#pragma once

#include <glib.h>

typedef struct {
  guint64 pages;
  guint64 *words; /* bits beyond the last page are 0 */
} PageBitmap;

/* An empty set of @pages pages. */
PageBitmap *page_bitmap_new (guint64 pages);
/* Frees @bitmap. */
void page_bitmap_free (PageBitmap *bitmap);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PageBitmap, page_bitmap_free)

/* How many words there are. */
gsize page_bitmap_words (const PageBitmap *bitmap);

/* Adds or takes away one page, which must exist. */
static inline void
page_bitmap_set (PageBitmap *bitmap, guint64 page)
{
  bitmap->words[page / 64] |= G_GUINT64_CONSTANT (1) << page % 64;
}
static inline void
page_bitmap_clear (PageBitmap *bitmap, guint64 page)
{
  bitmap->words[page / 64] &= ~(G_GUINT64_CONSTANT (1) << page % 64);
}

/* Whether @page, which must exist, is in the set. */
static inline gboolean
page_bitmap_test (const PageBitmap *bitmap, guint64 page)
{
  return (bitmap->words[page / 64] >> page % 64 & 1) != 0;
}

/* Adds or takes away the pages @first to @end (excluded; cut to the number of pages). */
void page_bitmap_set_range (PageBitmap *bitmap, guint64 first, guint64 end);
void page_bitmap_clear_range (PageBitmap *bitmap, guint64 first, guint64 end);

/* Empties the set. */
void page_bitmap_clear_all (PageBitmap *bitmap);

/* Adds all of @other's pages, takes them away, or leaves only those; both have as many pages. */
void page_bitmap_add (PageBitmap *bitmap, const PageBitmap *other);
void page_bitmap_subtract (PageBitmap *bitmap, const PageBitmap *other);
void page_bitmap_intersect (PageBitmap *bitmap, const PageBitmap *other);

/* How many pages are in the set. */
guint64 page_bitmap_count (const PageBitmap *bitmap);

/**
 * page_bitmap_next_run:
 * @first: (inout): where to look from; then the first page of the run
 * @end: (out): the page after the last one of the run
 *
 * Finds the next pages in the set that are neighbours:
 * `for (guint64 first = 0, end; page_bitmap_next_run (b, &first, &end); first = end)`.
 *
 * Returns: FALSE if there are no more.
 */
gboolean page_bitmap_next_run (const PageBitmap *bitmap, guint64 *first, guint64 *end);
