/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A page map as a row of bytes: any stretch of it, wherever its pages begin, and where it is zeros.
 * Any thread, several at once.
 */
#pragma once

#include <vmckpt/store/store.h>

typedef struct _MapBytes MapBytes;

/* Opens @map, whose pages are read when they are wanted. */
MapBytes *map_bytes_new (Store *store, const PageMap *map, GError **error);
void map_bytes_free (MapBytes *bytes);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (MapBytes, map_bytes_free)

guint64 map_bytes_length (const MapBytes *bytes);

/* Reads @count bytes from @offset, verified; the stretch lies within the map's length.
 * STORE_ERROR_DAMAGED names the page and the object. */
gboolean map_bytes_read (MapBytes *bytes, guint64 offset, gsize count, guint8 *data,
                         GError **error);

/**
 * map_bytes_find_run:
 * @offset: within the length
 * @limit: how many bytes to look at, at least 1
 * @zero: (out): whether there are zeros at @offset
 *
 * How far what is at @offset goes: data or zeros. It may go on beyond what is returned, as only so
 * much of the map is looked at in one call.
 *
 * Returns: bytes, at least 1 and at most @limit; 0 with @error.
 */
guint64 map_bytes_find_run (MapBytes *bytes, guint64 offset, guint64 limit, gboolean *zero,
                            GError **error);
