/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "breaks.h"

#include "say.h"

#include <string.h>

enum { CHECKS_BEFORE = 2, CHECKS_AFTER = 3, POLL_MS = 5, PATIENCE_MS = 60000 };

/* Waits until all cells have passed @checks more checks or have failed; gives up after a time that
 * no living set needs. */
static bool
await_checks (const CellSet *set, uint64_t checks)
{
  uint64_t since[SET_MAX], begun = clock_ms();

  for (size_t i = 0; i < set->n; i++)
    since[i] = atomic_load (&set->slots[i].count);
  while (!set_passed (set, since, checks)) {
    if (clock_ms() - begun > PATIENCE_MS)
      return false;
    sleep_ms (POLL_MS);
  }
  return true;
}

/* The first failed cell other than @but, or NULL. */
static const char *
failed_other (const CellSet *set, size_t but)
{
  for (size_t i = 0; i < set->n; i++)
    if (i != but && slot_failed (&set->slots[i]))
      return set->type[i]->name;
  return NULL;
}

/* Breaks cell @index of a fresh set and tells what came of it. */
static bool
break_one (CellSet *set, size_t index)
{
  const char *name = set->type[index]->name;
  Slot *slot = &set->slots[index];

  if (!await_checks (set, CHECKS_BEFORE) || failed_other (set, SET_MAX)) {
    say ("witness break %s spoiled: %s failed before", name,
         failed_other (set, SET_MAX) ? failed_other (set, SET_MAX) : "none");
    return false;
  }
  atomic_store (&slot->break_me, 1);
  bool alive = await_checks (set, CHECKS_AFTER);
  if (!slot_failed (slot))
    say ("witness break %s missed", name);
  else if (failed_other (set, index))
    say ("witness break %s spread to %s", name, failed_other (set, index));
  else if (!alive)
    say ("witness break %s stalls others", name);
  else {
    say ("witness break %s caught: %s", name, slot->what);
    return true;
  }
  return false;
}

bool
breaks_in_turn (CellSet *set, const Options *options)
{
  size_t caught = 0;

  for (size_t i = 0; i < set->n; i++) {
    set_start (set, options);
    caught += break_one (set, i);
    set_stop (set);
  }
  say ("witness breaks caught %zu of %zu", caught, set->n);
  return caught == set->n;
}
