/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every page says which page it is and how often it was written, and carries a checksum:
 *
 *   word 0   number of the page
 *   word 1   generation: 1 after the fill, one more with each rewrite
 *   word 2   checksum of all other words; the generation only adds to it, so that a page can be
 *            touched, written in its first words alone, and is valid again
 *   word 3…  random words, then zeros (as many as the compressibility asks for)
 *
 * The generation each page must have is kept apart, so that a page rolled back as a whole shows. */
#include "load.h"

#include "pattern.h"
#include "say.h"
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { PAGE = 4096, WORDS = PAGE / 8, HEADER = 3, PAGES_PER_MIB = 256, TICK_MS = 50 };

typedef struct {
  const LoadOptions *options;
  Cell cell; /* for cell_fail() */
  uint64_t (*pages)[WORDS];
  uint32_t *generations;
  uint64_t n_pages;
  uint64_t random;
  uint64_t swept;
} Memory;

typedef struct {
  enum { REQUEST_WRITE, REQUEST_VERIFY } kind;
  uint64_t mib;
} Request;

static uint64_t
next_random (uint64_t *state)
{
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

static uint64_t
page_checksum (const uint64_t *page)
{
  uint64_t sum = page[0] * 3;

  for (unsigned i = HEADER; i < WORDS; i++)
    sum = (sum << 7 | sum >> 57) + (page[i] ^ i);
  return sum + page[1];
}

/* Writes the next generation of page @number. */
static void
page_write (Memory *memory, uint64_t number)
{
  uint64_t *page = memory->pages[number];
  uint64_t generation = ++memory->generations[number];
  uint64_t state = pattern_word (memory->options->seed, number << 24 ^ generation) | 1;
  unsigned filled = HEADER + (unsigned)((WORDS - HEADER) * (100 - memory->options->compress) / 100);

  page[0] = number;
  page[1] = generation;
  for (unsigned i = HEADER; i < filled; i++)
    page[i] = next_random (&state);
  if (generation == 1)
    memset (page + filled, 0, (WORDS - filled) * 8);
  page[2] = page_checksum (page);
}

/* Makes page @number its next generation by its header alone. */
static void
page_touch (Memory *memory, uint64_t number)
{
  uint64_t *page = memory->pages[number];

  memory->generations[number]++;
  page[1]++;
  page[2]++;
}

static void
page_verify (Memory *memory, uint64_t number)
{
  const uint64_t *page = memory->pages[number];
  Cell *cell = &memory->cell;

  atomic_fetch_add (&cell->slot->count, 1);
  CELL_REQUIRE (cell, page[0] == number, "page %" PRIu64 " says it is %" PRIu64, number, page[0]);
  CELL_REQUIRE (cell, page[1] == memory->generations[number],
                "page %" PRIu64 " is of generation %" PRIu64 ", not %" PRIu32, number, page[1],
                memory->generations[number]);
  CELL_REQUIRE (cell, page[2] == page_checksum (page), "page %" PRIu64 " has a wrong checksum",
                number);
}

static void
memory_fill (Memory *memory)
{
  memory->n_pages = memory->options->fill_mib * PAGES_PER_MIB;
  memory->pages = mmap (NULL, memory->n_pages * PAGE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  memory->generations = mmap (NULL, memory->n_pages * sizeof *memory->generations,
                              PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CELL_REQUIRE (&memory->cell, memory->pages != MAP_FAILED && memory->generations != MAP_FAILED,
                "cannot have the memory: %s", strerror (errno));
  for (uint64_t i = 0; i < memory->n_pages; i++) {
    page_write (memory, i);
    atomic_fetch_add (&memory->cell.slot->count, 1);
  }
  say ("load filled %" PRIu64 " MiB", memory->options->fill_mib);
}

static void
memory_rewrite_random (Memory *memory, uint64_t n)
{
  for (uint64_t i = 0; i < n; i++) {
    uint64_t number = next_random (&memory->random) % memory->n_pages;
    page_verify (memory, number);
    page_write (memory, number);
  }
}

static void
memory_touch_random (Memory *memory, uint64_t n)
{
  for (uint64_t i = 0; i < n; i++)
    page_touch (memory, next_random (&memory->random) % memory->n_pages);
}

static void
memory_sweep (Memory *memory, uint64_t n)
{
  for (uint64_t i = 0; i < n; i++)
    page_verify (memory, memory->swept++ % memory->n_pages);
}

/* Rewrites @n distinct pages, spread over the whole memory and elsewhere each time. */
static void
memory_rewrite_distinct (Memory *memory, uint64_t n)
{
  uint64_t first = next_random (&memory->random) % memory->n_pages;

  for (uint64_t i = 0; i < n; i++) {
    /* i * n_pages / n grows by at least one with each i, so no page comes twice. */
    uint64_t number = (first + i * memory->n_pages / n) % memory->n_pages;
    page_verify (memory, number);
    page_write (memory, number);
  }
}

static void
memory_answer (Memory *memory, Request request)
{
  uint64_t pages = request.mib * PAGES_PER_MIB;

  if (request.kind == REQUEST_VERIFY) {
    memory_sweep (memory, memory->n_pages);
    if (!cell_failed (&memory->cell))
      say ("load verified %" PRIu64 " MiB", memory->options->fill_mib);
  } else if (request.mib > memory->options->fill_mib) {
    say ("load refused %" PRIu64 " MiB: only %" PRIu64 " are filled", request.mib,
         memory->options->fill_mib);
  } else {
    memory_rewrite_distinct (memory, pages);
    say ("load wrote %" PRIu64 " MiB", request.mib);
  }
}

/* Flips one bit in every 64th page, as a faulty restore might. */
static void
memory_damage (Memory *memory)
{
  for (uint64_t i = 0; i < memory->n_pages; i += 64)
    memory->pages[i][WORDS / 2] ^= 1;
}

/* Rewrites and sweeps as much as the rates ask for, and answers requests; never ends. */
static void
memory_serve (Memory *memory, int requests)
{
  const LoadOptions *options = memory->options;
  uint64_t last = clock_ms();

  for (;;) {
    struct pollfd ready = { .fd = requests, .events = POLLIN };
    Request request;

    if (poll (&ready, 1, TICK_MS) > 0) {
      if (!read_full (requests, &request, sizeof request))
        _exit (0);
      memory_answer (memory, request);
    }
    if (atomic_exchange (&memory->cell.slot->break_me, 0))
      memory_damage (memory);
    uint64_t now = clock_ms();
    uint64_t passed =
        now - last < 1000 ? now - last : 1000; /* work missed for long is not made up */
    last = now;
    memory_rewrite_random (memory, options->dirty_mib_s * PAGES_PER_MIB * passed / 1000);
    memory_touch_random (memory, options->touch_mib_s * PAGES_PER_MIB * passed / 1000);
    memory_sweep (memory, options->sweep_mib_s * PAGES_PER_MIB * passed / 1000);
    atomic_fetch_add (&memory->cell.slot->count, 1);
  }
}

/* The kernel shall end this process, not another one, when memory runs out. */
static void
offer_to_oom (void)
{
  int fd = open ("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

  if (fd >= 0) {
    (void)write_full (fd, "1000", 4);
    close (fd);
  }
}

void
load_start (Load *load, const LoadOptions *options, Slot *slot)
{
  static Memory memory;
  int requests[2];

  *load = (Load){ .slot = slot };
  memory = (Memory){ .options = options, .cell.slot = slot, .random = options->seed * 2 + 1 };
  if (options->fill_mib == 0)
    return;
  load->pid = pipe (requests) == 0 ? fork() : -1;
  if (load->pid < 0) {
    cell_fail (&memory.cell, "cannot start: %s", strerror (errno));
    load->pid = 0;
    return;
  }
  if (load->pid == 0) {
    prctl (PR_SET_PDEATHSIG, SIGKILL);
    close (requests[1]);
    offer_to_oom();
    memory_fill (&memory);
    memory_serve (&memory, requests[0]);
  }
  close (requests[0]);
  load->to = requests[1];
}

static void
load_request (const Load *load, Request request)
{
  if (load->pid == 0)
    say ("load refused: no memory is filled");
  else
    (void)write_full (load->to, &request, sizeof request);
}

void
load_request_write (const Load *load, uint64_t mib)
{
  load_request (load, (Request){ .kind = REQUEST_WRITE, .mib = mib });
}

void
load_request_verify (const Load *load)
{
  load_request (load, (Request){ .kind = REQUEST_VERIFY });
}
