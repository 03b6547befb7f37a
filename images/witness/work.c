/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A worker takes pages of its memory at random, computes a sum over each, and compares it with what
 * it was. It writes nothing and calls nobody, so what slows it down is the host. */
#include "work.h"

#include "pattern.h"
#include "say.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { PAGE = 4096, WORDS = PAGE / 8, PAGES_PER_MIB = 256, BATCH = 16 };

static uint64_t
page_sum (const uint64_t *page)
{
  uint64_t sum = 0;

  for (unsigned i = 0; i < WORDS; i++)
    sum = (sum << 7 | sum >> 57) + (page[i] ^ i);
  return sum;
}

/* Half of each page is random, the other half small numbers. */
static void
page_fill (uint64_t *page, uint64_t number)
{
  for (unsigned i = 0; i < WORDS; i++)
    page[i] = i < WORDS / 2 ? pattern_word (number, i) : i;
}

static void
worker_run (Cell *cell, uint64_t mib, _Atomic uint64_t *done, bool last)
{
  uint64_t n_pages = mib * PAGES_PER_MIB;
  uint64_t (*pages)[WORDS] = mmap (NULL, n_pages * PAGE, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  uint64_t *sums = calloc (n_pages, sizeof *sums);

  CELL_REQUIRE (cell, pages != MAP_FAILED && sums, "a worker cannot have its memory: %s",
                strerror (errno));
  for (uint64_t i = 0; i < n_pages; i++) {
    page_fill (pages[i], i);
    sums[i] = page_sum (pages[i]);
  }
  if (last)
    say ("work ready %" PRIu64 " MiB", mib);
  for (uint64_t turn = 0;; turn++) {
    for (unsigned i = 0; i < BATCH; i++) {
      uint64_t number = pattern_word (turn, i) % n_pages;
      CELL_REQUIRE (cell, page_sum (pages[number]) == sums[number],
                    "page %" PRIu64 " of a worker has changed", number);
    }
    atomic_fetch_add (done, BATCH);
  }
}

void
work_start (Work *work, uint64_t mib, unsigned workers, Slot *slot)
{
  Cell cell = { .slot = slot };

  *work = (Work){ 0 };
  if (mib == 0 || workers == 0)
    return;
  work->done = mmap (NULL, WORKERS_MAX * sizeof *work->done, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (work->done == MAP_FAILED) {
    work->done = NULL;
    cell_fail (&cell, "workers cannot have memory: %s", strerror (errno));
    return;
  }
  for (unsigned i = 0; i < workers; i++) {
    pid_t pid = fork();
    if (pid == 0) {
      prctl (PR_SET_PDEATHSIG, SIGKILL);
      worker_run (&cell, mib, &work->done[i], i + 1 == workers);
      _exit (1);
    }
    if (pid < 0)
      cell_fail (&cell, "a worker cannot start: %s", strerror (errno));
    else
      work->pids[work->workers++] = pid;
  }
}

uint64_t
work_done (const Work *work)
{
  uint64_t sum = 0;

  for (unsigned i = 0; work->done && i < work->workers; i++)
    sum += atomic_load (&work->done[i]);
  return sum;
}

void
work_rest (const Work *work, bool rest)
{
  for (unsigned i = 0; i < work->workers; i++)
    kill (work->pids[i], rest ? SIGSTOP : SIGCONT);
  say (rest ? "work rests" : "work goes on");
}

void
work_end (Work *work)
{
  for (unsigned i = 0; i < work->workers; i++)
    kill (work->pids[i], SIGKILL);
  work->workers = 0;
}
