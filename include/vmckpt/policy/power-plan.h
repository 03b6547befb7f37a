/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which guests are saved in which order before the power goes, and which cannot be in time. A model
 * of what will be, from sizes and the rate that was measured so far; asked anew as that changes.
 */
#pragma once

#include <glib.h>

typedef enum {
  POWER_ORDER_PRIORITY, /* the greatest first; of equal ones as POWER_ORDER_SIZE */
  POWER_ORDER_SIZE,     /* the one with the least left to do first; of equal ones by name */
  POWER_ORDER_NAME,
  POWER_ORDER_COUNT
} PowerOrder;

/* "priority", "size", "name", NULL. */
extern const char *const power_order_names[];

/* A guest that is still to be done. */
typedef struct {
  const char *name;
  guint priority;       /* the greater, the sooner */
  guint64 rest_bytes;   /* still to be stored before it is off */
  guint64 memory_bytes; /* of the host, which saving it takes */
  gboolean begun;       /* is being saved now */
} PowerGuest;

typedef struct {
  PowerOrder order;
  guint parallel;       /* guests at a time, 1 or more */
  guint64 memory_limit; /* of all that are being saved; one may always be */
  double rate;          /* bytes per second that the store takes from all of them; 0: not known */
  gint64 guest_us;      /* what each takes besides its bytes */
  gint64 left_us;       /* until all must be saved; G_MAXINT64: for ever */
} PowerBounds;

/* What is to become of one, in the order in which they are to be begun. */
typedef struct {
  guint index;   /* in the array of guests */
  gboolean fits; /* is saved in time, if the model is right */
  gint64 end_us; /* from now, when it will be saved; -1: not known. Of one that does not fit: when
                    it would be, together with those that do */
} PowerStep;

/**
 * power_plan:
 *
 * Guests are taken in order, and each that lets all before it be in time fits: so a guest never
 * takes another's time that comes before it, and a small one may use what a large one cannot. One
 * that is being saved is given up only if it would be late by more than a quarter of what is left,
 * since a measured rate wavers and what was stored of it would be lost.
 *
 * Returns: (transfer full) (element-type PowerStep): one for each guest.
 */
GArray *power_plan (const PowerGuest *guests, guint count, const PowerBounds *bounds);

/**
 * power_plan_next:
 * @plan: of the same guests
 *
 * Which guest is to be begun now, or -1: there is none that fits, or no room for it yet.
 */
int power_plan_next (const GArray *plan, const PowerGuest *guests, const PowerBounds *bounds);

/* ---- How fast it goes ---- */

/* Bytes per second, measured as they come; begins as zeros. */
typedef struct {
  gint64 began_us; /* when the first were counted */
  gint64 at_us;
  guint64 bytes; /* since */
  double rate;   /* of late; 0: not known yet */
} PowerMeter;

/* So much time has to be measured before anything is known. */
#define POWER_METER_MIN_US (2 * G_USEC_PER_SEC)

/* @bytes were stored in all by @now_us (monotonic), never less than before. What was lately counts
 * more than what was before. */
void power_meter_add (PowerMeter *meter, guint64 bytes, gint64 now_us);
