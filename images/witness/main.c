/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The witness: as process 1 of a guest it runs for ever; on a host, for a number of rounds. */
#include "breaks.h"
#include "console.h"
#include "report.h"
#include "say.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BREAK_ROUND = 3, BREAK_PACE_MS = 15, START_MS = 120000 };

static volatile sig_atomic_t interrupted;

static void
on_signal (int number)
{
  (void)number;
  interrupted = 1;
}

/* Reaps every process that has ended: those of the set, the load, and orphans. */
static void
reap (CellSet *set, Load *load)
{
  int status;
  pid_t pid;

  while ((pid = waitpid (-1, &status, WNOHANG)) > 0) {
    set_note_end (set, pid, status);
    if (pid == load->pid) {
      load->pid = 0;
      set_fail (set, SET_MAX, "ended; was there enough memory?");
    }
  }
}

/* Waits until every cell has passed its first check. */
static void
await_start (CellSet *set, Load *load)
{
  static const uint64_t none[SET_MAX];
  uint64_t begun = clock_ms();

  while (!set_passed (set, none, 1) && clock_ms() - begun < START_MS && !interrupted) {
    reap (set, load);
    sleep_ms (10);
  }
  for (size_t i = 0; i < set->n; i++)
    if (atomic_load (&set->slots[i].count) == 0 && !interrupted)
      set_fail (set, i, "does not start");
  say ("witness ready cells %zu", set->n);
}

/* Reports round after round; returns whether all is well at the end. */
static bool
run (CellSet *set, const Options *options)
{
  static Load load;
  static Work work;
  static Report report;
  Console console = { .open = options->guest };
  bool all_ok = true;

  load_start (&load, &options->load, &set->slots[SET_MAX]);
  work_start (&work, options->work_mib, (unsigned)options->workers, &set->slots[SET_MAX]);
  set_start (set, options);
  await_start (set, &load);
  report_init (&report);
  while (!interrupted && (options->rounds == 0 || report.round < options->rounds)) {
    uint64_t due = clock_ms() + options->report_ms;
    for (uint64_t now = clock_ms(); now < due && !interrupted; now = clock_ms()) {
      console_serve (&console, due - now, set, &load, &work);
      reap (set, &load);
    }
    all_ok = report_round (&report, set, &load);
    if (report.round == BREAK_ROUND)
      (void)set_break (set, options->broken);
  }
  if (load.pid)
    kill (load.pid, SIGKILL);
  work_end (&work);
  return all_ok;
}

static int
list (void)
{
  for (size_t i = 0; i < cell_table_size; i++)
    printf ("%-16s %s\n", cell_table[i]->name, cell_table[i]->about);
  return 0;
}

int
main (int argc, char **argv)
{
  static Options options;
  static CellSet set;
  struct sigaction action = { .sa_handler = on_signal };
  bool ok = true;

  options_init (&options);
  if (!options_from_arguments (&options, argc, argv))
    return 2;
  if (options.list)
    return list();
  if (options.guest) {
    options_from_kernel (&options);
    console_init();
  }
  if (!set_init (&set, options.guest))
    return 2;
  set_choose (&set, &options);
  sigaction (SIGINT, &action, NULL);
  sigaction (SIGTERM, &action, NULL);
  signal (SIGPIPE, SIG_IGN);
  if (strcmp (options.broken, "all-in-turn") == 0) {
    Options quick = options;
    quick.pace_ms = BREAK_PACE_MS;
    ok = breaks_in_turn (&set, &quick);
  }
  if (options.guest || options.rounds)
    ok = run (&set, &options) && ok;
  set_clear (&set);
  return ok ? 0 : 1;
}
