/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "report.h"

#include "say.h"
#include "stream.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A cell has failed if it stands still for so many rounds and so long: rounds alone would be too
 * few where they are short, time alone would blame the cells when the clock jumps. */
enum { STILL_ROUNDS = 15, STILL_MS = 15000 };

/* A round's text is collected and written at once. */
typedef struct {
  char text[(SET_MAX + 2) * (WHAT_SIZE + NAME_SIZE)];
  size_t size;
} Page;

static void page_add (Page *page, const char *format, ...) __attribute__ ((format (printf, 2, 3)));

static void
page_add (Page *page, const char *format, ...)
{
  va_list arguments;

  va_start (arguments, format);
  int length =
      vsnprintf (page->text + page->size, sizeof page->text - page->size, format, arguments);
  va_end (arguments);
  page->size += length > 0 ? (size_t)length : 0;
}

void
report_init (Report *report)
{
  memset (report, 0, sizeof *report);
  for (size_t i = 0; i <= SET_MAX; i++)
    report->still_since[i] = clock_ms();
}

static void
report_still (Report *report, CellSet *set, size_t index)
{
  uint64_t count = atomic_load (&set->slots[index].count);

  if (count != report->seen[index]) {
    report->seen[index] = count;
    report->still_rounds[index] = 0;
    report->still_since[index] = clock_ms();
    return;
  }
  if (++report->still_rounds[index] >= STILL_ROUNDS &&
      clock_ms() - report->still_since[index] >= STILL_MS)
    set_fail (set, index, "stands still");
}

/* Adds the line of one cell; returns whether it has failed. */
static bool
report_line (Report *report, CellSet *set, size_t index, const char *name, Page *page)
{
  const Slot *slot = &set->slots[index];

  report_still (report, set, index);
  if (slot_failed (slot))
    page_add (page, "witness %s FAIL %s\n", name, slot->what);
  else
    page_add (page, "witness %s ok %" PRIu64 "\n", name, atomic_load (&slot->count));
  return slot_failed (slot);
}

bool
report_round (Report *report, CellSet *set, const Load *load)
{
  static Page page;
  static char failed[(SET_MAX + 1) * NAME_SIZE];
  size_t failed_size = 0;

  page.size = 0;
  failed[0] = '\0';
  report->round++;
  for (size_t i = 0; i <= set->n; i++) {
    size_t index = i < set->n ? i : SET_MAX;
    const char *name = i < set->n ? set->type[i]->name : "load";
    if (i == set->n && load->pid == 0 && !slot_failed (load->slot))
      continue;
    if (report_line (report, set, index, name, &page))
      failed_size +=
          (size_t)snprintf (failed + failed_size, sizeof failed - failed_size, " %s", name);
  }
  if (failed_size)
    page_add (&page, "witness all FAIL%s\n", failed);
  else
    page_add (&page, "witness all ok %" PRIu64 " cells %zu\n", report->round, set->n);
  (void)write_full (STDOUT_FILENO, page.text, page.size);
  return failed_size == 0;
}
