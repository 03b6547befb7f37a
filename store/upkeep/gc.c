/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The order of gc, which docs/store-format.md, "Deleting", explains:
 *
 *   announce gc → read condemned lists → list writers → list packs → walk all checkpoints
 *   → empty packs that are mostly unused → condemn what nothing needs → list writers
 *   → none: look for new checkpoints, delete; some: note for whom it waits, leave it to the next gc
 */
#include "announce.h"
#include "gc-private.h"
#include "hint-private.h"
#include "pack-list.h"
#include "tag.h"

#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>

#include <string.h>

/* How often gc looks anew because the index changed under it. */
#define MARKS_MAX 10

typedef struct {
  Store *store;
  const Progress *progress;
  GCancellable *cancellable;
  char *announcement;
  GPtrArray *condemned;  /* of Condemned: lists of earlier gcs */
  GPtrArray *done_lists; /* of char*: condemned objects that this gc makes superfluous */
  GHashTable *listed;    /* packs on the medium → size */
  GHashTable *all_condemned, *waiting, *ripe, *fresh, *needed; /* sets of packs */
  GHashTable *worthless; /* set of ripe packs that hold nothing of what is needed of them */
  Mark *mark;
  StoreGcReport *report;
} Gc;

static void
gc_clear (Gc *gc)
{
  announcement_take_back (gc->store, gc->announcement);
  g_clear_pointer (&gc->condemned, g_ptr_array_unref);
  g_clear_pointer (&gc->done_lists, g_ptr_array_unref);
  g_clear_pointer (&gc->listed, g_hash_table_unref);
  g_clear_pointer (&gc->all_condemned, g_hash_table_unref);
  g_clear_pointer (&gc->waiting, g_hash_table_unref);
  g_clear_pointer (&gc->ripe, g_hash_table_unref);
  g_clear_pointer (&gc->fresh, g_hash_table_unref);
  g_clear_pointer (&gc->needed, g_hash_table_unref);
  g_clear_pointer (&gc->worthless, g_hash_table_unref);
  g_clear_pointer (&gc->mark, mark_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Gc, gc_clear)

/* Announces this gc, unless another one is at work. Both may see each other and both give way. */
static gboolean
announce (Gc *gc, GError **error)
{
  guint other_gc;

  gc->announcement = announcement_put (gc->store, ANNOUNCE_GC, error);
  if (gc->announcement == NULL)
    return FALSE;
  g_autoptr (GHashTable) writers = gc_live_writers (gc->store, gc->announcement, &other_gc, error);
  if (writers == NULL)
    return FALSE;
  if (other_gc == 0)
    return TRUE;
  g_set_error_literal (error, STORE_ERROR, STORE_ERROR_IN_USE,
                       "another gc is at work on this store; try again when it is done");
  return FALSE;
}

static gboolean
intersect (GHashTable *a, GHashTable *b)
{
  GHashTableIter iter;
  gpointer key;

  g_hash_table_iter_init (&iter, a);
  while (g_hash_table_iter_next (&iter, &key, NULL))
    if (g_hash_table_contains (b, key))
      return TRUE;
  return FALSE;
}

static GPtrArray *
set_to_array (GHashTable *set)
{
  GPtrArray *array = g_ptr_array_new();
  GHashTableIter iter;
  gpointer key;

  g_hash_table_iter_init (&iter, set);
  while (g_hash_table_iter_next (&iter, &key, NULL))
    g_ptr_array_add (array, key);
  return array;
}

/* Puts @packs as condemned, in several objects if there are many; their names go to @objects. */
static gboolean
condemn (Gc *gc, GHashTable *packs, GPtrArray *objects, GError **error)
{
  g_autoptr (GPtrArray) all = set_to_array (packs);

  for (guint at = 0; at < all->len; at += CONDEMNED_PACKS_MAX) {
    g_autoptr (GPtrArray) some = g_ptr_array_new();
    for (guint i = at; i < MIN (all->len, at + CONDEMNED_PACKS_MAX); i++)
      g_ptr_array_add (some, all->pdata[i]);
    char *object = condemned_put (gc->store, some, error);
    if (object == NULL)
      return FALSE;
    g_ptr_array_add (objects, object);
  }
  return TRUE;
}

/* Takes one list of an earlier gc: it is ripe if the writers that it waits for are all gone. */
static gboolean
take_condemned (Gc *gc, const Condemned *list, GHashTable *live, gboolean dry_run, GError **error)
{
  gboolean waits =
      list->knows_writers ? intersect (list->waits_for, live) : g_hash_table_size (live) > 0;

  pack_set_add_all (gc->all_condemned, list->packs);
  pack_set_add_all (waits ? gc->waiting : gc->ripe, list->packs);
  if (!waits)
    g_ptr_array_add (gc->done_lists, g_strdup (list->object));
  /* From now on it waits only for the writers that are there now. */
  return !waits || list->knows_writers || dry_run ||
         condemned_put_waits (gc->store, list->object, live, error);
}

/* Sorts the lists of earlier gcs. */
static gboolean
sort_condemned (Gc *gc, gboolean dry_run, GError **error)
{
  g_autoptr (GPtrArray) damaged = NULL;
  guint other_gc;

  gc->condemned = condemned_list (gc->store, &damaged, error);
  if (gc->condemned == NULL)
    return FALSE;
  g_autoptr (GHashTable) live = gc_live_writers (gc->store, gc->announcement, &other_gc, error);
  if (live == NULL)
    return FALSE;
  for (guint i = 0; i < damaged->len; i++)
    g_ptr_array_add (gc->done_lists, g_strdup (damaged->pdata[i]));
  for (guint i = 0; i < gc->condemned->len; i++)
    if (!take_condemned (gc, gc->condemned->pdata[i], live, dry_run, error))
      return FALSE;
  return TRUE;
}

/* Walks all checkpoints and settles who keeps what; anew if index tables were replaced meanwhile,
 * by a writer that had not seen our announcement yet. */
static Mark *
mark_steadily (Gc *gc, GHashTable *late, GHashTable **uses, GError **error)
{
  for (int attempt = 1;; attempt++) {
    Mark *mark = mark_new (gc->store, gc->all_condemned);
    g_autoptr (GError) cause = NULL;
    *uses = NULL;
    if (mark_all (mark, gc->progress, gc->cancellable, &cause))
      *uses = pack_use_settle (mark, late, gc->all_condemned, &cause);
    if (*uses != NULL)
      return mark;
    gboolean again = !mark_check (mark, NULL) && attempt < MARKS_MAX;
    mark_free (mark);
    if (again)
      continue;
    g_propagate_error (error, g_steal_pointer (&cause));
    return NULL;
  }
}

/* Sorts the packs by their use: nothing needed → @dead, little → @victims. */
static void
judge_packs (Gc *gc, GHashTable *uses, GHashTable *dead, GHashTable *victims, guint64 *unused)
{
  GHashTableIter iter;
  gpointer pack, size;

  g_hash_table_iter_init (&iter, gc->listed);
  while (g_hash_table_iter_next (&iter, &pack, &size)) {
    const PackUse *use = g_hash_table_lookup (uses, pack);
    guint64 bytes = *(guint64 *)size;
    if (use == NULL || use->needed == 0) {
      pack_set_add (dead, pack);
      *unused += bytes;
      continue;
    }
    pack_set_add (gc->needed, pack);
    double share = (double)use->needed_bytes / MAX (use->chunk_bytes, 1);
    if (share < GC_REPACK_SHARE && !g_hash_table_contains (gc->all_condemned, pack)) {
      pack_set_add (victims, pack);
      *unused += bytes * (1 - share);
    }
  }
}

/* Empties the @victims, which are then as dead as the others. Damaged ones are left alone: what is
 * wrong with them is for check to say. */
static gboolean
repack (Gc *gc, GHashTable *victims, GHashTable *dead, guint64 *written, GError **error)
{
  g_autoptr (GError) cause = NULL;

  if (g_hash_table_size (victims) == 0)
    return TRUE;
  if (gc_repack (gc->store, gc->mark, victims, dead, &gc->report->rewritten_chunks, written,
                 gc->cancellable, &cause)) {
    pack_set_move (dead, victims, NULL);
    return TRUE;
  }
  if (g_error_matches (cause, STORE_ERROR, STORE_ERROR_DAMAGED) ||
      g_error_matches (cause, G_IO_ERROR, G_IO_ERROR_NO_SPACE))
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&cause));
  return FALSE;
}

