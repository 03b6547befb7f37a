/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tables of rates and what a live capture does then. */
#include "rounds.h"

#define MIB (1ull << 20)

typedef struct {
  const char *what;
  RoundsInput input; /* bytes and rates in MiB */
  RoundStep step;
  RoundsReason reason;
} Case;

/* found, write, store, memory, buffered, rounds, copy-before-write */
static const Case cases[] = {
  { "nothing was written", { 0, 0, 0, 0, 0, 0, FALSE }, ROUND_LAST, ROUNDS_FEW_PAGES_LEFT },
  { "a second of 20 MiB/s, but that is not known",
    { 20, 0, 0, 0, 0, 0, TRUE },
    ROUND_TO_MEMORY,
    ROUNDS_GO_ON },
  { "a second of 20 MiB/s, copying not measured yet",
    { 20, 20, 0, 0, 0, 0, TRUE },
    ROUND_TO_MEMORY,
    ROUNDS_GO_ON },
  { "the same, measured", { 20, 20, 0, 1000, 0, 0, TRUE }, ROUND_LAST, ROUNDS_FEW_PAGES_LEFT },
  { "all of a large guest, nothing known of its writes",
    { 6144, 0, 0, 0, 0, 0, TRUE },
    ROUND_TO_STORE,
    ROUNDS_GO_ON },
  { "writes shrink with each round through the store",
    { 1000, 20, 200, 1000, 0, 1, TRUE },
    ROUND_TO_STORE,
    ROUNDS_GO_ON },
  { "after a long round little is left, which memory takes",
    { 30, 20, 200, 1000, 0, 2, TRUE },
    ROUND_LAST,
    ROUNDS_FEW_PAGES_LEFT },
  { "200 MiB/s against 150 MiB/s of the store: copied before it is written",
    { 900, 200, 150, 1000, 0, 1, TRUE },
    ROUND_STOP_COPY_BEFORE_WRITE,
    ROUNDS_NOT_SHRINKING },
  { "the same where that cannot be",
    { 900, 200, 150, 1000, 0, 1, FALSE },
    ROUND_STOP,
    ROUNDS_NOT_SHRINKING },
  { "200 MiB/s, but few pages: memory catches up",
    { 30, 200, 150, 1000, 0, 1, TRUE },
    ROUND_TO_MEMORY,
    ROUNDS_GO_ON },
  { "the guest writes the same 8 MiB faster than memory is copied",
    { 8, 2000, 150, 1000, 0, 3, FALSE },
    ROUND_LAST,
    ROUNDS_NOT_SHRINKING },
  { "and more of it than a pause should copy",
    { 30, 2000, 150, 1000, 0, 3, TRUE },
    ROUND_STOP_COPY_BEFORE_WRITE,
    ROUNDS_NOT_SHRINKING },
  { "memory is nearly full: the store takes it",
    { 20, 200, 400, 1000, 30, 4, TRUE },
    ROUND_TO_STORE,
    ROUNDS_GO_ON },
  { "rounds are not endless",
    { 900, 60, 150, 1000, 0, ROUNDS_MAX - 1, FALSE },
    ROUND_STOP,
    ROUNDS_TOO_MANY },
};

static void
test_table (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    RoundsInput input = cases[i].input;
    input.found_bytes *= MIB;
    input.buffered_bytes *= MIB;
    input.write_rate *= MIB;
    input.store_rate *= MIB;
    input.memory_rate *= MIB;
    RoundsDecision decision = rounds_decide (&input);
    g_test_message ("%s: step %d, %s", cases[i].what, decision.step,
                    rounds_reason_text (decision.reason));
    g_assert_cmpint (decision.step, ==, cases[i].step);
    g_assert_cmpint (decision.reason, ==, cases[i].reason);
  }
}

/* A guest of @ram bytes that writes @rate bytes per second at random. Returns the bytes copied in
 * the pause. */
static double
simulate (double ram, double rate, double store, double memory, RoundsDecision *last)
{
  RoundsInput input = { .found_bytes = ram };
  double buffered = 0;

  for (;;) {
    g_assert_cmpuint (input.rounds, <=, ROUNDS_MAX);
    *last = rounds_decide (&input);
    double took = input.found_bytes / (last->step == ROUND_TO_STORE ? store : memory);
    if (last->step == ROUND_STOP)
      return input.found_bytes;
    if (last->step == ROUND_LAST)
      return MIN (ram, rate * took);
    buffered = last->step == ROUND_TO_STORE ? 0 : buffered + input.found_bytes;
    g_assert_cmpfloat (buffered, <=, ROUNDS_BUFFER_BYTES);
    input = (RoundsInput){ .found_bytes = MIN (ram, rate * took),
                           .write_rate = rate,
                           .store_rate = store,
                           .memory_rate = memory,
                           .buffered_bytes = buffered,
                           .rounds = input.rounds + 1 };
  }
}

/* Whatever the size, a guest that writes slower than the store takes ends with little to copy. */
static void
test_converges (void)
{
  static const double sizes[] = { 512, 2048, 8192, 65536 };
  static const double rates[] = { 0, 1, 20, 60 };
  RoundsDecision last;

  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++)
    for (guint j = 0; j < G_N_ELEMENTS (rates); j++) {
      double rest = simulate (sizes[i] * MIB, rates[j] * MIB, 150.0 * MIB, 1000.0 * MIB, &last);
      g_assert_cmpint (last.reason, ==, ROUNDS_FEW_PAGES_LEFT);
      g_assert_cmpfloat (rest / (1000.0 * MIB), <=, ROUNDS_GOAL_S);
    }
  simulate (8192.0 * MIB, 400.0 * MIB, 150.0 * MIB, 1000.0 * MIB, &last);
  g_assert_cmpint (last.step, ==, ROUND_STOP);
  g_assert_cmpint (last.reason, ==, ROUNDS_NOT_SHRINKING);
}

/* A guest that stands until all is durable: nothing waits in memory, and rounds go on as long as
 * each leaves clearly less than the one before. */
static void
test_until_durable (void)
{
  static const struct {
    double found, former; /* MiB */
    guint rounds;
    RoundStep step;
    RoundsReason reason;
  } rows[] = {
    { 0.5, 0, 0, ROUND_STOP, ROUNDS_FEW_PAGES_LEFT },
    { 20, 0, 0, ROUND_TO_STORE, ROUNDS_GO_ON },
    { 6, 20, 1, ROUND_TO_STORE, ROUNDS_GO_ON },
    { 1, 6, 2, ROUND_STOP, ROUNDS_FEW_PAGES_LEFT },
    { 5, 6, 2, ROUND_STOP, ROUNDS_NOT_SHRINKING },
    { 100, 1000, ROUNDS_MAX, ROUND_STOP, ROUNDS_TOO_MANY },
  };

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
    const RoundsInput input = { .found_bytes = rows[i].found * MIB,
                                .former_bytes = rows[i].former * MIB,
                                .rounds = rows[i].rounds,
                                .until_durable = TRUE };
    RoundsDecision decision = rounds_decide (&input);
    g_assert_cmpint (decision.step, ==, rows[i].step);
    g_assert_cmpint (decision.reason, ==, rows[i].reason);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/rounds/table", test_table);
  g_test_add_func ("/rounds/converges", test_converges);
  g_test_add_func ("/rounds/until-durable", test_until_durable);
  return g_test_run();
}
