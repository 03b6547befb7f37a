/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   userfaultfd ──▶ servers (2) ── page ─────────┐
 *                      │ touched window          ├─▶ PageMapReader ─▶ PageDelivery ─▶ guest's RAM
 *                      ▼                         │
 *                   FillPlan ──▶ fillers (niced) ┘ windows
 *
 * Servers do nothing but the page that the guest waits for and its closest neighbours; they never
 * wait for anything but the store. Fillers read the rest. When all that has data is there,
 * stretches of zeros stop being missing and the fill is complete; servers stay, for pages that the
 * guest gives back.
 *
 * Locks: `lock` guards what is marked so; nothing blocks under it. PageDelivery needs none.
 */
#include <vmckpt/ram/lazy-fill.h>

#include "fill-areas.h"
#include "fill-plan.h"
#include "page-delivery.h"

#include <vmckpt/store/store.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>
#include <vmckpt/util/fd.h>

#include <errno.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SERVERS 2
#define FILLERS_MAX 4
#define FILLER_NICE 10
/* Read with the page that the guest waits for: it is likely to want them next, and what they cost
 * is the hash alone. */
#define SERVE_PAGES 16
#define FILL_PAGES_MAX (FILL_PLAN_STRIDE * FILL_WINDOW_PAGES)
/* Until the store is tried again that could not be reached. */
#define RETRY_FIRST_US (G_USEC_PER_SEC / 2)
#define RETRY_MAX_US (15 * G_USEC_PER_SEC)

G_STATIC_ASSERT (FILL_PAGES_MAX <= PAGE_MAP_RUN_MAX);

/* What threads read from; replaced when the store was opened anew. */
typedef struct {
  PageMapReader *map;
} Source;

struct _LazyFill {
  PageMap map;
  guint64 pages;
  gboolean untracked, discards;
  PageDelivery delivery;
  LazyFillFunc func;
  gpointer user_data;
  int wake; /* eventfd: servers look at `wanted` and `stopping` */
  GThread *servers[SERVERS];
  GThread *fillers[FILLERS_MAX];
  guint n_servers, n_fillers;

  GMutex lock;
  GCond changed;         /* any of the following */
  Source *source;        /* (lock), atomically counted */
  FillPlan *plan;        /* (lock) */
  FillOrder *touched;    /* (lock) */
  guint64 *zero;         /* (lock): bitmap of pages that are zeros in the map */
  GQueue wanted;         /* (lock): pages to serve without a fault, GSIZE_TO_POINTER() */
  guint wanted_open;     /* (lock): of these and those that were taken out: not served yet */
  GArray *failed;        /* (lock) of guint64: pages that the guest waits for and cannot be read */
  GArray *unread;        /* (lock) of FillRun: what fillers could not read */
  guint active;          /* (lock): fillers at work */
  guint holds;           /* (lock): areas must not change */
  gboolean settling;     /* (lock): a filler does what comes after the last page */
  gboolean complete;     /* (lock) */
  gboolean stopping;     /* (lock); atomic for whoever has not got it */
  gint64 retry_us;       /* (lock): monotonic time until which fillers leave the store alone */
  gint64 retry_delay_us; /* (lock) */
  GError *error;         /* (lock): the last reason why something could not be read */
  guint64 faults;        /* (lock) */
  guint retries;         /* (lock): what failed before one of them says nothing any more */
};

#define LOCK(fill)                                                                                 \
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&(fill)->lock)

/* ---- What is read from ---- */

static void
source_clear (gpointer data)
{
  page_map_reader_free (((Source *)data)->map);
}

static void
source_unref (Source *source)
{
  g_atomic_rc_box_release_full (source, source_clear);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Source, source_unref)

static Source *
source_new (Store *store, const PageMap *map, GError **error)
{
  PageMapReader *reader = page_map_reader_new (store, map, error);

  if (reader == NULL)
    return NULL;
  Source *source = g_atomic_rc_box_new0 (Source);
  source->map = reader;
  return source;
}

static Source *
get_source (LazyFill *fill)
{
  LOCK (fill);
  return g_atomic_rc_box_acquire (fill->source);
}

static gboolean
read_run (LazyFill *fill, guint64 first, guint count, guint8 *data, gboolean *zero, GError **error)
{
  g_autoptr (Source) source = get_source (fill);
  return page_map_reader_read_run (source->map, first, count, data, zero, error);
}

