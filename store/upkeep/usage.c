/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Each index entry gets an owner: nobody, one checkpoint, several of one guest, or several guests.
 *
 *   nobody ─▶ checkpoint ─▶ guest ─▶ many
 *
 * What is below a node has at least the node's owners. So a node whose owner does not change need
 * not be walked again, and none is walked more than three times, however many share it.
 */
#include <vmckpt/store/usage.h>

#include "announce.h"
#include "map-walk.h"
#include "store-private.h"

#include <vmckpt/util/error.h>

#include <string.h>

#define OWNER_NOBODY 0u
#define OWNER_GUEST 0x80000000u /* with the guest's number; below: a checkpoint's, from 1 */
#define OWNER_MANY G_MAXUINT32

typedef struct {
  IndexTable *table; /* borrowed from the view */
  guint32 *owners;   /* one for each entry */
} OwnedTable;

typedef struct {
  Store *store;
  IndexView *view;
  GArray *tables;     /* of OwnedTable */
  guint32 *guest_of;  /* number of the guest of each checkpoint */
  guint32 checkpoint; /* being walked, from 1 */
  char *announcement; /* (nullable) */
} Usage;

static void
clear_table (gpointer data)
{
  g_free (((OwnedTable *)data)->owners);
}

static void
usage_clear (Usage *usage)
{
  announcement_take_back (usage->store, usage->announcement);
  g_clear_pointer (&usage->tables, g_array_unref);
  g_free (usage->guest_of);
  index_view_unref (usage->view);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Usage, usage_clear)

static void
checkpoint_use_free (gpointer data)
{
  StoreCheckpointUse *use = data;
  g_free (use->id);
  g_free (use->guest);
  g_free (use->guest_uuid);
  g_free (use);
}

static void
guest_use_free (gpointer data)
{
  StoreGuestUse *use = data;
  g_free (use->guest);
  g_free (use->guest_uuid);
  g_free (use);
}

void
store_usage_free (StoreUsage *usage)
{
  if (usage == NULL)
    return;
  g_clear_pointer (&usage->checkpoints, g_ptr_array_unref);
  g_clear_pointer (&usage->guests, g_ptr_array_unref);
  g_free (usage);
}

static void
add_table (Usage *usage, IndexTable *table)
{
  OwnedTable owned = { table, g_new0 (guint32, index_table_entries (table) + 1) };
  g_array_append_val (usage->tables, owned);
}

/* Whose it is when the checkpoint being walked needs it too. */
static guint32
join_owner (const Usage *usage, guint32 owner)
{
  guint32 mine = usage->checkpoint, guest = usage->guest_of[mine];

  if (owner == OWNER_NOBODY || owner == mine)
    return mine;
  if (owner == OWNER_MANY)
    return OWNER_MANY;
  guint32 other = owner >= OWNER_GUEST ? owner - OWNER_GUEST : usage->guest_of[owner];
  return other == guest ? OWNER_GUEST + guest : OWNER_MANY;
}

static gboolean own_chunk (Usage *usage, const ChunkName *name, gboolean full, gboolean *changed,
                           GError **error);

/* A delta needs its base as well. */
static gboolean
own_base (Usage *usage, const ChunkLocation *location, GError **error)
{
  gboolean changed;
  Delta delta;

  if (location->frame.codec != FRAME_DELTA)
    return TRUE;
  return store_delta_load (usage->store, location, &delta, error) &&
         own_chunk (usage, &delta.base, TRUE, &changed, error);
}

/* The place of a copy of the chunk in @table, or -1; with @full, of one that is no delta. */
static gint64
find_copy (const IndexTable *table, const ChunkName *name, gboolean full, ChunkLocation *location)
{
  gint64 at = index_table_find (table, name);

  for (; at >= 0 && at < index_table_entries (table); at++) {
    ChunkName found;
    gboolean sane = index_table_entry (table, at, &found, location, NULL);
    if (!chunk_name_equal (&found, name))
      return -1;
    if (sane && !(full && location->frame.codec == FRAME_DELTA))
      return at;
  }
  return -1;
}

/* Makes the chunk the checkpoint's too, with @full a copy that is no delta; further copies of it
 * belong to nobody. */
