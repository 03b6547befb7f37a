/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rounds.h"

/* Until measured: what the slowest hosts do, so that the first guess errs on the safe side. */
#define ASSUMED_MEMORY_RATE (512.0 * (1 << 20))
#define ASSUMED_STORE_RATE (64.0 * (1 << 20))

/* A round that is expected to leave more than this part of what it copies is not worth it. */
#define SHRINKING 0.7

const char *
rounds_reason_text (RoundsReason reason)
{
  static const char *const texts[] = {
    [ROUNDS_GO_ON] = "copying goes on",
    [ROUNDS_FEW_PAGES_LEFT] = "few pages were left",
    [ROUNDS_NOT_SHRINKING] = "the guest writes about as fast as pages are copied",
    [ROUNDS_TOO_MANY] = "enough rounds were made",
    [ROUNDS_FORCED] = "VMCKPT_COPY_BEFORE_WRITE asks for it",
  };
  g_return_val_if_fail (reason < G_N_ELEMENTS (texts), "?");
  return texts[reason];
}

/* While nothing is known of the guest's writes, this much is copied without a look at what was
 * written meanwhile. */
#define BLIND_BYTES (4ull << 20)

/* Why no further round should follow one that copies @found and is expected to leave @rest. */
static RoundsReason
reason_to_end (const RoundsInput *input, double rest, double memory_rate)
{
  if (rest / memory_rate <= ROUNDS_GOAL_S)
    return ROUNDS_FEW_PAGES_LEFT;
  if (rest > SHRINKING * input->found_bytes)
    return ROUNDS_NOT_SHRINKING;
  if (input->rounds + 1 >= ROUNDS_MAX)
    return ROUNDS_TOO_MANY;
  return ROUNDS_GO_ON;
}

/* What was found fits into memory: the guest may be stopped right after it was copied there. */
static RoundsDecision
decide_in_memory (const RoundsInput *input, double memory_rate)
{
  double rest = input->write_rate * (input->found_bytes / memory_rate);
  RoundsReason reason = reason_to_end (input, rest, memory_rate);
  RoundsDecision decision = { ROUND_LAST, reason, (guint64)rest };

  if (input->rounds == 0 && input->write_rate <= 0 && input->found_bytes > BLIND_BYTES)
    return (RoundsDecision){ ROUND_TO_MEMORY, ROUNDS_GO_ON, 0 };
  if (reason == ROUNDS_GO_ON)
    decision.step = ROUND_TO_MEMORY;
  else if (rest / memory_rate > ROUNDS_PATIENCE_S && input->copy_before_write)
    decision.step = ROUND_STOP_COPY_BEFORE_WRITE;
  return decision;
}

/* It does not fit: the store takes it, if that leaves less. */
static RoundsDecision
decide_through_store (const RoundsInput *input, double memory_rate, double store_rate)
{
  double rest = input->write_rate * (input->found_bytes / store_rate);
  RoundsReason reason = reason_to_end (input, rest, memory_rate);
  RoundsDecision decision = { ROUND_TO_STORE, ROUNDS_GO_ON, (guint64)rest };

  if (reason == ROUNDS_GO_ON || reason == ROUNDS_FEW_PAGES_LEFT)
    return decision; /* the next scan finds little and ends it in memory */
  decision.reason = reason;
  decision.step = input->copy_before_write ? ROUND_STOP_COPY_BEFORE_WRITE : ROUND_STOP;
  return decision;
}

/* Only what is durable is out of the pause. A round is measured whole, by what the guest wrote
 * meanwhile: making it durable takes longer than copying does. */
static RoundsDecision
decide_until_durable (const RoundsInput *input)
{
  RoundsReason reason = ROUNDS_GO_ON;

  if (input->found_bytes <= ROUNDS_STANDING_BYTES)
    reason = ROUNDS_FEW_PAGES_LEFT;
  else if (input->former_bytes > 0 && input->found_bytes > SHRINKING * input->former_bytes)
    reason = ROUNDS_NOT_SHRINKING;
  else if (input->rounds >= ROUNDS_MAX)
    reason = ROUNDS_TOO_MANY;
  return (RoundsDecision){ reason == ROUNDS_GO_ON ? ROUND_TO_STORE : ROUND_STOP, reason,
                           input->found_bytes };
}

RoundsDecision
rounds_decide (const RoundsInput *input)
{
  double memory_rate = input->memory_rate > 0 ? input->memory_rate : ASSUMED_MEMORY_RATE;
  double store_rate = input->store_rate > 0 ? input->store_rate : ASSUMED_STORE_RATE;

  if (input->until_durable)
    return decide_until_durable (input);
  /* A part of the memory is kept for what is written meanwhile and copied in the pause. */
  if (input->buffered_bytes + input->found_bytes <= ROUNDS_BUFFER_BYTES / 4 * 3)
    return decide_in_memory (input, memory_rate);
  return decide_through_store (input, memory_rate, store_rate);
}
