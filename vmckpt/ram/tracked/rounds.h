/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a live capture goes on after a scan has told what the guest wrote: a pure decision from
 * measured rates, without state and without effects.
 *
 * What is copied into memory is copied fast, but there is little of that; what is copied into the
 * store is hashed and compressed on the way, at a tenth of the speed. While a round copies, the
 * guest writes; rounds make sense as long as each leaves clearly less than it found.
 */
#pragma once

#include <glib.h>

/* Memory for pages that wait for the store until the guest runs again. */
#define ROUNDS_BUFFER_BYTES (64ull << 20)

/* Where the guest stands still until its pages are durable, this much may be left for then. */
#define ROUNDS_STANDING_BYTES (1ull << 20)

/* Time in the pause that copying the last pages may take without another round. */
#define ROUNDS_GOAL_S 0.001

/* Beyond this, pages are copied before they are written to instead of all in the pause. */
#define ROUNDS_PATIENCE_S 0.010

#define ROUNDS_MAX 12

typedef enum {
  ROUND_TO_STORE,  /* copy what was found into the store, then scan again */
  ROUND_TO_MEMORY, /* copy what was found into memory, then scan again */
  ROUND_LAST,      /* copy what was found into memory, then stop the guest at once */
  ROUND_STOP,      /* stop the guest now; what was found is copied into the store meanwhile */
  ROUND_STOP_COPY_BEFORE_WRITE, /* stop it, protect what was found, and copy it after resuming */
} RoundStep;

/* Why the rounds end (or go on). */
typedef enum {
  ROUNDS_GO_ON,
  ROUNDS_FEW_PAGES_LEFT,
  ROUNDS_NOT_SHRINKING, /* the guest writes about as fast as is copied */
  ROUNDS_TOO_MANY,      /* ROUNDS_MAX were made */
  ROUNDS_FORCED,        /* by the environment, for tests */
} RoundsReason;

/* Text for people: "few pages are left". */
const char *rounds_reason_text (RoundsReason reason);

/* What is known after a scan. Rates are bytes per second; 0: not measured yet. */
typedef struct {
  guint64 found_bytes;        /* pages to copy: written since they were last copied */
  double write_rate;          /* of the guest: distinct pages newly written */
  double store_rate;          /* copying into the store */
  double memory_rate;         /* copying into memory */
  guint64 buffered_bytes;     /* in memory already */
  guint rounds;               /* made so far */
  gboolean copy_before_write; /* the host can do it */
  /* The guest goes on only when all is durable: what waits in memory makes its pause longer. */
  gboolean until_durable;
  guint64 former_bytes; /* found in the round before; 0: there was none */
} RoundsInput;

typedef struct {
  RoundStep step;
  RoundsReason reason;
  guint64 rest_bytes; /* expected to be written anew while @step copies */
} RoundsDecision;

RoundsDecision rounds_decide (const RoundsInput *input);