static gboolean
own_chunk (Usage *usage, const ChunkName *name, gboolean full, gboolean *changed, GError **error)
{
  *changed = FALSE;
  for (guint i = 0; i < usage->tables->len; i++) {
    OwnedTable *owned = &g_array_index (usage->tables, OwnedTable, i);
    ChunkLocation location;
    gint64 at = find_copy (owned->table, name, full, &location);
    if (at < 0)
      continue;
    guint32 owner = join_owner (usage, owned->owners[at]);
    *changed = owner != owned->owners[at];
    owned->owners[at] = owner;
    return !*changed || own_base (usage, &location, error);
  }
  g_set_error_literal (error, STORE_ERROR, STORE_ERROR_DAMAGED, "a chunk is in no pack");
  return FALSE;
}

static gboolean
visit_node (const ChunkName *name, gboolean *descend, gpointer user_data, GError **error)
{
  return own_chunk (user_data, name, FALSE, descend, error);
}

/* A page that is lost takes no room. */
static gboolean
visit_page (guint64 page, const ChunkName *name, gpointer user_data, GError **error)
{
  g_autoptr (GError) cause = NULL;
  gboolean changed;

  if (own_chunk (user_data, name, FALSE, &changed, &cause) ||
      g_error_matches (cause, STORE_ERROR, STORE_ERROR_DAMAGED))
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&cause));
  return FALSE;
}

static gboolean
walk_checkpoint (Usage *usage, const Manifest *manifest, StoreCheckpointUse *use,
                 GCancellable *cancellable, GError **error)
{
  const MapVisitor visitor = { visit_node, visit_page, usage };

  for (guint i = 0; i < manifest->parts->len; i++) {
    const ManifestPart *part = manifest->parts->pdata[i];
    g_autoptr (GError) cause = NULL;
    use->use.logical_bytes += part->map.length;
    if (map_walk (usage->store, &part->map, &visitor, cancellable, &cause))
      continue;
    if (!g_error_matches (cause, STORE_ERROR, STORE_ERROR_DAMAGED)) {
      g_propagate_error (error, g_steal_pointer (&cause));
      return FALSE;
    }
    use->damaged = TRUE;
  }
  return TRUE;
}

/* The number of the manifest's guest, which is added if it is new. */
static guint32
guest_number (StoreUsage *result, GHashTable *numbers, const Manifest *manifest)
{
  guint32 number = GPOINTER_TO_UINT (g_hash_table_lookup (numbers, manifest->guest_uuid));

  if (number == 0) {
    StoreGuestUse *guest = g_new0 (StoreGuestUse, 1);
    guest->guest_uuid = g_strdup (manifest->guest_uuid);
    g_ptr_array_add (result->guests, guest);
    number = result->guests->len;
    g_hash_table_insert (numbers, guest->guest_uuid, GUINT_TO_POINTER (number));
  }
  StoreGuestUse *guest = result->guests->pdata[number - 1];
  g_free (guest->guest);
  guest->guest = g_strdup (manifest->guest);
  guest->checkpoints++;
  return number - 1;
}

/* Counts what is a checkpoint's alone, and a guest's. */
static void
count_entry (const Usage *usage, StoreUsage *result, guint32 owner, const ChunkLocation *location)
{
  guint64 stored =
      (guint64)location->frame.stored_len * location->len / MAX (location->frame.raw_len, 1);

  if (owner == OWNER_NOBODY)
    return;
  result->all.unique_bytes += location->len;
  result->all.freed_bytes += stored;
  if (owner == OWNER_MANY)
    return;
  guint32 guest = owner >= OWNER_GUEST ? owner - OWNER_GUEST : usage->guest_of[owner];
  StoreUse *uses[] = { &((StoreGuestUse *)result->guests->pdata[guest])->use, NULL };
  if (owner < OWNER_GUEST)
    uses[1] = &((StoreCheckpointUse *)result->checkpoints->pdata[owner - 1])->use;
  for (guint i = 0; i < G_N_ELEMENTS (uses) && uses[i] != NULL; i++) {
    uses[i]->unique_bytes += location->len;
    uses[i]->freed_bytes += stored;
  }
}

static gboolean
add_size (const char *name, guint64 size, gint64 mtime_us, gpointer user_data)
{
  *(guint64 *)user_data += size;
  return TRUE;
}