/* Reads the chunks that ripe packs keep, until one of a pack can be read. */
typedef struct {
  Store *store;
  GHashTable *good; /* set of packs */
} Trial;

static void
try_kept (const ChunkName *name, const ChunkLocation *location, gpointer user_data)
{
  Trial *trial = user_data;
  g_autoptr (GError) error = NULL;

  if (g_hash_table_contains (trial->good, &location->pack))
    return;
  g_autoptr (GBytes) frame = store_frame_read (trial->store, location, FALSE, &error);
  g_autoptr (GBytes) chunk G_GNUC_UNUSED =
      frame != NULL ? store_chunk_from_frame (trial->store, name, location, frame, &error) : NULL;
  if (!g_error_matches (error, STORE_ERROR, STORE_ERROR_DAMAGED))
    pack_set_add (trial->good, &location->pack);
}

/* A ripe pack stays if it is needed; but not if nothing of what is needed of it can be read: repair
 * has condemned it and stored all else that it held again. */
static void
find_worthless (Gc *gc, GHashTable *dead, guint64 *unused)
{
  g_autoptr (GHashTable) wanted = pack_set_new();
  g_autoptr (GHashTable) good = pack_set_new();
  Trial trial = { gc->store, good };
  GHashTableIter iter;
  gpointer pack;

  g_hash_table_iter_init (&iter, gc->ripe);
  while (g_hash_table_iter_next (&iter, &pack, NULL))
    if (g_hash_table_contains (gc->needed, pack))
      pack_set_add (wanted, pack);
  if (g_hash_table_size (wanted) == 0)
    return;
  pack_use_foreach_kept (gc->mark, wanted, try_kept, &trial);
  if (!mark_check (gc->mark, NULL))
    return; /* what was not seen is not worthless */
  g_hash_table_iter_init (&iter, wanted);
  while (g_hash_table_iter_next (&iter, &pack, NULL)) {
    if (g_hash_table_contains (good, pack))
      continue;
    *unused += *(guint64 *)g_hash_table_lookup (gc->listed, pack);
    g_hash_table_remove (gc->needed, pack);
    pack_set_add (gc->worthless, pack);
    pack_set_add (dead, pack);
  }
}