/* ---- Troubles ---- */

static gboolean
is_stopping (LazyFill *fill)
{
  return g_atomic_int_get (&fill->stopping);
}

/* With the lock: @error is why reading does not go on. */
static void
note_error (LazyFill *fill, const GError *error)
{
  g_clear_error (&fill->error);
  fill->error = g_error_copy (error);
}

/* With the lock: what could be read shows that there is no trouble any more, if nothing is left
 * that could not be. */
static void
note_success (LazyFill *fill)
{
  fill->retry_delay_us = RETRY_FIRST_US;
  if (fill->failed->len == 0 && fill->unread->len == 0)
    g_clear_error (&fill->error);
}

static void
wake_servers (LazyFill *fill)
{
  const guint64 one = 1;
  fd_write_full (fill->wake, &one, sizeof one, NULL);
}

static guint
count_retries (LazyFill *fill)
{
  LOCK (fill);
  return fill->retries;
}

/* With the lock. */
static void
want_page (LazyFill *fill, guint64 page)
{
  g_queue_push_tail (&fill->wanted, GSIZE_TO_POINTER (page));
  fill->wanted_open++;
}

/* The guest waits for @page, and it could not be read after @retries. */
static void
note_failed (LazyFill *fill, guint64 page, guint retries, const GError *error)
{
  gboolean first;

  {
    LOCK (fill);
    if (retries != fill->retries) {
      /* Read from what has been replaced meanwhile. */
      want_page (fill, page);
      wake_servers (fill);
      return;
    }
    note_error (fill, error);
    first = fill->failed->len == 0;
    g_array_append_val (fill->failed, page);
    g_cond_broadcast (&fill->changed);
  }
  if (first && fill->func != NULL && !is_stopping (fill))
    fill->func (LAZY_FILL_STUCK, fill->user_data);
}

/* ---- Servers ---- */

typedef struct {
  guint8 *data; /* for FILL_PAGES_MAX pages */
  gboolean zero[FILL_PAGES_MAX];
} Buffer;

static Buffer *
buffer_new (void)
{
  Buffer *buffer = g_new0 (Buffer, 1);
  buffer->data = g_malloc ((gsize)FILL_PAGES_MAX * PAGE_SIZE_BYTES);
  return buffer;
}

static void
buffer_free (Buffer *buffer)
{
  g_free (buffer->data);
  g_free (buffer);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Buffer, buffer_free)

/* The page from the map, with its neighbours if they can be had. */
static gboolean
fetch_page (LazyFill *fill, guint64 page, Buffer *buffer, GError **error)
{
  guint64 first = page & ~(guint64)(SERVE_PAGES - 1);
  guint count = MIN (SERVE_PAGES, fill->pages - first);

  if (read_run (fill, first, count, buffer->data, buffer->zero, NULL)) {
    /* Its own zeros are wanted, those of others may not be. */
    buffer->zero[page - first] = FALSE;
    return page_delivery_put (&fill->delivery, first, count, buffer->data, buffer->zero, error);
  }
  return read_run (fill, page, 1, buffer->data, buffer->zero, error) &&
         page_delivery_put (&fill->delivery, page, 1, buffer->data, NULL, error);
}

/* Puts the page that somebody waits for, whoever else may be about to. */
static gboolean
bring_page (LazyFill *fill, guint64 page, Buffer *buffer, GError **error)
{
  while (!page_delivery_await (&fill->delivery, page))
    if (!fetch_page (fill, page, buffer, error))
      return FALSE;
  return TRUE;
}

static void
note_touched (LazyFill *fill, guint64 page)
{
  LOCK (fill);
  fill->faults++;
  fill_order_touch (fill->touched, page >> FILL_WINDOW_BITS);
  fill_plan_touch (fill->plan, page >> FILL_WINDOW_BITS);
  g_cond_signal (&fill->changed);
}

static void
serve_page (LazyFill *fill, guint64 page, Buffer *buffer)
{
  g_autoptr (GError) error = NULL;
  guint retries = count_retries (fill);
  gboolean present = page_delivery_is_present (&fill->delivery, page);

  if (!present)
    note_touched (fill, page);
  /* Present and missing all the same: the guest gave it back. Also if it did just now, after
   * another thread had put it. */
  if (!(present || bring_page (fill, page, buffer, &error)) ||
      (!fill->untracked && !page_delivery_put_zeros (&fill->delivery, page, &error))) {
    if (!fill->delivery.gone)
      note_failed (fill, page, retries, error);
  } else if (present && fill->untracked && fill->delivery.delivered != NULL) {
    fill->delivery.delivered (page, 1, fill->user_data);
  }
}

