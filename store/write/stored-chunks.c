/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "stored-chunks.h"

#include "pack-set.h"

struct _StoredChunks {
  Store *store;
  GHashTable *skip; /* (lock) packs not to rely on */

  GMutex lock;
  IndexView *view;     /* (lock) */
  GHashTable *present; /* (lock) packs that were seen to be there */
};

StoredChunks *
stored_chunks_new (Store *store, IndexView *view, GHashTable *skip)
{
  StoredChunks *stored = g_new0 (StoredChunks, 1);

  stored->store = store_ref (store);
  stored->view = index_view_ref (view);
  stored->skip = pack_set_new();
  if (skip != NULL)
    pack_set_add_all (stored->skip, skip);
  stored->present = pack_set_new();
  g_mutex_init (&stored->lock);
  return stored;
}

void
stored_chunks_free (StoredChunks *stored)
{
  if (stored == NULL)
    return;
  index_view_unref (stored->view);
  g_hash_table_unref (stored->skip);
  g_hash_table_unref (stored->present);
  g_mutex_clear (&stored->lock);
  store_unref (stored->store);
  g_free (stored);
}

/* With the lock. */
static void
set_view (StoredChunks *stored, IndexView *view)
{
  index_view_unref (stored->view);
  stored->view = view;
}

void
stored_chunks_use_view (StoredChunks *stored, IndexView *view)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&stored->lock);

  set_view (stored, index_view_ref (view));
}

/* TRUE if the pack is there. With the lock. */
static gboolean
pack_is_present (StoredChunks *stored, const ChunkLocation *location)
{
  const BackendOps *ops = stored->store->backend->ops;
  guint64 size = 0;

  if (g_hash_table_contains (stored->present, &location->pack))
    return TRUE;
  g_autofree char *object = object_name ("packs", &location->pack);
  gboolean there =
      ops->stat (stored->store->backend, object, &size, NULL) && size == location->pack_size;
  pack_set_add (there ? stored->present : stored->skip, &location->pack);
  return there;
}

/* With the lock. */
static gboolean
find_in_full (StoredChunks *stored, const ChunkName *name, ChunkLocation *location)
{
  while (index_view_find_full (stored->view, name, stored->skip, FALSE, location))
    if (pack_is_present (stored, location))
      return TRUE;
  return FALSE;
}

/* TRUE if the base of a delta is there: gc keeps bases for the deltas that checkpoints need, so a
 * delta that none needs may have lost it. With the lock. */
static gboolean
base_is_stored (StoredChunks *stored, const ChunkLocation *location)
{
  ChunkLocation base;
  Delta delta;

  return store_delta_load (stored->store, location, &delta, NULL) &&
         find_in_full (stored, &delta.base, &base);
}

/* With the lock. */
static gboolean
find_in_view (StoredChunks *stored, const ChunkName *name, gboolean full, ChunkLocation *location)
{
  while (!full && index_view_find (stored->view, name, stored->skip, FALSE, location)) {
    if (!pack_is_present (stored, location))
      continue;
    if (location->frame.codec != FRAME_DELTA || base_is_stored (stored, location))
      return TRUE;
    full = TRUE;
  }
  return full && find_in_full (stored, name, location);
}

gboolean
stored_chunks_find (StoredChunks *stored, const ChunkName *name, gboolean full,
                    ChunkLocation *location)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&stored->lock);

  if (find_in_view (stored, name, full, location))
    return TRUE;
  if (!index_view_failed (stored->view))
    return FALSE;
  /* A table has been replaced meanwhile: what there is now knows of all that the view knew of. */
  IndexView *now = index_reload (stored->store->index, NULL);
  if (now == NULL)
    return FALSE;
  set_view (stored, now);
  return find_in_view (stored, name, full, location);
}
