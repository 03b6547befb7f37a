/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fill-areas.h"

#include <vmckpt/store/page-map.h>
#include <vmckpt/util/fd.h>

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

/* Zeros that are shorter are filled in: an area costs the kernel about as much as some pages. */
#define SHORT_ZEROS 16
#define ZEROS_AT_ONCE 64

static gboolean
register_pages (const PageDelivery *delivery, guint64 first, guint64 count, guint64 mode,
                GError **error)
{
  struct uffdio_register reg = {
    .range = { delivery->address + first * PAGE_SIZE_BYTES, count * PAGE_SIZE_BYTES },
    .mode = mode,
  };

  return ioctl (delivery->uffd, UFFDIO_REGISTER, &reg) == 0 ||
         fd_set_errno_error (error,
                             "registering %" G_GUINT64_FORMAT " pages from %" G_GUINT64_FORMAT
                             " with userfaultfd",
                             count, first);
}

static gboolean
unregister_pages (const PageDelivery *delivery, guint64 first, guint64 count, GError **error)
{
  struct uffdio_range range = { delivery->address + first * PAGE_SIZE_BYTES,
                                count * PAGE_SIZE_BYTES };

  return ioctl (delivery->uffd, UFFDIO_UNREGISTER, &range) == 0 ||
         fd_set_errno_error (error, "taking pages out of userfaultfd");
}

/* ---- Before ---- */

static gboolean
has_data (const guint64 *data, guint64 stretch)
{
  return (data[stretch / 64] >> stretch % 64 & 1) != 0;
}

/* Stretches from @from on that belong to one area: data, with gaps of zeros shorter than @gap. */
static gboolean
next_data (const guint64 *data, guint64 stretches, guint64 gap, guint64 *from, guint64 *end)
{
  while (*from < stretches && !has_data (data, *from))
    ++*from;
  if (*from >= stretches)
    return FALSE;
  *end = *from + 1;
  for (guint64 at = *end; at < stretches && at - *end < gap; at++)
    if (has_data (data, at))
      *end = at + 1;
  return TRUE;
}

static guint64
count_areas (const guint64 *data, guint64 stretches, guint64 gap)
{
  guint64 count = 0;

  for (guint64 from = 0, end; next_data (data, stretches, gap, &from, &end); from = end)
    count++;
  return count;
}

gboolean
fill_areas_register (PageDelivery *delivery, const guint64 *data, GError **error)
{
  const guint64 stretches = (delivery->pages + PAGE_MAP_STRETCH - 1) / PAGE_MAP_STRETCH;
  guint64 gap = 1, done = 0;

  while (2 * count_areas (data, stretches, gap) > FILL_AREAS_MAX)
    gap *= 2;
  if (!register_pages (delivery, 0, delivery->pages, UFFDIO_REGISTER_MODE_WP, error))
    return FALSE;
  for (guint64 from = 0, end; next_data (data, stretches, gap, &from, &end); from = end) {
    guint64 first = from * PAGE_MAP_STRETCH;
    guint64 count = MIN (end * PAGE_MAP_STRETCH, delivery->pages) - first;
    if (!register_pages (delivery, first, count,
                         UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP, error))
      return FALSE;
    page_delivery_set_present (delivery, done, first - done);
    done = first + count;
  }
  page_delivery_set_present (delivery, done, delivery->pages - done);
  return TRUE;
}

gboolean
fill_areas_register_untracked (PageDelivery *delivery, GError **error)
{
  return register_pages (delivery, 0, delivery->pages, UFFDIO_REGISTER_MODE_MISSING, error);
}

/* ---- After ---- */

static gboolean
is_open (const PageDelivery *delivery, const guint64 *zero, guint64 page)
{
  return (zero[page / 64] >> page % 64 & 1) != 0 && !page_delivery_is_present (delivery, page);
}

/* The next pages that are zeros and not there. */
static gboolean
next_zeros (const PageDelivery *delivery, const guint64 *zero, guint64 *from, guint64 *end)
{
  while (*from < delivery->pages && !is_open (delivery, zero, *from))
    ++*from;
  *end = *from;
  while (*end < delivery->pages && is_open (delivery, zero, *end))
    ++*end;
  return *from < delivery->pages;
}

static guint64
count_long (const PageDelivery *delivery, const guint64 *zero, guint64 shortest)
{
  guint64 count = 0;

  for (guint64 from = 0, end; next_zeros (delivery, zero, &from, &end); from = end)
    count += end - from >= shortest;
  return count;
}

/* No longer missing: whoever touches them gets the kernel's zeros. They are not protected again,
 * since what is written between the two calls must count as written. */
static gboolean
free_zeros (PageDelivery *delivery, guint64 first, guint64 count, GError **error)
{
  if (!unregister_pages (delivery, first, count, error) ||
      !register_pages (delivery, first, count, UFFDIO_REGISTER_MODE_WP, error))
    return FALSE;
  page_delivery_set_present (delivery, first, count);
  return TRUE;
}

static gboolean
put_zeros (PageDelivery *delivery, guint64 first, guint64 count, const guint8 *zeros,
           GError **error)
{
  for (guint64 done = 0; done < count; done += ZEROS_AT_ONCE)
    if (!page_delivery_put (delivery, first + done, MIN (ZEROS_AT_ONCE, count - done), zeros, NULL,
                            error))
      return FALSE;
  return TRUE;
}

gboolean
fill_areas_settle (PageDelivery *delivery, const guint64 *zero, gboolean untracked,
                   gboolean discards, GError **error)
{
  guint64 shortest = SHORT_ZEROS;

  if (untracked)
    return TRUE;
  if (discards)
    return free_zeros (delivery, 0, delivery->pages, error);
  g_autofree guint8 *zeros = g_malloc0 (ZEROS_AT_ONCE * PAGE_SIZE_BYTES);
  while (2 * count_long (delivery, zero, shortest) > FILL_AREAS_MAX)
    shortest *= 2;
  for (guint64 from = 0, end; next_zeros (delivery, zero, &from, &end); from = end)
    if (!(end - from >= shortest ? free_zeros (delivery, from, end - from, error)
                                 : put_zeros (delivery, from, end - from, zeros, error)))
      return FALSE;
  return TRUE;
}
