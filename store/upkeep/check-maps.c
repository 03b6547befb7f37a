/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Walking all checkpoints. Subtrees that were found to be good are not walked again; those of a
 * checkpoint with a problem are, so that every checkpoint that shares the problem is named.
 */
#include "check-private.h"
#include "map-hurt.h"
#include "map-walk.h"
#include "pack-set.h"

#include <vmckpt/store/manifest.h>

typedef struct {
  Check *check;
  NameSet *good;  /* nodes that are right, and all below them */
  NameSet *seen;  /* nodes of this checkpoint */
  GArray *nodes;  /* of ChunkName: the same */
  const char *id; /* of this checkpoint */
  gboolean hurt;
  gboolean lost_pages; /* the map names pages that cannot be read, perhaps only in a former run */
} Walk;

static void
note_hurt (Walk *walk, const char *object)
{
  walk->hurt = TRUE;
  check_note_hurt (walk->check, object, walk->id);
}

/* Notes a problem and that it hurts this checkpoint. */
static void
note_problem (Walk *walk, const char *object, const char *problem)
{
  check_note (walk->check, object, problem);
  note_hurt (walk, object);
}

/* What is to blame for a chunk that cannot be read: the pack that has it (of those that are no
 * deltas, with @full), or that there is none. */
static char *
blame (const Check *check, const ChunkName *name, gboolean full)
{
  g_autofree char *hex = chunk_name_to_hex (name);
  ChunkLocation location;

  if (full ? index_view_find_full (check->view, name, NULL, TRUE, &location)
           : index_view_find (check->view, name, NULL, TRUE, &location))
    return object_name ("packs", &location.pack);
  return g_strconcat ("chunk ", hex, NULL);
}

/* TRUE if the delta at @location can be read: only with its base. */
static gboolean
delta_usable (const Check *check, const ChunkLocation *location, char **object)
{
  ChunkLocation base;
  Delta delta;

  if (!store_delta_load (check->store, location, &delta, NULL)) {
    *object = object_name ("packs", &location->pack);
    return FALSE;
  }
  if (index_view_find_full (check->view, &delta.base, check->bad_packs, TRUE, &base) &&
      !name_set_contains (check->bad_bases, &delta.base))
    return TRUE;
  *object = blame (check, &delta.base, TRUE);
  return FALSE;
}

gboolean
check_chunk_usable (const Check *check, const ChunkName *name, ChunkLocation *location,
                    char **object)
{
  ChunkLocation full;

  *object = NULL;
  /* Perhaps there is a pack, but a bad one: then that is what hurts. */
  if (!index_view_find (check->view, name, check->bad_packs, TRUE, location)) {
    *object = blame (check, name, FALSE);
    return FALSE;
  }
  if (name_set_contains (check->bad_chunks, name)) {
    *object = object_name ("packs", &location->pack);
    return FALSE;
  }
  return location->frame.codec != FRAME_DELTA ||
         index_view_find_full (check->view, name, check->bad_packs, TRUE, &full) ||
         delta_usable (check, location, object);
}

/* Notes what is to blame for a chunk that the checkpoint needs and that cannot be read. */
static void
note_unusable (Walk *walk, const char *culprit)
{
  if (g_str_has_prefix (culprit, "chunk "))
    check_note (walk->check, culprit, "is in no pack");
  note_hurt (walk, culprit);
}

/* The same, noting what is wrong. A node is needed by whoever reads the map, a page only if no
 * newer run has it: that is found out afterwards. */
static gboolean
chunk_usable (Walk *walk, const ChunkName *name, gboolean is_page, ChunkLocation *location)
{
  Check *check = walk->check;
  g_autofree char *culprit = NULL;
  ChunkLocation recovered;

  if (!check_chunk_usable (check, name, location, &culprit)) {
    if (is_page)
      walk->hurt = walk->lost_pages = TRUE;
    else
      note_unusable (walk, culprit);
    return FALSE;
  }
  if (index_view_find (check->view, name, check->bad_packs, FALSE, &recovered))
    return TRUE;
  g_autofree char *object = object_name ("packs", &location->pack);
  pack_set_add (check->unindexed, &location->pack);
  if (check->view->damaged->len == 0)
    note_problem (walk, object, "is in no index table (one is missing; gc makes a new one)");
  return TRUE;
}

static gboolean
visit_node (const ChunkName *name, gboolean *descend, gpointer user_data, GError **error)
{
  Walk *walk = user_data;
  ChunkLocation location;
  g_autoptr (GError) cause = NULL;

  *descend = FALSE;
  if (name_set_contains (walk->good, name) || !name_set_add (walk->seen, name) ||
      !chunk_usable (walk, name, FALSE, &location))
    return TRUE;
  g_autoptr (GBytes) bytes = store_chunk_read (walk->check->store, name, &cause);
  if (bytes == NULL) {
    g_autofree char *object = object_name ("packs", &location.pack);
    if (!g_error_matches (cause, STORE_ERROR, STORE_ERROR_DAMAGED)) {
      g_propagate_error (error, g_steal_pointer (&cause));
      return FALSE;
    }
    note_problem (walk, object, "holds data that is not what its footer says");
    return TRUE;
  }
  g_array_append_val (walk->nodes, *name);
  *descend = TRUE;
  return TRUE;
}

