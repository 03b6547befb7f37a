/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Instants on the clock of a time zone, whatever a foreign manifest says. */
#pragma once

#include <glib.h>

/* 9998-12-31: GLib's calendar ends a year later. */
#define LOCAL_TIME_MAX_US (G_GINT64_CONSTANT (253370678400) * G_USEC_PER_SEC)

/* @time_us (microseconds since 1970) in @zone; times before 1970 and beyond 9998 are taken for
 * those. */
static inline GDateTime *
local_time (gint64 time_us, GTimeZone *zone)
{
  gint64 us = CLAMP (time_us, 0, LOCAL_TIME_MAX_US);
  g_autoptr (GDateTime) utc = g_date_time_new_from_unix_utc (us / G_USEC_PER_SEC);
  g_autoptr (GDateTime) exact = g_date_time_add (utc, us % G_USEC_PER_SEC);
  return g_date_time_to_timezone (exact, zone);
}
