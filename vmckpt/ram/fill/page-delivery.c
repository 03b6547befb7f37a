/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "page-delivery.h"

#include <vmckpt/store/page-map.h>
#include <vmckpt/util/fd.h>

#include <errno.h>
#include <linux/userfaultfd.h>
#include <stdatomic.h>
#include <sys/ioctl.h>

/* How long a range may be between two registrations. */
#define REGISTER_PATIENCE_US G_USEC_PER_SEC

#define AWAIT_STEP_US 20

static const guint8 zeros[PAGE_SIZE_BYTES];

void
page_delivery_init (PageDelivery *delivery)
{
  delivery->taken = g_malloc0 ((delivery->pages / 64 + 1) * sizeof *delivery->taken);
  delivery->gone = FALSE;
}

void
page_delivery_clear (PageDelivery *delivery)
{
  g_free ((void *)delivery->taken);
  delivery->taken = NULL;
}

guint64
page_delivery_count_present (const PageDelivery *delivery)
{
  guint64 count = 0;

  for (guint64 word = 0; word < (delivery->pages + 63) / 64; word++)
    count += __builtin_popcountll (delivery->present[word]);
  return count;
}

static guint64
bit_of (guint64 page)
{
  return G_GUINT64_CONSTANT (1) << page % 64;
}

void
page_delivery_set_present (PageDelivery *delivery, guint64 first, guint64 count)
{
  for (guint64 page = first; page < first + count; page++)
    atomic_fetch_or (&delivery->present[page / 64], bit_of (page));
}

gboolean
page_delivery_claim (PageDelivery *delivery, guint64 page)
{
  return !page_delivery_is_present (delivery, page) &&
         (atomic_fetch_or (&delivery->taken[page / 64], bit_of (page)) & bit_of (page)) == 0;
}

static void
unclaim (PageDelivery *delivery, guint64 first, guint64 count)
{
  for (guint64 page = first; page < first + count; page++)
    atomic_fetch_and (&delivery->taken[page / 64], ~bit_of (page));
}

static guint64
address_of (const PageDelivery *delivery, guint64 page)
{
  return delivery->address + page * PAGE_SIZE_BYTES;
}

static void
wake (const PageDelivery *delivery, guint64 page)
{
  struct uffdio_range range = { address_of (delivery, page), PAGE_SIZE_BYTES };

  ioctl (delivery->uffd, UFFDIO_WAKE, &range);
}

void
page_delivery_wake_all (const PageDelivery *delivery)
{
  struct uffdio_range range = { delivery->address, delivery->pages * PAGE_SIZE_BYTES };

  ioctl (delivery->uffd, UFFDIO_WAKE, &range);
}

/* One UFFDIO_COPY: how many pages are there now, at least one; -1 with errno. */
static gint64
copy_some (const PageDelivery *delivery, guint64 page, guint64 count, const guint8 *data)
{
  struct uffdio_copy copy = {
    .dst = address_of (delivery, page),
    .src = (guintptr)data,
    .len = count * PAGE_SIZE_BYTES,
    .mode = delivery->protect ? UFFDIO_COPY_MODE_WP : 0,
  };
  gint64 deadline = g_get_monotonic_time() + REGISTER_PATIENCE_US;

  for (;;) {
    copy.copy = 0;
    if (ioctl (delivery->uffd, UFFDIO_COPY, &copy) == 0)
      return count;
    if (copy.copy > 0)
      return copy.copy / PAGE_SIZE_BYTES;
    if (errno == EEXIST) {
      /* It came by the hand of a former daemon, or was touched in some other way; its waiters may
       * not know yet. */
      wake (delivery, page);
      return 1;
    }
    /* A long run of zeros is taken out and registered anew at the end (fill-areas.c): who serves a
     * fault in it at that moment finds nothing registered. */
    if (errno == ENOENT && g_get_monotonic_time() > deadline)
      return -1;
    if (errno != EAGAIN && errno != EINTR && errno != ENOENT)
      return -1;
    g_thread_yield(); /* the address space is just changing */
  }
}

/* FALSE with @error if the kernel refuses; *@done says how many pages are there all the same. */
static gboolean
copy_pages (PageDelivery *delivery, guint64 first, guint64 count, const guint8 *data, guint64 *done,
            GError **error)
{
  for (*done = 0; *done < count;) {
    gint64 n = copy_some (delivery, first + *done, count - *done, data + *done * PAGE_SIZE_BYTES);
    if (n < 0) {
      if (errno == ESRCH)
        delivery->gone = TRUE;
      return fd_set_errno_error (
          error, "putting page %" G_GUINT64_FORMAT " into the guest's memory", first + *done);
    }
    *done += n;
  }
  return TRUE;
}

static gboolean
was_discarded (const PageDelivery *delivery, guint64 page)
{
  return delivery->discarded != NULL && page_bits_test (delivery->discarded, page);
}

/* Puts claimed pages, all of one kind. */
static gboolean
put_claimed (PageDelivery *delivery, guint64 first, guint64 count, const guint8 *data,
             GError **error)
{
  guint64 done;
  gboolean good = copy_pages (delivery, first, count, data, &done, error);

  page_delivery_set_present (delivery, first, done);
  unclaim (delivery, first + done, count - done);
  if (delivery->delivered != NULL && done > 0)
    delivery->delivered (first, done, delivery->user_data);
  return good;
}

gboolean
page_delivery_put (PageDelivery *delivery, guint64 first, guint64 count, const guint8 *data,
                   const gboolean *leave, GError **error)
{
  for (guint64 i = 0; i < count;) {
    guint64 end = i;
    while (end < count && (leave == NULL || !leave[end]) &&
           !was_discarded (delivery, first + end) && page_delivery_claim (delivery, first + end))
      end++;
    if (end > i && !put_claimed (delivery, first + i, end - i, data + i * PAGE_SIZE_BYTES, error))
      return FALSE;
    /* What ended the run. */
    if (end < count && (leave == NULL || !leave[end]) && was_discarded (delivery, first + end) &&
        page_delivery_claim (delivery, first + end) &&
        !put_claimed (delivery, first + end, 1, zeros, error))
      return FALSE;
    i = end + 1;
  }
  return TRUE;
}

gboolean
page_delivery_put_zeros (PageDelivery *delivery, guint64 page, GError **error)
{
  guint64 done;

  if (!copy_pages (delivery, page, 1, zeros, &done, error))
    return FALSE;
  if (delivery->delivered != NULL)
    delivery->delivered (page, 1, delivery->user_data);
  return TRUE;
}

gboolean
page_delivery_await (PageDelivery *delivery, guint64 page)
{
  while (!page_delivery_is_present (delivery, page)) {
    if (!page_bits_test (delivery->taken, page))
      return page_delivery_is_present (delivery, page);
    g_usleep (AWAIT_STEP_US);
  }
  return TRUE;
}
