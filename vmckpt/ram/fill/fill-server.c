/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The pages that the guest waits for. */
#include "lazy-fill-private.h"

#include <vmckpt/util/fd.h>

#include <errno.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <unistd.h>

/* Read with the page that the guest waits for: it is likely to want them next, and what they cost
 * is the hash alone. */
#define SERVE_PAGES 16

void
fill_wake_servers (LazyFill *fill)
{
  const guint64 one = 1;
  fd_write_full (fill->wake, &one, sizeof one, NULL);
}

void
fill_want_page (LazyFill *fill, guint64 page)
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
    FILL_LOCK (fill);
    if (retries != fill->retries) {
      /* Read from what has been replaced meanwhile. */
      fill_want_page (fill, page);
      fill_wake_servers (fill);
      return;
    }
    fill_note_error (fill, error);
    first = fill->failed->len == 0;
    g_array_append_val (fill->failed, page);
    g_cond_broadcast (&fill->changed);
  }
  if (first && fill->func != NULL && !fill_is_stopping (fill))
    fill->func (LAZY_FILL_STUCK, fill->user_data);
}

/* The page from the map, with its neighbours if they can be had. */
static gboolean
fetch_page (LazyFill *fill, guint64 page, FillBuffer *buffer, GError **error)
{
  guint64 first = page & ~(guint64)(SERVE_PAGES - 1);
  guint count = MIN (SERVE_PAGES, fill->pages - first);

  if (fill_read_run (fill, first, count, buffer->data, buffer->zero, NULL)) {
    /* Its own zeros are wanted, those of others may not be. */
    buffer->zero[page - first] = FALSE;
    return page_delivery_put (&fill->delivery, first, count, buffer->data, buffer->zero, error);
  }
  return fill_read_run (fill, page, 1, buffer->data, buffer->zero, error) &&
         page_delivery_put (&fill->delivery, page, 1, buffer->data, NULL, error);
}

gboolean
fill_bring_page (LazyFill *fill, guint64 page, FillBuffer *buffer, GError **error)
{
  while (!page_delivery_await (&fill->delivery, page))
    if (!fetch_page (fill, page, buffer, error))
      return FALSE;
  return TRUE;
}

static void
note_touched (LazyFill *fill, guint64 page)
{
  FILL_LOCK (fill);
  fill->faults++;
  fill_order_touch (fill->touched, page >> FILL_WINDOW_BITS);
  fill_plan_touch (fill->plan, page >> FILL_WINDOW_BITS);
  g_cond_signal (&fill->changed);
}

static void
serve_page (LazyFill *fill, guint64 page, FillBuffer *buffer)
{
  g_autoptr (GError) error = NULL;
  guint retries = fill_count_retries (fill);
  gboolean present = page_delivery_is_present (&fill->delivery, page);

  if (!present)
    note_touched (fill, page);
  /* Present and missing all the same: the guest gave it back. Also if it did just now, after
   * another thread had put it. */
  if (!(present || fill_bring_page (fill, page, buffer, &error)) ||
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
  FILL_LOCK (fill);

  gboolean taken = fill->wanted.length > 0;
  if (taken)
    *page = GPOINTER_TO_SIZE (g_queue_pop_head (&fill->wanted));
  /* Also if there was none: who put it in may have said so only after it was taken. */
  if (fill->wanted.length == 0 && !fill->stopping)
    (void)!read (fill->wake, &none, sizeof none);
  return taken;
}

static void
serve_wanted (LazyFill *fill, guint64 page, FillBuffer *buffer)
{
  serve_page (fill, page, buffer);
  FILL_LOCK (fill);
  fill->wanted_open--;
  g_cond_broadcast (&fill->changed);
}

gpointer
fill_server_thread (gpointer data)
{
  LazyFill *fill = data;
  g_autoptr (FillBuffer) buffer = fill_buffer_new();
  struct pollfd polled[] = { { .fd = fill->delivery.uffd, .events = POLLIN },
                             { .fd = fill->wake, .events = POLLIN } };
  guint64 page;

  while (!fill_is_stopping (fill)) {
    if (take_fault (fill, &page))
      serve_page (fill, page, buffer);
    else if (take_wanted (fill, &page))
      serve_wanted (fill, page, buffer);
    else if (poll (polled, G_N_ELEMENTS (polled), -1) < 0 && errno != EINTR)
      break;
  }
  return NULL;
}