/* Removes from @packs those that are needed, but for those in @worthless. */
static void
take_off_needed (GHashTable *packs, GHashTable *uses, GHashTable *worthless)
{
  GHashTableIter iter;
  gpointer pack;

  g_hash_table_iter_init (&iter, packs);
  while (g_hash_table_iter_next (&iter, &pack, NULL)) {
    const PackUse *use = g_hash_table_lookup (uses, pack);
    if (use != NULL && use->needed > 0 && !g_hash_table_contains (worthless, pack))
      g_hash_table_iter_remove (&iter);
  }
}

/* Takes off gc->fresh what checkpoints need that came since the walk. Their writers may have relied
 * on packs that are only condemned now, though another copy was in a pack that was condemned when
 * they began; so of the two the former keeps the chunk. */
static gboolean
spare_needed (Gc *gc, GError **error)
{
  g_autoptr (GPtrArray) names = store_list_names (gc->store, "manifests/", error);
  GHashTable *known = mark_checkpoints (gc->mark);
  gboolean changed = FALSE;

  if (names == NULL)
    return FALSE;
  for (guint i = 0; i < names->len; i++)
    changed = changed || !g_hash_table_contains (known, strrchr (names->pdata[i], '/') + 1);
  if (!changed)
    return TRUE;
  g_autoptr (GHashTable) uses = NULL;
  g_autoptr (Mark) mark = mark_steadily (gc, gc->fresh, &uses, error);
  if (mark == NULL)
    return FALSE;
  take_off_needed (gc->fresh, uses, gc->worthless);
  take_off_needed (gc->ripe, uses, gc->worthless);
  return TRUE;
}

/* Condemns gc->fresh; afterwards it is ripe, or waits. */
static gboolean
condemn_fresh (Gc *gc, GError **error)
{
  g_autoptr (GPtrArray) objects = g_ptr_array_new_with_free_func (g_free);
  guint other_gc;

  if (g_hash_table_size (gc->fresh) == 0)
    return TRUE;
  if (!condemn (gc, gc->fresh, objects, error) || !fault_visit (FAULT_GC_CONDEMNED, error))
    return FALSE;
  g_autoptr (GHashTable) live = gc_live_writers (gc->store, gc->announcement, &other_gc, error);
  if (live == NULL)
    return FALSE;
  gboolean waits = g_hash_table_size (live) > 0;
  for (guint i = 0; i < objects->len; i++) {
    if (!waits)
      g_ptr_array_add (gc->done_lists, g_strdup (objects->pdata[i]));
    else if (!condemned_put_waits (gc->store, objects->pdata[i], live, error))
      return FALSE;
  }
  if (!waits && !spare_needed (gc, error))
    return FALSE;
  pack_set_move (waits ? gc->waiting : gc->ripe, gc->fresh, NULL);
  return TRUE;
}

/* Lists whose packs are dealt with. */
static gboolean
remove_done_lists (Gc *gc, GError **error)
{
  for (guint i = 0; i < gc->done_lists->len; i++)
    if (!condemned_remove (gc->store, gc->done_lists->pdata[i], error))
      return FALSE;
  return store_sync (gc->store, error);
}

