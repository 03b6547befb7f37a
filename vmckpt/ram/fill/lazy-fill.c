/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lazy-fill-private.h"

#include <vmckpt/util/error.h>
#include <vmckpt/util/fd.h>

#include <sys/eventfd.h>

LazyFill *
lazy_fill_new (const LazyFillSetup *setup, GError **error)
{
  g_autoptr (FillSource) source = fill_source_new (setup->store, &setup->map, error);
  g_auto (AutoFd) wake = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  guint64 pages = setup->map.length / PAGE_SIZE_BYTES;
  guint64 windows = (pages + FILL_WINDOW_PAGES - 1) >> FILL_WINDOW_BITS;
  GArray *order = NULL;

  if (source == NULL)
    return NULL;
  if (wake < 0) {
    fd_set_errno_error (error, "making an event descriptor");
    return NULL;
  }
  if (setup->order != NULL)
    order = fill_order_parse (setup->order, windows, NULL);
  LazyFill *fill = g_new0 (LazyFill, 1);
  fill->map = setup->map;
  fill->pages = pages;
  fill->untracked = setup->untracked;
  fill->discards = setup->discards;
  fill->delivery = (PageDelivery){ .uffd = setup->uffd,
                                   .address = setup->address,
                                   .pages = pages,
                                   .protect = !setup->untracked,
                                   .present = setup->present,
                                   .discarded = setup->discarded,
                                   .delivered = setup->delivered,
                                   .user_data = setup->user_data };
  page_delivery_init (&fill->delivery);
  fill->func = setup->func;
  fill->user_data = setup->user_data;
  fill->wake = fd_steal (&wake);
  g_mutex_init (&fill->lock);
  g_cond_init (&fill->changed);
  fill->source = g_steal_pointer (&source);
  fill->plan = fill_plan_new (windows, order);
  fill->touched = fill_order_new (windows);
  fill->zero = g_new0 (guint64, pages / 64 + 1);
  fill->failed = g_array_new (FALSE, FALSE, sizeof (guint64));
  fill->unread = g_array_new (FALSE, FALSE, sizeof (FillRun));
  fill->retry_delay_us = FILL_RETRY_FIRST_US;
  return fill;
}

gboolean
lazy_fill_register (LazyFill *fill, GError **error)
{
  ERROR_PREFIX (error, "readying the guest's memory to be filled while it runs");
  guint64 stretches = (fill->pages + PAGE_MAP_STRETCH - 1) / PAGE_MAP_STRETCH;
  g_autofree guint64 *bits = g_new0 (guint64, stretches / 64 + 1);
  g_autoptr (FillSource) source = fill_get_source (fill);

  if (fill->untracked)
    return fill_areas_register_untracked (&fill->delivery, error);
  return page_map_reader_find_data (source->map, bits, error) &&
         fill_areas_register (&fill->delivery, bits, error);
}

gboolean
lazy_fill_serve (LazyFill *fill, GError **error)
{
  if (fill->n_servers == 0)
    page_delivery_wake_all (&fill->delivery);
  for (; fill->n_servers < FILL_SERVERS; fill->n_servers++) {
    GThread *thread = g_thread_try_new ("fill-serve", fill_server_thread, fill, error);
    if (thread == NULL)
      return FALSE;
    fill->servers[fill->n_servers] = thread;
  }
  return TRUE;
}

gboolean
lazy_fill_start (LazyFill *fill, GError **error)
{
  guint fillers = MIN (g_get_num_processors(), FILL_FILLERS_MAX);

  if (!lazy_fill_serve (fill, error))
    return FALSE;
  for (; fill->n_fillers < fillers; fill->n_fillers++) {
    GThread *thread = g_thread_try_new ("fill", fill_filler_thread, fill, error);
    if (thread == NULL)
      return FALSE;
    fill->fillers[fill->n_fillers] = thread;
  }
  return TRUE;
}

static void
stop_threads (LazyFill *fill)
{
  {
    FILL_LOCK (fill);
    g_atomic_int_set (&fill->stopping, TRUE);
    g_cond_broadcast (&fill->changed);
  }
  fill_wake_servers (fill);
  for (guint i = 0; i < fill->n_servers; i++)
    g_thread_join (fill->servers[i]);
  for (guint i = 0; i < fill->n_fillers; i++)
    g_thread_join (fill->fillers[i]);
}

void
lazy_fill_free (LazyFill *fill)
{
  if (fill == NULL)
    return;
  stop_threads (fill);
  fd_close (&fill->wake);
  page_delivery_clear (&fill->delivery);
  fill_source_unref (fill->source);
  fill_plan_free (fill->plan);
  fill_order_free (fill->touched);
  g_free (fill->zero);
  g_queue_clear (&fill->wanted);
  g_array_unref (fill->failed);
  g_array_unref (fill->unread);
  g_clear_error (&fill->error);
  g_mutex_clear (&fill->lock);
  g_cond_clear (&fill->changed);
  g_free (fill);
}

