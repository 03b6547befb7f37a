/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "same-parts.h"

#include <vmckpt/qmp/commands.h>
#include <vmckpt/ram/tracked-engine.h>
#include <vmckpt/util/error.h>

#define SHOWN_DIGITS 12

void
former_checkpoint_clear (FormerCheckpoint *former)
{
  g_clear_pointer (&former->manifest, manifest_free);
}

/* ---- Which one ---- */

/* Adds what a user can do. */
static void
add_way_out (const Unit *unit, GError **error)
{
  const char *name = unit->spec->name;
  g_autoptr (GError) cause = NULL;

  if (error == NULL)
    return;
  cause = g_steal_pointer (error);
  g_set_error (error, cause->domain, cause->code,
               "%s; let it run before ('vmckpt continue %s', then 'vmckpt pause %s')",
               cause->message, name, name);
}

static gboolean
load_former (const Unit *unit, Store *store, const CheckpointOptions *options,
             FormerCheckpoint *former, GError **error)
{
  const Standstill *standstill = unit->standstill;
  g_autoptr (GError) cause = NULL;

  former->store =
      g_str_equal (store_id (store), standstill->store) ? store : options->standstill_store;
  if (former->store == NULL || !g_str_equal (store_id (former->store), standstill->store)) {
    g_set_error (
        error, RAM_ERROR, RAM_ERROR_SAVED,
        "the guest has not run since checkpoint %.*s, which is in store %s, and QEMU saves "
        "it only once; that store cannot be read here: 'vmckpt store copy' can copy the "
        "checkpoint, with the key that it takes",
        SHOWN_DIGITS, standstill->checkpoint, standstill->store_path);
    return FALSE;
  }
  former->manifest = store_manifest_load (former->store, standstill->checkpoint, &cause);
  if (former->manifest != NULL)
    return TRUE;
  g_set_error (error, RAM_ERROR, RAM_ERROR_SAVED,
               "the guest has not run since checkpoint %.*s, and QEMU saves it only once; that "
               "checkpoint cannot be used: %s",
               SHOWN_DIGITS, standstill->checkpoint, cause->message);
  return FALSE;
}

/* After that QEMU saves the guest again. Should this process die, its keeper stops it. A domain is
 * not ours to run: libvirt may have sent it elsewhere. */
static gboolean
run_for_a_moment (const Unit *unit, const UnitWatcher *watcher, const GError *reason,
                  GError **error)
{
  g_autoptr (KeeperLease) lease = keeper_lease_checkpoint (unit->keeper, -1, FALSE, error);
  g_autofree char *text = g_strdup_printf (
      "%s; so that it is not lost, it has run for a moment, and stands still again",
      reason->message);

  if (lease == NULL || !qmp_cont (unit->monitor, error) || !qmp_stop (unit->monitor, error) ||
      !keeper_lease_end (lease, error))
    return FALSE;
  if (watcher->message != NULL)
    watcher->message (text, watcher->user_data);
  return TRUE;
}

gboolean
former_checkpoint_find (const Unit *unit, Store *store, const CheckpointOptions *options,
                        const UnitWatcher *watcher, FormerCheckpoint *former, GError **error)
{
  g_autoptr (GError) cause = NULL;
  gboolean saved = FALSE;

  *former = (FormerCheckpoint){ 0 };
  if (!unit->paused)
    return TRUE;
  if (!standstill_is_saved (unit->monitor, &saved, error))
    return FALSE;
  if (!saved || (standstill_check (unit->standstill, unit->monitor, &cause) &&
                 load_former (unit, store, options, former, &cause)))
    return TRUE;
  if (options->mode == CHECKPOINT_SUSPEND && unit->spec->driver == GUEST_DRIVER_QEMU &&
      g_error_matches (cause, RAM_ERROR, RAM_ERROR_SAVED))
    return run_for_a_moment (unit, watcher, cause, error);
  g_propagate_error (error, g_steal_pointer (&cause));
  add_way_out (unit, error);
  return FALSE;
}

gboolean
same_parts_check_still (const Unit *unit, GError **error)
{
  gboolean saved;

  if (!standstill_is_saved (unit->monitor, &saved, error))
    return FALSE;
  if (!saved)
    g_set_error_literal (error, RAM_ERROR, RAM_ERROR_FAILED, "it was continued meanwhile");
  return saved;
}

/* ---- Its parts ---- */

/* A PageFunc. */
static gboolean
put_page (guint64 page, const guint8 *data, gpointer user_data, GError **error)
{
  return page_map_writer_put (user_data, page, data, error);
}

/* In one store, a map with nothing put is its base, which the store now keeps for this writer. */
static gboolean
take_part (const FormerCheckpoint *former, const ManifestPart *part, const CaptureContext *context,
           Manifest *manifest, CaptureReport *report, GError **error)
{
  gboolean here = former->store == context->store;
  g_autoptr (PageMapReader) reader = NULL;
  g_autoptr (PageMapWriter) writer =
      page_map_writer_new (context->writer, part->map.length, here ? &part->map : NULL, error);
  PageMapStats stats;
  PageMap map;

  if (writer == NULL)
    return FALSE;
  if (!here) {
    reader = page_map_reader_new (former->store, &part->map, error);
    if (reader == NULL || !page_map_reader_foreach (reader, FALSE, put_page, writer,
                                                    context->progress, context->cancellable, error))
      return FALSE;
  }
  if (!page_map_writer_finish (writer, &map, &stats, error))
    return FALSE;
  manifest_add_part (manifest, part->role, part->name, &map);
  if (!g_str_equal (part->role, "ram"))
    return TRUE;
  report->ram_bytes += part->map.length;
  report->pages.put += stats.put;
  report->pages.zero += stats.zero;
  report->pages.unchanged += stats.unchanged;
  report->pages.known += stats.known;
  report->pages.fresh += stats.fresh;
  return TRUE;
}

gboolean
same_parts_capture (const FormerCheckpoint *former, const CaptureContext *context,
                    Manifest *manifest, CaptureReport *report, GError **error)
{
  ERROR_PREFIX (error, "taking over checkpoint %.*s", SHOWN_DIGITS, former->manifest->id);
  const GPtrArray *parts = former->manifest->parts;
  gint64 began_us = g_get_monotonic_time();
  g_autofree char *text = g_strdup_printf (
      "the guest has not run since checkpoint %.*s%s%s: this one has the same memory and devices",
      SHOWN_DIGITS, former->manifest->id, former->store != context->store ? " in " : "",
      former->store != context->store ? store_location (former->store) : "");

  if (context->message != NULL)
    context->message (text, context->message_data);
  progress_report (context->progress, PHASE_STORE, 0, 0);
  report->instant_us = g_get_real_time();
  manifest->machine = json_object_ref (former->manifest->machine);
  manifest->engine = g_strdup (former->manifest->engine);
  for (guint i = 0; i < parts->len; i++)
    if (!take_part (former, g_ptr_array_index (parts, i), context, manifest, report, error))
      return FALSE;
  report->phase_ms[PHASE_STORE] = (g_get_monotonic_time() - began_us) / 1000.0;
  return TRUE;
}

void
same_parts_settle (const Unit *unit, const FormerCheckpoint *former, Store *store,
                   const Manifest *manifest)
{
  tracked_engine_rename (unit->tracking, store_id (former->store), former->manifest->id,
                         store_id (store), manifest->id);
}
