/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The pages that nobody waits for: all that has data, in the background. */
#include "lazy-fill-private.h"

#include <vmckpt/util/fault.h>

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILLER_NICE 10
#define RETRY_MAX_US (15 * G_USEC_PER_SEC)

/* With the lock: what could be read shows that there is no trouble any more, if nothing is left
 * that could not be. */
static void
note_success (LazyFill *fill)
{
  fill->retry_delay_us = FILL_RETRY_FIRST_US;
  if (fill->failed->len == 0 && fill->unread->len == 0)
    g_clear_error (&fill->error);
}

/* TRUE if nothing of the run has to be read any more. */
static gboolean
is_done (LazyFill *fill, guint64 first, guint count)
{
  for (guint i = 0; i < count; i++)
    if (!page_delivery_is_present (&fill->delivery, first + i))
      return FALSE;
  return TRUE;
}

static void
note_zeros (LazyFill *fill, guint64 first, guint count, const gboolean *zero)
{
  FILL_LOCK (fill);
  for (guint i = 0; i < count; i++)
    if (zero[i])
      fill->zero[(first + i) / 64] |= G_GUINT64_CONSTANT (1) << (first + i) % 64;
}

static gboolean
fill_pages (LazyFill *fill, guint64 first, guint count, FillBuffer *buffer, GError **error)
{
  if (!fill_read_run (fill, first, count, buffer->data, buffer->zero, error) ||
      !page_delivery_put (&fill->delivery, first, count, buffer->data, buffer->zero, error))
    return FALSE;
  note_zeros (fill, first, count, buffer->zero);
  return TRUE;
}

/* One by one, since some of them cannot be read. Returns FALSE with the last error. */
static gboolean
fill_singly (LazyFill *fill, guint64 first, guint count, FillBuffer *buffer, GError **error)
{
  gboolean good = TRUE;

  for (guint i = 0; i < count && !fill_is_stopping (fill); i++) {
    if (page_delivery_is_present (&fill->delivery, first + i))
      continue;
    if (!good)
      g_clear_error (error);
    good = fill_pages (fill, first + i, 1, buffer, error) && good;
  }
  return good;
}

/* Reads one run of windows. */
static void
fill_run (LazyFill *fill, const FillRun *run, FillBuffer *buffer)
{
  guint64 first = run->first << FILL_WINDOW_BITS;
  guint count = MIN (run->count << FILL_WINDOW_BITS, fill->pages - first);
  guint retries = fill_count_retries (fill);
  g_autoptr (GError) error = NULL;

  if (is_done (fill, first, count) || (fill_pages (fill, first, count, buffer, &error) &&
                                       fault_visit (FAULT_FILL_MIDDLE, &error))) {
    FILL_LOCK (fill);
    note_success (fill);
    return;
  }
  gboolean damaged = g_error_matches (error, STORE_ERROR, STORE_ERROR_DAMAGED);
  g_autoptr (GError) one = NULL;
  if (damaged && fill_singly (fill, first, count, buffer, &one))
    return;
  FILL_LOCK (fill);
  if (retries != fill->retries) {
    fill_plan_give_back (fill->plan, run);
    return;
  }
  fill_note_error (fill, one != NULL ? one : error);
  if (damaged) {
    g_array_append_val (fill->unread, *run);
    return;
  }
  /* Nothing can be read now: leave the store alone for a while. */
  fill_plan_give_back (fill->plan, run);
  fill->retry_us = g_get_monotonic_time() + fill->retry_delay_us;
  fill->retry_delay_us = MIN (2 * fill->retry_delay_us, RETRY_MAX_US);
}

/* With the lock: the next run to read, or the last step; FALSE when there is nothing to do now. */
static gboolean
next_run (LazyFill *fill, FillRun *run, gboolean *settle)
{
  *settle = FALSE;
  if (fill->complete || fill->settling || fill->delivery.gone ||
      fill->retry_us > g_get_monotonic_time())
    return FALSE;
  if (fill_plan_next (fill->plan, run))
    return TRUE;
  *settle = fill->active == 0 && fill->unread->len == 0 && fill->holds == 0;
  return *settle;
}

/* All that has data is there. */
static void
settle (LazyFill *fill)
{
  g_autoptr (GError) error = NULL;
  gboolean good =
      fill_areas_settle (&fill->delivery, fill->zero, fill->untracked, fill->discards, &error) &&
      fault_visit (FAULT_FILL_SETTLED, &error);

  {
    FILL_LOCK (fill);
    fill->settling = FALSE;
    fill->complete = good;
    if (!good) {
      fill_note_error (fill, error);
      fill->retry_us = g_get_monotonic_time() + FILL_RETRY_FIRST_US;
    }
    g_cond_broadcast (&fill->changed);
  }
  if (good && fill->func != NULL && !fill_is_stopping (fill))
    fill->func (LAZY_FILL_COMPLETE, fill->user_data);
}

gpointer
fill_filler_thread (gpointer data)
{
  LazyFill *fill = data;
  g_autoptr (FillBuffer) buffer = fill_buffer_new();
  FillRun run;
  gboolean is_last;

  setpriority (PRIO_PROCESS, syscall (SYS_gettid), FILLER_NICE);
  g_mutex_lock (&fill->lock);
  while (!fill->stopping && !fill->complete) {
    if (!next_run (fill, &run, &is_last)) {
      if (fill->retry_us > g_get_monotonic_time())
        g_cond_wait_until (&fill->changed, &fill->lock, fill->retry_us);
      else
        g_cond_wait (&fill->changed, &fill->lock);
      continue;
    }
    fill->active++;
    fill->settling = is_last;
    g_mutex_unlock (&fill->lock);
    if (is_last)
      settle (fill);
    else
      fill_run (fill, &run, buffer);
    g_mutex_lock (&fill->lock);
    fill->active--;
    if (fill->active == 0)
      g_cond_broadcast (&fill->changed);
  }
  g_mutex_unlock (&fill->lock);
  return NULL;
}
