/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/ram/guest-fill.h>

#include "dirty-tracker.h"

#include <vmckpt/ram/capture.h>
#include <vmckpt/store/hint.h>
#include <vmckpt/store/manifest.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>

/* Checkpoints among which a record is looked for. */
#define ORDER_ANCESTORS 4

struct _GuestFill {
  gatomicrefcount refs;
  GuestRam *ram;
  DirtyLog *log; /* a mapping of its own: that of the tracking may go before */
  LazyFill *fill;
  char *store_id, *checkpoint;
  Store *hints; /* (nullable): where the order of first touches is to be kept */
  gint running; /* atomic: in the background, too */
  GMutex lock;
  LazyFillFunc func; /* (lock), also while it is called */
  gpointer user_data;
};

static DirtyLog *
open_log (GuestRam *ram, GError **error)
{
  return dirty_log_open (guest_ram_log_fd (ram), guest_ram_bytes (ram), error);
}

/*
 * In which order to read: as it was recorded at the last restore of this checkpoint, or of one that
 * it descends from, which touched much the same.
 */
static GBytes *
find_order (Store *store, const char *checkpoint)
{
  g_autofree char *id = g_strdup (checkpoint);

  for (guint i = 0; i < ORDER_ANCESTORS && id != NULL; i++) {
    GBytes *order = store_hint_get (store, id, NULL);
    if (order != NULL)
      return order;
    g_autoptr (Manifest) manifest = store_manifest_load (store, id, NULL);
    g_free (id);
    id = manifest != NULL ? g_strdup (manifest->parent) : NULL;
  }
  return NULL;
}

/* For the next restore; the first record of a checkpoint stays, since what is read ahead is not
 * waited for any more. */
static void
keep_order (GuestFill *fill)
{
  g_autoptr (GBytes) order = fill->hints != NULL ? lazy_fill_touched (fill->fill) : NULL;
  g_autoptr (GError) error = NULL;

  if (order != NULL && !store_hint_put (fill->hints, fill->checkpoint, order, &error))
    g_debug ("the order of first touches is not kept: %s", error->message);
}

/* A LazyFillFunc. */
static void
on_event (LazyFillEvent event, gpointer user_data)
{
  GuestFill *fill = user_data;

  if (event == LAZY_FILL_COMPLETE) {
    dirty_log_clear_source (fill->log);
    keep_order (fill);
  }
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&fill->lock);
  if (fill->func != NULL)
    fill->func (event, fill->user_data);
}

static GuestFill *
fill_new (const GuestFillSetup *setup, GError **error)
{
  g_autoptr (GuestFill) fill = g_new0 (GuestFill, 1);

  g_atomic_ref_count_init (&fill->refs);
  g_mutex_init (&fill->lock);
  fill->ram = guest_ram_ref (setup->ram);
  fill->store_id = g_strdup (store_id (setup->store));
  fill->checkpoint = g_strdup (setup->checkpoint);
  fill->func = setup->func;
  fill->user_data = setup->user_data;
  fill->log = open_log (setup->ram, error);
  if (fill->log == NULL)
    return NULL;
  if (setup->map.length != guest_ram_bytes (setup->ram)) {
    g_set_error_literal (error, RAM_ERROR, RAM_ERROR_IMPOSSIBLE,
                         "the checkpoint's memory has another size than the guest's");
    return NULL;
  }
  g_autoptr (GBytes) order = find_order (setup->store, setup->checkpoint);
  struct dirty_log_header *header = dirty_log_header (fill->log);
  guint64 pages = dirty_log_pages (fill->log);
  const LazyFillSetup lazy = { .store = setup->store,
                               .map = setup->map,
                               .uffd = guest_ram_uffd_async (setup->ram),
                               .address = guest_ram_address (setup->ram),
                               .present = dirty_log_words_at (header, DIRTY_LOG_PRESENT, pages),
                               .discarded = dirty_log_words_at (header, DIRTY_LOG_DISCARDED, pages),
                               .order = order,
                               .discards = setup->discards,
                               .func = on_event,
                               .user_data = fill };
  fill->fill = lazy_fill_new (&lazy, error);
  return fill->fill != NULL ? g_steal_pointer (&fill) : NULL;
}