/* Finds out what is dead; ripe and waiting are cut down to that, the rest of it becomes fresh. */
static gboolean
examine (Gc *gc, GHashTable *dead, GHashTable *victims, guint64 *unused, GError **error)
{
  g_autoptr (GHashTable) uses = NULL;

  gc->listed = pack_list_load (gc->store, error);
  gc->mark = gc->listed != NULL ? mark_steadily (gc, NULL, &uses, error) : NULL;
  if (gc->mark == NULL)
    return FALSE;
  judge_packs (gc, uses, dead, victims, unused);
  find_worthless (gc, dead, unused);
  return TRUE;
}

static void
sort_dead (Gc *gc, GHashTable *dead)
{
  g_autoptr (GHashTable) ripe = pack_set_new();
  g_autoptr (GHashTable) waiting = pack_set_new();

  pack_set_move (waiting, dead, gc->waiting);
  pack_set_move (ripe, dead, gc->ripe);
  pack_set_move (gc->fresh, dead, NULL);
  g_hash_table_remove_all (gc->waiting);
  g_hash_table_remove_all (gc->ripe);
  pack_set_move (gc->waiting, waiting, NULL);
  pack_set_move (gc->ripe, ripe, NULL);
}

static gboolean
run (Gc *gc, GError **error)
{
  g_autoptr (GHashTable) dead = pack_set_new();
  g_autoptr (GHashTable) victims = pack_set_new();
  guint64 unused = 0, written = 0;
  gboolean walkers;

  if (!announce (gc, error) || !gc_clean (gc->store, gc->announcement, error) ||
      !sort_condemned (gc, FALSE, error) || !examine (gc, dead, victims, &unused, error) ||
      !repack (gc, victims, dead, &written, error))
    return FALSE;
  sort_dead (gc, dead);
  if (!condemn_fresh (gc, error) || g_cancellable_set_error_if_cancelled (gc->cancellable, error))
    return FALSE;
  /* Whoever walks the index now needs its tables: the packs wait for the next gc. */
  if (!announcements_any_walker (gc->store, gc->announcement, &walkers, error))
    return FALSE;
  if (walkers) {
    gc->report->waiting_packs = g_hash_table_size (gc->waiting) + g_hash_table_size (gc->ripe);
    return tags_remove_stray (gc->store, error) && hints_remove_stray (gc->store, error);
  }
  gc->report->waiting_packs = g_hash_table_size (gc->waiting);
  /* What is lost must not be taken for there by the next writer. Of a pack that was cut, or has
   * grown, much may still be read: that is left to repair. */
  pack_set_add_all (gc->ripe, mark_gone_packs (gc->mark));
  if (!gc_delete (gc->store, gc->ripe, gc->needed, gc->listed, gc->report, error) ||
      !remove_done_lists (gc, error) || !tags_remove_stray (gc->store, error) ||
      !hints_remove_stray (gc->store, error))
    return FALSE;
  gc->report->freed_bytes -= MIN (written, gc->report->freed_bytes);
  return TRUE;
}

static gboolean
run_dry (Gc *gc, GError **error)
{
  g_autoptr (GHashTable) dead = pack_set_new();
  g_autoptr (GHashTable) victims = pack_set_new();

  /* Announced like a writer, so that nothing goes while this looks; a read-only store has to do
   * without. */
  gc->announcement = announcement_put (gc->store, ANNOUNCE_WALKER, NULL);
  if (!sort_condemned (gc, TRUE, error) ||
      !examine (gc, dead, victims, &gc->report->freed_bytes, error))
    return FALSE;
  sort_dead (gc, dead);
  gc->report->waiting_packs = g_hash_table_size (gc->waiting);
  gc->report->deleted_packs =
      g_hash_table_size (gc->ripe) + g_hash_table_size (gc->fresh) + g_hash_table_size (victims);
  return TRUE;
}

gboolean
store_gc (Store *store, gboolean dry_run, StoreGcReport *report, const Progress *progress,
          GCancellable *cancellable, GError **error)
{
  ERROR_PREFIX (error, "gc of the store %s", store_location (store));
  StoreGcReport ignored;
  g_auto (Gc) gc = { .store = store,
                     .progress = progress,
                     .cancellable = cancellable,
                     .done_lists = g_ptr_array_new_with_free_func (g_free),
                     .all_condemned = pack_set_new(),
                     .waiting = pack_set_new(),
                     .ripe = pack_set_new(),
                     .fresh = pack_set_new(),
                     .needed = pack_set_new(),
                     .worthless = pack_set_new(),
                     .report = report != NULL ? report : &ignored };

  memset (gc.report, 0, sizeof *gc.report);
  return dry_run ? run_dry (&gc, error) : run (&gc, error);
}