static int
compare_guests (gconstpointer a, gconstpointer b)
{
  const StoreGuestUse *one = *(StoreGuestUse **)a, *other = *(StoreGuestUse **)b;
  int order = g_strcmp0 (one->guest, other->guest);
  return order != 0 ? order : strcmp (one->guest_uuid, other->guest_uuid);
}

static gboolean
sum_up (Usage *usage, StoreUsage *result, GError **error)
{
  guint64 packs = 0;

  for (guint i = 0; i < usage->tables->len; i++) {
    const OwnedTable *owned = &g_array_index (usage->tables, OwnedTable, i);
    for (guint j = 0; j < index_table_entries (owned->table); j++) {
      ChunkLocation location;
      ChunkName name;
      if (index_table_entry (owned->table, j, &name, &location, NULL))
        count_entry (usage, result, owned->owners[j], &location);
    }
  }
  for (guint i = 0; i < result->checkpoints->len; i++) {
    const StoreCheckpointUse *checkpoint = result->checkpoints->pdata[i];
    StoreGuestUse *guest = result->guests->pdata[usage->guest_of[i + 1]];
    guest->use.logical_bytes += checkpoint->use.logical_bytes;
    result->all.logical_bytes += checkpoint->use.logical_bytes;
  }
  if (!store_list (usage->store, "packs/", add_size, &packs, error))
    return FALSE;
  result->unneeded_bytes = packs - MIN (packs, result->all.freed_bytes);
  g_ptr_array_sort (result->guests, compare_guests);
  return TRUE;
}

static gboolean
walk_all (Usage *usage, StoreUsage *result, GPtrArray *manifests, const Progress *progress,
          GCancellable *cancellable, GError **error)
{
  g_autoptr (GHashTable) numbers = g_hash_table_new (g_str_hash, g_str_equal);

  guint64 done = 0, total = 0;

  for (guint i = 0; i < manifests->len; i++)
    total += manifest_described_bytes (manifests->pdata[i]);
  usage->guest_of = g_new0 (guint32, manifests->len + 1);
  for (guint i = 0; i < manifests->len; i++) {
    const Manifest *manifest = manifests->pdata[i];
    StoreCheckpointUse *use = g_new0 (StoreCheckpointUse, 1);
    use->id = g_strdup (manifest->id);
    use->guest = g_strdup (manifest->guest);
    use->guest_uuid = g_strdup (manifest->guest_uuid);
    use->created_us = manifest->created_us;
    g_ptr_array_add (result->checkpoints, use);
    usage->checkpoint = i + 1;
    usage->guest_of[i + 1] = guest_number (result, numbers, manifest);
    if (!walk_checkpoint (usage, manifest, use, cancellable, error))
      return FALSE;
    done += use->use.logical_bytes;
    progress_report (progress, PHASE_READ, done, total);
  }
  return TRUE;
}

StoreUsage *
store_usage (Store *store, const Progress *progress, GCancellable *cancellable, GError **error)
{
  ERROR_PREFIX (error, "finding out what the checkpoints of the store %s need",
                store_location (store));
  g_autoptr (StoreUsage) result = g_new0 (StoreUsage, 1);
  g_auto (Usage)
      usage = { .store = store, .announcement = announcement_put (store, ANNOUNCE_WALKER, NULL) };

  result->checkpoints = g_ptr_array_new_with_free_func (checkpoint_use_free);
  result->guests = g_ptr_array_new_with_free_func (guest_use_free);
  usage.tables = g_array_new (FALSE, FALSE, sizeof (OwnedTable));
  g_array_set_clear_func (usage.tables, clear_table);
  g_autoptr (GPtrArray) manifests = store_manifest_list (store, NULL, NULL, error);
  /* Not before: what a manifest names was in the index before the manifest was put. */
  usage.view = manifests != NULL ? index_recover (store->index, error) : NULL;
  if (usage.view == NULL)
    return NULL;
  for (guint i = 0; i < usage.view->tables->len; i++)
    add_table (&usage, usage.view->tables->pdata[i]);
  if (usage.view->recovered != NULL)
    add_table (&usage, usage.view->recovered);
  if (!walk_all (&usage, result, manifests, progress, cancellable, error) ||
      !sum_up (&usage, result, error))
    return NULL;
  return g_steal_pointer (&result);
}
