/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory in which copied pages of a guest's RAM wait for the store. It is there before it is
 * needed: copying into it neither allocates nor, as far as was reserved, faults.
 */
#pragma once

#include "page-bitmap.h"

#include <vmckpt/store/page-map.h>

typedef struct _PageBuffer PageBuffer;

/**
 * page_buffer_new:
 * @fd: the file that the RAM is; borrowed
 * @ram_pages: its length in pages
 * @capacity: pages that can wait at once
 */
PageBuffer *page_buffer_new (int fd, guint64 ram_pages, guint64 capacity, GError **error);
/* Drops what is in it. */
void page_buffer_free (PageBuffer *buffer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PageBuffer, page_buffer_free)

/* Pages in it, pages copied several times counted each time; and how many more there is room for.
 */
guint64 page_buffer_used (const PageBuffer *buffer);
guint64 page_buffer_room (const PageBuffer *buffer);

/* Makes the next @pages pages of its memory be there, as far as there is room. */
void page_buffer_reserve (PageBuffer *buffer, guint64 pages);

/**
 * page_buffer_copy:
 * @pages: of the RAM: those to copy
 * @at: (inout): the page to begin with; then the one to go on with, beyond the last if all are done
 * @limit: pages to copy at most; what there is no room for is left, too
 *
 * Reads them with pread(2), neighbours together; what is not populated comes as zeros.
 */
gboolean page_buffer_copy (PageBuffer *buffer, const PageBitmap *pages, guint64 *at, guint64 limit,
                           GError **error);

/* Puts what is in it into @map, of a page copied several times the last copy, and empties it. */
gboolean page_buffer_flush (PageBuffer *buffer, PageMapWriter *map, GError **error);