void
lazy_fill_status_clear (LazyFillStatus *status)
{
  g_free (status->reason);
  *status = (LazyFillStatus){ 0 };
}

void
lazy_fill_status (LazyFill *fill, LazyFillStatus *status)
{
  FILL_LOCK (fill);
  *status = (LazyFillStatus){
    .pages = fill->pages,
    .present = page_delivery_count_present (&fill->delivery),
    .faults = fill->faults,
    .stuck = fill->failed->len > 0,
    .complete = fill->complete,
    .reason = fill->error != NULL && !fill->complete ? g_strdup (fill->error->message) : NULL,
  };
}

void
lazy_fill_want (LazyFill *fill, guint64 page)
{
  {
    FILL_LOCK (fill);
    fill_want_page (fill, page);
  }
  fill_wake_servers (fill);
}

void
lazy_fill_retry (LazyFill *fill, Store *store)
{
  g_autoptr (FillSource) newer = store != NULL ? fill_source_new (store, &fill->map, NULL) : NULL;
  g_autoptr (FillSource) former = NULL;

  {
    FILL_LOCK (fill);
    if (newer != NULL) {
      former = fill->source;
      fill->source = g_steal_pointer (&newer);
    }
    fill->retries++;
    for (guint i = 0; i < fill->failed->len; i++)
      fill_want_page (fill, g_array_index (fill->failed, guint64, i));
    g_array_set_size (fill->failed, 0);
    for (guint i = 0; i < fill->unread->len; i++)
      fill_plan_give_back (fill->plan, &g_array_index (fill->unread, FillRun, i));
    g_array_set_size (fill->unread, 0);
    fill->retry_us = 0;
    fill->retry_delay_us = FILL_RETRY_FIRST_US;
    g_clear_error (&fill->error);
    g_cond_broadcast (&fill->changed);
  }
  fill_wake_servers (fill);
}

/* With the lock: FALSE with @error if the fill does not get on by itself. */
static gboolean
check_hopeful (LazyFill *fill, GCancellable *cancellable, GError **error)
{
  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return FALSE;
  if (fill->delivery.gone) {
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_CLOSED, "the guest has ended");
    return FALSE;
  }
  if (fill->error == NULL)
    return TRUE;
  g_propagate_error (error, g_error_copy (fill->error));
  return FALSE;
}

#define WAIT_STEP_US (100 * G_TIME_SPAN_MILLISECOND)

gboolean
lazy_fill_check_served (LazyFill *fill, GError **error)
{
  FILL_LOCK (fill);
  return fill->failed->len == 0 || check_hopeful (fill, NULL, error);
}

gboolean
lazy_fill_wait_served (LazyFill *fill, GCancellable *cancellable, GError **error)
{
  FILL_LOCK (fill);

  while (fill->wanted_open > 0) {
    if (g_cancellable_set_error_if_cancelled (cancellable, error))
      return FALSE;
    g_cond_wait_until (&fill->changed, &fill->lock, g_get_monotonic_time() + WAIT_STEP_US);
  }
  return fill->failed->len == 0 || check_hopeful (fill, cancellable, error);
}

gboolean
lazy_fill_wait (LazyFill *fill, const Progress *progress, GCancellable *cancellable, GError **error)
{
  FILL_LOCK (fill);

  while (!fill->complete) {
    if (!check_hopeful (fill, cancellable, error))
      return FALSE;
    progress_report (progress, PHASE_READ,
                     page_delivery_count_present (&fill->delivery) * PAGE_SIZE_BYTES,
                     fill->pages * PAGE_SIZE_BYTES);
    /* A cancellable cannot be waited for together with a condition. */
    g_cond_wait_until (&fill->changed, &fill->lock, g_get_monotonic_time() + WAIT_STEP_US);
  }
  return TRUE;
}

gboolean
lazy_fill_bring (LazyFill *fill, guint64 first, guint64 count, GError **error)
{
  g_autoptr (FillBuffer) buffer = NULL;

  for (guint64 page = first; page < first + count; page++) {
    if (page_delivery_is_present (&fill->delivery, page))
      continue;
    if (buffer == NULL)
      buffer = fill_buffer_new();
    if (!fill_bring_page (fill, page, buffer, error))
      return FALSE;
  }
  return TRUE;
}

void
lazy_fill_hold (LazyFill *fill)
{
  FILL_LOCK (fill);
  while (fill->settling)
    g_cond_wait (&fill->changed, &fill->lock);
  fill->holds++;
}

void
lazy_fill_release (LazyFill *fill)
{
  FILL_LOCK (fill);
  fill->holds--;
  g_cond_broadcast (&fill->changed);
}

GBytes *
lazy_fill_touched (LazyFill *fill)
{
  FILL_LOCK (fill);
  return fill_order_to_bytes (fill->touched);
}