/* Tracking that takes nothing from whoever serves missing pages: faults for writes do not come. */
static gboolean
begin_tracking (GuestTracking *tracking, GError **error)
{
  DirtyTracker *tracker = guest_tracking_tracker (tracking);
  g_autoptr (GError) cause = NULL;

  if (guest_ram_untracked_reason (guest_tracking_ram (tracking)) != NULL)
    g_set_error_literal (error, RAM_ERROR, RAM_ERROR_IMPOSSIBLE,
                         guest_ram_untracked_reason (guest_tracking_ram (tracking)));
  else if (dirty_tracker_begin (tracker, TRACK_ASYNC, FALSE, &cause))
    return TRUE;
  else
    g_set_error_literal (error, RAM_ERROR, RAM_ERROR_IMPOSSIBLE, cause->message);
  return FALSE;
}

GuestFill *
guest_fill_begin (const GuestFillSetup *setup, GuestTracking *tracking, GError **error)
{
  DirtyLog *log = guest_tracking_log (tracking);

  if (!begin_tracking (tracking, error))
    return NULL;
  g_autoptr (GuestFill) fill = fill_new (setup, error);
  if (fill == NULL)
    return NULL;
  fill->hints = store_ref (setup->store);
  dirty_log_set_source (log, fill->store_id, fill->checkpoint);
  /* From here on a failure is the end of this QEMU: some of its memory may be missing. */
  if (!lazy_fill_register (fill->fill, error) || !fault_visit (FAULT_FILL_REGISTERED, error))
    return NULL;
  dirty_log_set_base (log, fill->store_id, fill->checkpoint);
  return lazy_fill_serve (fill->fill, error) ? g_steal_pointer (&fill) : NULL;
}

GuestFill *
guest_fill_take_over (const GuestFillSetup *setup, GError **error)
{
  g_autoptr (GuestFill) fill = fill_new (setup, error);

  return fill != NULL && lazy_fill_serve (fill->fill, error) ? g_steal_pointer (&fill) : NULL;
}

gboolean
guest_fill_is_wanted (GuestRam *ram, char **store_id, char **checkpoint, GError **error)
{
  g_autoptr (DirtyLog) log = open_log (ram, error);
  const char *store, *id;

  if (log == NULL || !dirty_log_source (log, &store, &id))
    return FALSE;
  *store_id = g_strdup (store);
  *checkpoint = g_strdup (id);
  return TRUE;
}

void
guest_fill_set_func (GuestFill *fill, LazyFillFunc func, gpointer user_data)
{
  g_auto (LazyFillStatus) status = { 0 };
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&fill->lock);

  fill->func = func;
  fill->user_data = user_data;
  lazy_fill_status (fill->fill, &status);
  if (status.stuck && func != NULL)
    func (LAZY_FILL_STUCK, user_data);
}

gboolean
guest_fill_run (GuestFill *fill)
{
  g_autoptr (GError) error = NULL;

  /* A checkpoint that waits for the memory may call this just as the guest is let run. */
  if (!g_atomic_int_compare_and_exchange (&fill->running, FALSE, TRUE))
    return FALSE;
  /* Without readers in the background the guest gets all it asks for. */
  if (!lazy_fill_start (fill->fill, &error))
    g_warning ("reading memory in the background: %s", error->message);
  return TRUE;
}

LazyFill *
guest_fill_lazy (GuestFill *fill)
{
  return fill->fill;
}

const char *
guest_fill_checkpoint (GuestFill *fill)
{
  return fill->checkpoint;
}

const char *
guest_fill_store_id (GuestFill *fill)
{
  return fill->store_id;
}

GuestFill *
guest_fill_ref (GuestFill *fill)
{
  g_atomic_ref_count_inc (&fill->refs);
  return fill;
}

void
guest_fill_unref (GuestFill *fill)
{
  if (fill == NULL || !g_atomic_ref_count_dec (&fill->refs))
    return;
  lazy_fill_free (fill->fill);
  g_clear_pointer (&fill->hints, store_unref);
  g_clear_pointer (&fill->log, dirty_log_free);
  guest_ram_unref (fill->ram);
  g_free (fill->store_id);
  g_free (fill->checkpoint);
  g_mutex_clear (&fill->lock);
  g_free (fill);
}
