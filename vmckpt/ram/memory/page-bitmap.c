/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "page-bitmap.h"

#include <string.h>

PageBitmap *
page_bitmap_new (guint64 pages)
{
  PageBitmap *bitmap = g_new (PageBitmap, 1);

  bitmap->pages = pages;
  bitmap->words = g_new0 (guint64, page_bitmap_words (bitmap));
  return bitmap;
}

void
page_bitmap_free (PageBitmap *bitmap)
{
  if (bitmap == NULL)
    return;
  g_free (bitmap->words);
  g_free (bitmap);
}

gsize
page_bitmap_words (const PageBitmap *bitmap)
{
  return bitmap->pages / 64 + (bitmap->pages % 64 != 0);
}

/* The bits of the word of @first that belong to pages @first to @end (excluded), *count of them. */
static guint64
mask_of (guint64 first, guint64 end, guint64 *count)
{
  guint64 bits = MIN (64 - first % 64, end - first);

  *count = bits;
  return (bits == 64 ? G_MAXUINT64 : (G_GUINT64_CONSTANT (1) << bits) - 1) << first % 64;
}

void
page_bitmap_set_range (PageBitmap *bitmap, guint64 first, guint64 end)
{
  end = MIN (end, bitmap->pages);
  for (guint64 count; first < end; first += count) {
    guint64 word = first / 64;
    bitmap->words[word] |= mask_of (first, end, &count);
  }
}

void
page_bitmap_clear_range (PageBitmap *bitmap, guint64 first, guint64 end)
{
  end = MIN (end, bitmap->pages);
  for (guint64 count; first < end; first += count) {
    guint64 word = first / 64;
    bitmap->words[word] &= ~mask_of (first, end, &count);
  }
}

void
page_bitmap_clear_all (PageBitmap *bitmap)
{
  memset (bitmap->words, 0, page_bitmap_words (bitmap) * sizeof (guint64));
}

void
page_bitmap_add (PageBitmap *bitmap, const PageBitmap *other)
{
  g_return_if_fail (bitmap->pages == other->pages);
  for (gsize i = 0; i < page_bitmap_words (bitmap); i++)
    bitmap->words[i] |= other->words[i];
}

void
page_bitmap_subtract (PageBitmap *bitmap, const PageBitmap *other)
{
  g_return_if_fail (bitmap->pages == other->pages);
  for (gsize i = 0; i < page_bitmap_words (bitmap); i++)
    bitmap->words[i] &= ~other->words[i];
}

void
page_bitmap_intersect (PageBitmap *bitmap, const PageBitmap *other)
{
  g_return_if_fail (bitmap->pages == other->pages);
  for (gsize i = 0; i < page_bitmap_words (bitmap); i++)
    bitmap->words[i] &= other->words[i];
}

guint64
page_bitmap_count (const PageBitmap *bitmap)
{
  guint64 count = 0;

  for (gsize i = 0; i < page_bitmap_words (bitmap); i++)
    count += __builtin_popcountll (bitmap->words[i]);
  return count;
}

/* The first page from @page on that is in the set, or is not (@flip all ones); or the number of
 * pages. */
static guint64
find (const PageBitmap *bitmap, guint64 page, guint64 flip)
{
  gsize words = page_bitmap_words (bitmap);

  for (gsize i = page / 64; i < words; i++) {
    guint64 word = bitmap->words[i] ^ flip;
    if (i == page / 64)
      word &= G_MAXUINT64 << page % 64;
    if (word != 0)
      return MIN (i * 64 + __builtin_ctzll (word), bitmap->pages);
  }
  return bitmap->pages;
}

gboolean
page_bitmap_next_run (const PageBitmap *bitmap, guint64 *first, guint64 *end)
{
  if (*first >= bitmap->pages)
    return FALSE;
  *first = find (bitmap, *first, 0);
  if (*first == bitmap->pages)
    return FALSE;
  *end = find (bitmap, *first, G_MAXUINT64);
  return TRUE;
}
