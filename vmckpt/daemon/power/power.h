/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The guests of this host before and after the power goes: several at a time, in an order, within
 * bounds (vmckpt/policy/power-plan.h).
 */
#pragma once

#include "request.h"

#include <vmckpt/policy/power-plan.h>

/* What becomes of a guest that cannot be saved. */
typedef enum {
  POWER_LEAVE,    /* it runs on */
  POWER_SHUTDOWN, /* it is asked to shut down: by its agent, or else by ACPI */
} PowerFallback;

typedef struct {
  const char *driver; /* (nullable): only guests of that one */
  PowerOrder order;
  guint parallel;       /* 0: as many as there are processors, two at least */
  guint64 memory_limit; /* 0: half of what the host has available */
  guint64 rate;         /* bytes per second to plan with; 0: what is measured */
  gint64 deadline_us;   /* from the beginning; 0: none */
  PowerFallback fallback;
  const char *tag;  /* (nullable) */
  const char *note; /* (nullable) */
} PowerSuspend;

/**
 * power_suspend_all:
 *
 * Suspends every guest that is here into the store that @request names, as one set. What became of
 * each is a line of type "guest". Guests are saved until a part of the deadline is left for what
 * follows then: a quarter, 30 s at most, to shut down those that were not saved; a tenth, 5 s at
 * most, to let them run. Whoever is being saved then is rolled back, and runs.
 *
 * Returns: the API's result; NULL with @error only if nothing could be begun, or the request was
 * cancelled: guests that are suspended by then stay so, all others run.
 */
JsonObject *power_suspend_all (Request *request, const PowerSuspend *wish, GError **error);

typedef struct {
  const char *driver; /* (nullable): only guests of that one */
  PowerOrder order;
  guint parallel;        /* 0: as many as there are processors, two at least */
  gint64 start_delay_us; /* between one guest's beginning and the next one's, at least */
  gboolean last, lost;   /* SuspendedWish */
  gboolean sync_time;
  gboolean take_over;
} PowerResume;

/**
 * power_resume_all:
 *
 * Brings guests back from the store that @request names. What became of each is a line of type
 * "guest"; that one fails does not stop the others. When the CPUs of all run, their memory is read
 * in the background.
 *
 * Returns: as power_suspend_all().
 */
JsonObject *power_resume_all (Request *request, const PowerResume *wish, GError **error);

/* A time of the body, such as "5s", or "0"; absent or null leaves @us as it is. API_USAGE. */
gboolean power_parse_time (Request *request, const char *member, gint64 *us, GError **error);

/* How many guests at a time, if nobody says. */
guint power_default_parallel (void);
