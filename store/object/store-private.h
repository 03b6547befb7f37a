/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of this room share: the open store, and access to its objects. */
#pragma once

#include <vmckpt/store/store.h>

#include "chunk.h"
#include "delta.h"
#include "frame-cache.h"
#include "index.h"
#include "master-key.h"

struct _Store {
  int refs; /* (atomic) */
  Backend *backend;
  char *id;
  HashKey key;
  MasterKey *master; /* (nullable): not encrypted */
  GBytes *format;    /* the format object as it was when the store was opened */
  Index *index;
  FrameCache *frames;
  GMutex lock;
  GHashTable
      *roots; /* (lock) ChunkName → GArray of ChunkName: maps of a manifest (manifest-store.c) */
  GPtrArray *left;    /* (lock) of char*: announcements that could not be taken back (announce.h) */
  guint64 used_bytes; /* (lock) what the last listing of all objects found (quota-limit.c) */
  gint64 used_until_us; /* (lock) until when that will do */
};

/* As the backend's calls, with errors that say which store, and STORE_ERROR_UNREACHABLE when it is
 * the store itself that is gone. */
gboolean store_put (Store *store, const char *name, GBytes *data, gboolean *existed,
                    GError **error);
GBytes *store_get (Store *store, const char *name, guint64 offset, gsize len, GError **error);
/* A whole text object; STORE_ERROR_DAMAGED, without reading it, if it is too large to be one. */
GBytes *store_get_text (Store *store, const char *name, GError **error);
gboolean store_list (Store *store, const char *prefix, BackendListFunc func, gpointer user_data,
                     GError **error);
gboolean store_remove (Store *store, const char *name, GError **error);
gboolean store_sync (Store *store, GError **error);

/**
 * store_text_pad:
 * @bytes: a text object; (transfer full)
 * @key: as for text_object_write()
 *
 * What is to be put: padded in an encrypted store, where its size must say nothing. All text
 * objects go through here before they are named.
 */
GBytes *store_text_pad (Store *store, GBytes *bytes, const HashKey *key);

/* All names under @prefix. (transfer full) (element-type char*) */
GPtrArray *store_list_names (Store *store, const char *prefix, GError **error);

/* FALSE with STORE_ERROR_UNREACHABLE if the format object is not there any more. */
gboolean store_check_reachable (Store *store, GError **error);

/* FALSE with STORE_ERROR_DAMAGED if the format object is not what it was when the store was opened.
 */
gboolean store_format_unchanged (Store *store, GError **error);

/**
 * store_chunk_locate:
 *
 * Finds a chunk, reloading the index and then looking into packs before it gives up.
 *
 * Returns: FALSE with STORE_ERROR_DAMAGED: no object holds it.
 */
gboolean store_chunk_locate (Store *store, const ChunkName *name, ChunkLocation *location,
                             GError **error);

/**
 * store_frame_read:
 * @cached: look into, and put into, the cache of frames
 *
 * Returns: (transfer full): the decompressed frame; what it holds is not verified yet. For a frame
 * of deltas what delta_frame_get() takes.
 */
GBytes *store_frame_read (Store *store, const ChunkLocation *location, gboolean cached,
                          GError **error);

/* Takes a chunk that is stored in full out of its frame and verifies it. Borrowed from @frame. */
const guint8 *store_chunk_in_frame (Store *store, const ChunkName *name,
                                    const ChunkLocation *location, GBytes *frame, GError **error);

/**
 * store_chunk_from_frame:
 * @frame: as store_frame_read() yields it
 *
 * Takes any chunk out of its frame and verifies it; the base of a delta is read for that.
 *
 * Returns: (transfer full): NULL with @error: STORE_ERROR_DAMAGED names the pack that is to blame.
 */
GBytes *store_chunk_from_frame (Store *store, const ChunkName *name, const ChunkLocation *location,
                                GBytes *frame, GError **error);

/* The delta at @location, of a frame that store_frame_read() yielded. */
gboolean store_delta_in_frame (const ChunkLocation *location, GBytes *frame, Delta *delta,
                               GError **error);

/**
 * store_delta_load:
 * @delta: (out): all but its lines
 *
 * Reads the delta at @location: what it is a change to.
 */
gboolean store_delta_load (Store *store, const ChunkLocation *location, Delta *delta,
                           GError **error);

/* Applies @delta to @page, which holds the base, and verifies the chunk @name that comes out. */
gboolean store_delta_apply (Store *store, const ChunkName *name, const ChunkLocation *location,
                            const Delta *delta, guint8 *page, GError **error);

/* Reads one chunk, verified. */
GBytes *store_chunk_read (Store *store, const ChunkName *name, GError **error);

/* The same, from a copy that is stored in full: only that can be the base of a delta. */
GBytes *store_chunk_read_full (Store *store, const ChunkName *name, GError **error);