/* Takes one fault from the kernel; FALSE if there is none. */
static gboolean
take_fault (LazyFill *fill, guint64 *page)
{
  struct uffd_msg message;

  if (read (fill->delivery.uffd, &message, sizeof message) != sizeof message)
    return FALSE;
  if (message.event != UFFD_EVENT_PAGEFAULT)
    return FALSE;
  guint64 offset = message.arg.pagefault.address - fill->delivery.address;
  *page = offset / PAGE_SIZE_BYTES;
  return message.arg.pagefault.address >= fill->delivery.address && *page < fill->pages;
}

static gboolean
take_wanted (LazyFill *fill, guint64 *page)
{
  guint64 none;
  LOCK (fill);

  gboolean taken = fill->wanted.length > 0;
  if (taken)
    *page = GPOINTER_TO_SIZE (g_queue_pop_head (&fill->wanted));
  /* Also if there was none: who put it in may have said so only after it was taken. */
  if (fill->wanted.length == 0 && !fill->stopping)
    (void)!read (fill->wake, &none, sizeof none);
  return taken;
}

static void
serve_wanted (LazyFill *fill, guint64 page, Buffer *buffer)
{
  serve_page (fill, page, buffer);
  LOCK (fill);
  fill->wanted_open--;
  g_cond_broadcast (&fill->changed);
}

static gpointer
server_thread (gpointer data)
{
  LazyFill *fill = data;
  g_autoptr (Buffer) buffer = buffer_new();
  struct pollfd polled[] = { { .fd = fill->delivery.uffd, .events = POLLIN },
                             { .fd = fill->wake, .events = POLLIN } };
  guint64 page;

  while (!is_stopping (fill)) {
    if (take_fault (fill, &page))
      serve_page (fill, page, buffer);
    else if (take_wanted (fill, &page))
      serve_wanted (fill, page, buffer);
    else if (poll (polled, G_N_ELEMENTS (polled), -1) < 0 && errno != EINTR)
      break;
  }
  return NULL;
}

/* ---- Fillers ---- */

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
  LOCK (fill);
  for (guint i = 0; i < count; i++)
    if (zero[i])
      fill->zero[(first + i) / 64] |= G_GUINT64_CONSTANT (1) << (first + i) % 64;
}

static gboolean
fill_pages (LazyFill *fill, guint64 first, guint count, Buffer *buffer, GError **error)
{
  if (!read_run (fill, first, count, buffer->data, buffer->zero, error) ||
      !page_delivery_put (&fill->delivery, first, count, buffer->data, buffer->zero, error))
    return FALSE;
  note_zeros (fill, first, count, buffer->zero);
  return TRUE;
}

