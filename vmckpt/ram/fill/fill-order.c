/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fill-order.h"

#include <string.h>

#define MAGIC "VMCT"
#define VERSION 1
#define HEADER_BYTES 6

struct _FillOrder {
  guint64 windows;
  guint8 *seen; /* a bit for each window */
  GArray *runs; /* of FillRun */
};

FillOrder *
fill_order_new (guint64 windows)
{
  FillOrder *order = g_new0 (FillOrder, 1);

  order->windows = windows;
  order->seen = g_malloc0 (windows / 8 + 1);
  order->runs = g_array_new (FALSE, FALSE, sizeof (FillRun));
  return order;
}

void
fill_order_free (FillOrder *order)
{
  if (order == NULL)
    return;
  g_free (order->seen);
  g_array_unref (order->runs);
  g_free (order);
}

void
fill_order_touch (FillOrder *order, guint64 window)
{
  FillRun *last =
      order->runs->len > 0 ? &g_array_index (order->runs, FillRun, order->runs->len - 1) : NULL;

  if (window >= order->windows || (order->seen[window / 8] >> window % 8 & 1) ||
      order->runs->len >= FILL_ORDER_MAX_RUNS)
    return;
  order->seen[window / 8] |= 1 << window % 8;
  if (last != NULL && last->first + last->count == window) {
    last->count++;
    return;
  }
  const FillRun run = { window, 1 };
  g_array_append_val (order->runs, run);
}

static void
add_number (GByteArray *bytes, guint64 number)
{
  do {
    guint8 byte = (number & 0x7f) | (number > 0x7f ? 0x80 : 0);
    g_byte_array_append (bytes, &byte, 1);
    number >>= 7;
  } while (number > 0);
}

GBytes *
fill_order_to_bytes (const FillOrder *order)
{
  static const guint8 tail[] = { VERSION, FILL_WINDOW_BITS };
  GByteArray *bytes;
  guint64 end = 0;

  if (order->runs->len == 0)
    return NULL;
  bytes = g_byte_array_new();
  g_byte_array_append (bytes, (const guint8 *)MAGIC, 4);
  g_byte_array_append (bytes, tail, sizeof tail);
  for (guint i = 0; i < order->runs->len; i++) {
    const FillRun *run = &g_array_index (order->runs, FillRun, i);
    guint64 far = run->first - end; /* two's complement */
    add_number (bytes, far << 1 ^ (far >> 63 != 0 ? G_MAXUINT64 : 0));
    add_number (bytes, run->count - 1);
    end = run->first + run->count;
  }
  return g_byte_array_free_to_bytes (bytes);
}

/* The next number; FALSE at the end or if it is none of 64 bits. */
static gboolean
take_number (const guint8 **at, const guint8 *end, guint64 *number)
{
  *number = 0;
  for (guint shift = 0; *at < end && shift < 64; shift += 7) {
    guint8 byte = *(*at)++;
    if (shift == 63 && byte > 1)
      return FALSE;
    *number |= (guint64)(byte & 0x7f) << shift;
    if (!(byte & 0x80))
      return TRUE;
  }
  return FALSE;
}

static GArray *
refuse (const char *what, GError **error)
{
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "the order of first touches %s", what);
  return NULL;
}

GArray *
fill_order_parse (GBytes *bytes, guint64 windows, GError **error)
{
  g_autoptr (GArray) runs = g_array_new (FALSE, FALSE, sizeof (FillRun));
  gsize len;
  const guint8 *at = g_bytes_get_data (bytes, &len), *end = at + len;
  guint64 place = 0, left = windows, far, count;

  if (len < HEADER_BYTES || len > FILL_ORDER_MAX_BYTES || memcmp (at, MAGIC, 4) != 0)
    return refuse ("is garbled", error);
  if (at[4] != VERSION || at[5] != FILL_WINDOW_BITS)
    return refuse ("is of another version", error);
  for (at += HEADER_BYTES; at < end;) {
    if (!take_number (&at, end, &far) || !take_number (&at, end, &count))
      return refuse ("is cut or garbled", error);
    place += far >> 1 ^ ((far & 1) != 0 ? G_MAXUINT64 : 0);
    if (place >= windows || count >= windows - place)
      return refuse ("names windows beyond the guest's memory", error);
    /* Else a few bytes could make whoever follows it look at all windows over and over. */
    if (count >= left)
      return refuse ("names windows more than once", error);
    left -= count + 1;
    const FillRun run = { place, count + 1 };
    g_array_append_val (runs, run);
    place += count + 1;
  }
  return g_steal_pointer (&runs);
}
