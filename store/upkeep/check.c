/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Examining a store, from the bottom up: packs and their footers, the index against the footers,
 * (with read_data) every chunk, then every checkpoint from its manifest down, which meets what was
 * found wrong below it. Nodes of page maps are read and verified in any case.
 *
 * A check is announced like a writer, so that no pack goes while it looks, but those that were
 * condemned before.
 */
#include "announce.h"
#include "check-private.h"
#include "claim-check.h"
#include "gc-private.h"
#include "hint-private.h"
#include "key-private.h"
#include "quota-private.h"
#include "tag.h"

#include <vmckpt/util/error.h>

#include <string.h>

/* How often a check begins anew because the index changed under it. */
#define RUNS_MAX 10

/* Tags, hints, announcements, claims and limits. */
static gboolean
check_small_objects (Check *check, GError **error)
{
  g_autoptr (GPtrArray) damaged = g_ptr_array_new_with_free_func (g_free);

  if (!tags_check (check->store, damaged, error) || !hints_check (check->store, damaged, error) ||
      !announcements_check (check->store, damaged, error) ||
      !claims_check (check->store, damaged, error) || !keys_check (check->store, damaged, error) ||
      !quota_check (check->store, damaged, error))
    return FALSE;
  for (guint i = 0; i < damaged->len; i++)
    check_note (check, damaged->pdata[i], "does not hold what it should");
  return TRUE;
}

void
check_clear (Check *check)
{
  announcement_take_back (check->store, check->announcement);
  store_unref (check->store);
  g_mutex_clear (&check->lock);
  g_clear_pointer (&check->condemned, g_hash_table_unref);
  g_clear_pointer (&check->manifests, g_ptr_array_unref);
  g_clear_pointer (&check->damaged, g_ptr_array_unref);
  g_clear_pointer (&check->problems, g_hash_table_unref);
  g_clear_pointer (&check->listed, g_hash_table_unref);
  g_clear_pointer (&check->indexed, g_hash_table_unref);
  g_clear_pointer (&check->bad_packs, g_hash_table_unref);
  g_clear_pointer (&check->hurt_packs, g_hash_table_unref);
  g_clear_pointer (&check->unindexed, g_hash_table_unref);
  g_clear_pointer (&check->bad_reads, g_array_unref);
  g_clear_pointer (&check->bad_chunks, name_set_free);
  g_clear_pointer (&check->bad_bases, name_set_free);
  index_view_unref (check->view);
}

/* The format object was read when the store was opened; it may have changed since. */
static gboolean
check_format (Check *check, GError **error)
{
  g_autoptr (GError) cause = NULL;

  if (!store_check_reachable (check->store, error))
    return FALSE;
  if (!store_format_unchanged (check->store, &cause))
    check_note (check, "format", cause->message);
  return TRUE;
}

/* As a writer begins: announce, read what is condemned; the index comes later. */
static gboolean
announce (Check *check, GError **error)
{
  g_autoptr (GPtrArray) damaged = NULL;

  if (check->announcement == NULL)
    check->announcement = announcement_put (check->store, ANNOUNCE_WALKER, NULL);
  g_autoptr (GPtrArray) lists = condemned_list (check->store, &damaged, error);
  if (lists == NULL)
    return FALSE;
  for (guint i = 0; i < lists->len; i++)
    pack_set_add_all (check->condemned, ((Condemned *)lists->pdata[i])->packs);
  for (guint i = 0; i < damaged->len; i++)
    check_note (check, damaged->pdata[i], "does not hold what it should (gc repairs that)");
  return TRUE;
}

void
check_init (Check *check, Store *store, const Progress *progress, GCancellable *cancellable)
{
  *check = (Check){ .store = store_ref (store), .progress = progress, .cancellable = cancellable };
  g_mutex_init (&check->lock);
  check->problems = check_problems_new();
  check->indexed = pack_set_new();
  check->bad_packs = pack_set_new();
  check->hurt_packs = pack_set_new();
  check->unindexed = pack_set_new();
  check->bad_reads = g_array_new (FALSE, FALSE, sizeof (ChunkName));
  check->bad_chunks = name_set_new();
  check->bad_bases = name_set_new();
  check->condemned = pack_set_new();
}

/* Forgets what was found. */
static void
start_again (Check *check)
{
  g_hash_table_remove_all (check->problems);
  g_hash_table_remove_all (check->indexed);
  g_hash_table_remove_all (check->bad_packs);
  g_hash_table_remove_all (check->hurt_packs);
  g_hash_table_remove_all (check->unindexed);
  g_array_set_size (check->bad_reads, 0);
  name_set_clear (check->bad_chunks);
  g_clear_pointer (&check->manifests, g_ptr_array_unref);
  g_clear_pointer (&check->damaged, g_ptr_array_unref);
  g_clear_pointer (&check->listed, g_hash_table_unref);
  g_clear_pointer (&check->view, index_view_unref);
}

/* What was read before is no proof that it can still be read. */
static void
forget_read (Check *check)
{
  Backend *backend = check->store->backend;

  frame_cache_clear (check->store->frames);
  if (backend->ops->forget != NULL)
    backend->ops->forget (backend);
}

static gboolean
run_once (Check *check, GError **error)
{
  forget_read (check);
  if (!check_format (check, error) || !announce (check, error) ||
      !check_small_objects (check, error))
    return FALSE;
  check->manifests = store_manifest_list (check->store, NULL, &check->damaged, error);
  return check->manifests != NULL && check_packs (check, error) &&
         (!check->read_data || check_data (check, error)) && check_checkpoints (check, error) &&
         check_drop_passed (check, error);
}

gboolean
check_run (Check *check, GError **error)
{
  for (int attempt = 1;; attempt++) {
    g_autoptr (GError) cause = NULL;
    gboolean good = run_once (check, &cause);
    /* Somebody replaced index tables, not having seen the announcement yet: what was found means
     * nothing. That does not happen again and again, since nobody begins to. */
    gboolean again = check->view != NULL && index_view_failed (check->view);
    if (again && attempt < RUNS_MAX) {
      start_again (check);
      continue;
    }
    if (good && again)
      g_set_error_literal (&cause, STORE_ERROR, STORE_ERROR_IN_USE,
                           "the index keeps changing, or cannot be read; try again later");
    if (cause != NULL)
      g_propagate_error (error, g_steal_pointer (&cause));
    return good && !again;
  }
}

/* All of the checks that there are from outside. */
static gboolean
run (Store *store, gboolean read_data, const StoreSubset *subset, GPtrArray **findings,
     const Progress *progress, GCancellable *cancellable, GError **error)
{
  ERROR_PREFIX (error, "checking the store %s", store_location (store));
  g_auto (Check) check;

  check_init (&check, store, progress, cancellable);
  check.read_data = read_data;
  if (subset != NULL)
    check.subset = *subset;
  if (!check_run (&check, error))
    return FALSE;
  *findings = check_findings (&check);
  return TRUE;
}

gboolean
store_check (Store *store, gboolean read_data, GPtrArray **findings, const Progress *progress,
             GCancellable *cancellable, GError **error)
{
  return run (store, read_data, NULL, findings, progress, cancellable, error);
}

gboolean
store_check_subset (Store *store, const StoreSubset *subset, GPtrArray **findings,
                    const Progress *progress, GCancellable *cancellable, GError **error)
{
  return run (store, TRUE, subset, findings, progress, cancellable, error);
}
