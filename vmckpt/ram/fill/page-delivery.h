/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Putting pages into memory that is registered with a userfaultfd: each page of the checkpoint is
 * put exactly once, however many threads read it and whatever the guest does meanwhile.
 *
 *   free ──claim──▶ taken ──UFFDIO_COPY──▶ taken and present
 *
 * That a page is put only once is what makes discards right: a page that is present and missing
 * again was given back by the guest after it had been put, so it gets zeros, and no thread that
 * read it long ago can still put what it was.
 */
#pragma once

#include <gio/gio.h>

typedef struct {
  int uffd;
  guint64 address;
  guint64 pages;
  gboolean protect; /* pages are put write-protected */
  _Atomic guint64 *present;
  _Atomic guint64 *discarded; /* (nullable) */
  _Atomic guint64 *taken;     /* of this process; owned */
  _Atomic gboolean gone;      /* the guest's process has ended */
  /* (nullable): told of pages that were put, or found to be there */
  void (*delivered) (guint64 first, guint64 count, gpointer user_data);
  gpointer user_data;
} PageDelivery;

/* With the members before @taken set, and the last two. */
void page_delivery_init (PageDelivery *delivery);
void page_delivery_clear (PageDelivery *delivery);

static inline gboolean
page_bits_test (_Atomic guint64 *bits, guint64 page)
{
  return (bits[page / 64] >> page % 64 & 1) != 0;
}

static inline gboolean
page_delivery_is_present (const PageDelivery *delivery, guint64 page)
{
  return page_bits_test (delivery->present, page);
}

/* Whoever waits for a page faults once more. The kernel tells each fault once: those that were told
 * to a daemon which has died since would never be heard of again. */
void page_delivery_wake_all (const PageDelivery *delivery);

/* How many pages need not come. */
guint64 page_delivery_count_present (const PageDelivery *delivery);

/* TRUE if the page is the caller's to put, or to see to otherwise. */
gboolean page_delivery_claim (PageDelivery *delivery, guint64 page);

/* These pages need not come. */
void page_delivery_set_present (PageDelivery *delivery, guint64 first, guint64 count);

/**
 * page_delivery_put:
 * @data: @count pages
 * @leave: (nullable): of each page, whether not to put it
 *
 * Puts those that are neither present nor being put by another thread; pages that were given back
 * get zeros. Wakes whoever waits for them. Any thread.
 *
 * Returns: FALSE with G_IO_ERROR if the kernel does not take them (memory is short); pages that
 * were not put may be put again then. With `gone` set the guest has ended.
 */
gboolean page_delivery_put (PageDelivery *delivery, guint64 first, guint64 count,
                            const guint8 *data, const gboolean *leave, GError **error);

/* Zeros for a page that is present, if it is missing again; wakes its waiters. */
gboolean page_delivery_put_zeros (PageDelivery *delivery, guint64 page, GError **error);

/* Waits until @page is present, if another thread is putting it just now. Returns FALSE if none is:
 * it is still to be put. */
gboolean page_delivery_await (PageDelivery *delivery, guint64 page);