/* One by one, since some of them cannot be read. Returns FALSE with the last error. */
static gboolean
fill_singly (LazyFill *fill, guint64 first, guint count, Buffer *buffer, GError **error)
{
  gboolean good = TRUE;

  for (guint i = 0; i < count && !is_stopping (fill); i++) {
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
fill_run (LazyFill *fill, const FillRun *run, Buffer *buffer)
{
  guint64 first = run->first << FILL_WINDOW_BITS;
  guint count = MIN (run->count << FILL_WINDOW_BITS, fill->pages - first);
  guint retries = count_retries (fill);
  g_autoptr (GError) error = NULL;

  if (is_done (fill, first, count) || (fill_pages (fill, first, count, buffer, &error) &&
                                       fault_visit (FAULT_FILL_MIDDLE, &error))) {
    LOCK (fill);
    note_success (fill);
    return;
  }
  gboolean damaged = g_error_matches (error, STORE_ERROR, STORE_ERROR_DAMAGED);
  g_autoptr (GError) one = NULL;
  if (damaged && fill_singly (fill, first, count, buffer, &one))
    return;
  LOCK (fill);
  if (retries != fill->retries) {
    fill_plan_give_back (fill->plan, run);
    return;
  }
  note_error (fill, one != NULL ? one : error);
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
    LOCK (fill);
    fill->settling = FALSE;
    fill->complete = good;
    if (!good) {
      note_error (fill, error);
      fill->retry_us = g_get_monotonic_time() + RETRY_FIRST_US;
    }
    g_cond_broadcast (&fill->changed);
  }
  if (good && fill->func != NULL && !is_stopping (fill))
    fill->func (LAZY_FILL_COMPLETE, fill->user_data);
}

static gpointer
filler_thread (gpointer data)
{
  LazyFill *fill = data;
  g_autoptr (Buffer) buffer = buffer_new();
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

/* ---- The object ---- */

LazyFill *
lazy_fill_new (const LazyFillSetup *setup, GError **error)
{
  g_autoptr (Source) source = source_new (setup->store, &setup->map, error);
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
  fill->retry_delay_us = RETRY_FIRST_US;
  return fill;
}

gboolean
lazy_fill_register (LazyFill *fill, GError **error)
{
  ERROR_PREFIX (error, "readying the guest's memory to be filled while it runs");
  guint64 stretches = (fill->pages + PAGE_MAP_STRETCH - 1) / PAGE_MAP_STRETCH;
  g_autofree guint64 *bits = g_new0 (guint64, stretches / 64 + 1);
  g_autoptr (Source) source = get_source (fill);

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
  for (; fill->n_servers < SERVERS; fill->n_servers++) {
    GThread *thread = g_thread_try_new ("fill-serve", server_thread, fill, error);
    if (thread == NULL)
      return FALSE;
    fill->servers[fill->n_servers] = thread;
  }
  return TRUE;
}

gboolean
lazy_fill_start (LazyFill *fill, GError **error)
{
  guint fillers = MIN (g_get_num_processors(), FILLERS_MAX);

  if (!lazy_fill_serve (fill, error))
    return FALSE;
  for (; fill->n_fillers < fillers; fill->n_fillers++) {
    GThread *thread = g_thread_try_new ("fill", filler_thread, fill, error);
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
    LOCK (fill);
    g_atomic_int_set (&fill->stopping, TRUE);
    g_cond_broadcast (&fill->changed);
  }
  wake_servers (fill);
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
  source_unref (fill->source);
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
  LOCK (fill);
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
    LOCK (fill);
    want_page (fill, page);
  }
  wake_servers (fill);
}

void
lazy_fill_retry (LazyFill *fill, Store *store)
{
  g_autoptr (Source) newer = store != NULL ? source_new (store, &fill->map, NULL) : NULL;
  g_autoptr (Source) former = NULL;

  {
    LOCK (fill);
    if (newer != NULL) {
      former = fill->source;
      fill->source = g_steal_pointer (&newer);
    }
    fill->retries++;
    for (guint i = 0; i < fill->failed->len; i++)
      want_page (fill, g_array_index (fill->failed, guint64, i));
    g_array_set_size (fill->failed, 0);
    for (guint i = 0; i < fill->unread->len; i++)
      fill_plan_give_back (fill->plan, &g_array_index (fill->unread, FillRun, i));
    g_array_set_size (fill->unread, 0);
    fill->retry_us = 0;
    fill->retry_delay_us = RETRY_FIRST_US;
    g_clear_error (&fill->error);
    g_cond_broadcast (&fill->changed);
  }
  wake_servers (fill);
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
  LOCK (fill);
  return fill->failed->len == 0 || check_hopeful (fill, NULL, error);
}

gboolean
lazy_fill_wait_served (LazyFill *fill, GCancellable *cancellable, GError **error)
{
  LOCK (fill);

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
  LOCK (fill);

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
  g_autoptr (Buffer) buffer = NULL;

  for (guint64 page = first; page < first + count; page++) {
    if (page_delivery_is_present (&fill->delivery, page))
      continue;
    if (buffer == NULL)
      buffer = buffer_new();
    if (!bring_page (fill, page, buffer, error))
      return FALSE;
  }
  return TRUE;
}

void
lazy_fill_hold (LazyFill *fill)
{
  LOCK (fill);
  while (fill->settling)
    g_cond_wait (&fill->changed, &fill->lock);
  fill->holds++;
}

void
lazy_fill_release (LazyFill *fill)
{
  LOCK (fill);
  fill->holds--;
  g_cond_broadcast (&fill->changed);
}

GBytes *
lazy_fill_touched (LazyFill *fill)
{
  LOCK (fill);
  return fill_order_to_bytes (fill->touched);
}