static gboolean
visit_page (guint64 page, const ChunkName *name, gpointer user_data, GError **error)
{
  ChunkLocation location;
  chunk_usable (user_data, name, TRUE, &location);
  return TRUE;
}

static gboolean
is_usable (const ChunkName *name, gboolean *usable, gpointer user_data, GError **error)
{
  const Walk *walk = user_data;
  g_autofree char *culprit = NULL;
  ChunkLocation location;

  *usable = check_chunk_usable (walk->check, name, &location, &culprit);
  return TRUE;
}

static gboolean
note_lost_page (guint64 page, const ChunkName *name, gpointer user_data, GError **error)
{
  Walk *walk = user_data;
  g_autofree char *culprit = NULL;
  ChunkLocation location;

  if (!check_chunk_usable (walk->check, name, &location, &culprit))
    note_unusable (walk, culprit);
  return TRUE;
}

/* What a lost node says of pages is noted with the node. */
static gboolean
pass_unknown (guint64 first, guint64 count, gpointer user_data, GError **error)
{
  return TRUE;
}

/* Notes the lost pages that a reader of the checkpoint would want. */
static gboolean
note_lost_pages (Walk *walk, const Manifest *manifest, GError **error)
{
  const MapHurtVisitor visitor = { is_usable, note_lost_page, pass_unknown, NULL, walk };

  for (guint i = 0; i < manifest->parts->len; i++) {
    const ManifestPart *part = manifest->parts->pdata[i];
    if (!map_hurt (walk->check->store, &part->map, &visitor, walk->check->cancellable, error))
      return FALSE;
  }
  return TRUE;
}

/* Walks one checkpoint; its nodes become good ones if nothing is wrong. */
static gboolean
walk_checkpoint (Walk *walk, const Manifest *manifest, GError **error)
{
  const MapVisitor visitor = { visit_node, visit_page, walk };
  g_autofree char *object = g_strconcat ("manifests/", manifest->id, NULL);

  walk->id = manifest->id;
  walk->hurt = walk->lost_pages = FALSE;
  name_set_clear (walk->seen);
  g_array_set_size (walk->nodes, 0);
  for (guint i = 0; i < manifest->parts->len; i++) {
    const ManifestPart *part = manifest->parts->pdata[i];
    g_autoptr (GError) cause = NULL;
    if (map_walk (walk->check->store, &part->map, &visitor, walk->check->cancellable, &cause))
      continue;
    if (!g_error_matches (cause, STORE_ERROR, STORE_ERROR_DAMAGED)) {
      g_propagate_error (error, g_steal_pointer (&cause));
      return FALSE;
    }
    note_problem (walk, object, cause->message);
  }
  if (walk->lost_pages && !note_lost_pages (walk, manifest, error))
    return FALSE;
  for (guint i = 0; i < walk->nodes->len && !walk->hurt; i++)
    name_set_add (walk->good, &g_array_index (walk->nodes, ChunkName, i));
  return TRUE;
}

guint64
check_described_bytes (const Check *check)
{
  guint64 total = 0;

  for (guint i = 0; i < check->manifests->len; i++)
    total += manifest_described_bytes (check->manifests->pdata[i]);
  return total;
}

gboolean
check_checkpoints (Check *check, GError **error)
{
  g_autoptr (NameSet) good = name_set_new();
  g_autoptr (NameSet) seen = name_set_new();
  g_autoptr (GArray) nodes = g_array_new (FALSE, FALSE, sizeof (ChunkName));
  Walk walk = { .check = check, .good = good, .seen = seen, .nodes = nodes };

  for (guint i = 0; i < check->damaged->len; i++) {
    const char *id = check->damaged->pdata[i];
    g_autofree char *object = g_strconcat ("manifests/", id, NULL);
    check_note (check, object, "does not hold what its name says, or cannot be understood");
    check_note_hurt (check, object, id);
  }
  guint64 done = 0, total = check_described_bytes (check);
  progress_report (check->progress, PHASE_READ, 0, total);
  for (guint i = 0; i < check->manifests->len; i++) {
    if (!walk_checkpoint (&walk, check->manifests->pdata[i], error))
      return FALSE;
    done += manifest_described_bytes (check->manifests->pdata[i]);
    progress_report (check->progress, PHASE_READ, done, total);
  }
  return TRUE;
}
