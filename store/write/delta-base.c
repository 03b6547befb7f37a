/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "delta-base.h"

/* So many pages are tried before anything is concluded; later ones count for more. */
#define RULE_PAGES_FIRST 64
#define RULE_PAGES_MEMORY 8192
/* Fewer than one delta in so many pages do not pay for reading the bases of all of them. */
#define RULE_YIELD 4
/* Nor does a page that takes so long: a seek of a disk, for each. On memory or flash it takes 0.1
 * ms; the rest is for machines that are busy with other things. */
#define RULE_SLOW_US 5000
/* Once it does not pay, a sample of one frame in so many is tried, to see whether it does again. */
#define RULE_RETRY 16
/* What a delta takes beside its lines: the base's name and the bitmap. */
#define DELTA_FIXED_BYTES (CHUNK_NAME_BYTES + 8)

gboolean
delta_sample_pays (guint tried, guint made)
{
  return made * RULE_YIELD >= tried;
}

DeltaTry
delta_rule_wants (DeltaRule *rule)
{
  if (rule->mode != STORE_DELTA_AUTO)
    return rule->mode == STORE_DELTA_ALWAYS ? DELTA_TRY_ALL : DELTA_TRY_NONE;
  if (rule->tried < RULE_PAGES_FIRST)
    return DELTA_TRY_SAMPLE;
  if (rule->made * RULE_YIELD >= rule->tried && (guint64)rule->us <= rule->tried * RULE_SLOW_US)
    return DELTA_TRY_ALL;
  return ++rule->refused % RULE_RETRY == 0 ? DELTA_TRY_SAMPLE : DELTA_TRY_NONE;
}

void
delta_rule_note (DeltaRule *rule, guint tried, guint made, gint64 us)
{
  if (rule->tried >= RULE_PAGES_MEMORY) {
    rule->tried /= 2;
    rule->made /= 2;
    rule->us /= 2;
  }
  rule->tried += tried;
  rule->made += made;
  rule->us += us;
}

/* Where the base of one page is. */
typedef struct {
  guint page; /* place in the list of pages */
  ChunkName name;
  ChunkLocation location;
} Base;

static int
compare_bases (gconstpointer a, gconstpointer b)
{
  return chunk_location_compare (&((const Base *)a)->location, &((const Base *)b)->location);
}

/* Finds what @former is stored as: itself, or what it is a change to. */
static gboolean
find_base (Store *store, const ChunkName *former, DeltaFindFunc find, gpointer user_data,
           Base *base)
{
  Delta delta;

  base->name = *former;
  if (!find (former, FALSE, &base->location, user_data))
    return FALSE;
  if (base->location.frame.codec == FRAME_DELTA) {
    if (!store_delta_load (store, &base->location, &delta, NULL) ||
        !find (&delta.base, TRUE, &base->location, user_data))
      return FALSE;
    base->name = delta.base;
  }
  return base->location.len == PAGE_SIZE_BYTES;
}

/* How many lines may differ for a delta to take at most half of what the page would take in full:
 * about as much as its base does. */
static guint
lines_worth (const FrameInfo *frame)
{
  guint share = (guint64)PAGE_SIZE_BYTES * frame->stored_len / frame->raw_len / 2;

  return share > DELTA_FIXED_BYTES ? (share - DELTA_FIXED_BYTES) / DELTA_LINE_BYTES : 0;
}

guint
delta_make (Store *store, const DeltaPage *pages, guint count, DeltaFindFunc find,
            gpointer user_data, DeltaBuilder *builder, guint *made)
{
  g_autoptr (GArray) bases = g_array_new (FALSE, FALSE, sizeof (Base));
  g_autoptr (GBytes) frame = NULL;
  guint n = 0;

  for (guint i = 0; i < count; i++) {
    Base base = { .page = i };
    if (find_base (store, &pages[i].former, find, user_data, &base))
      g_array_append_val (bases, base);
  }
  /* Each frame is read once, in the order of the packs. */
  g_array_sort (bases, compare_bases);
  for (guint i = 0; i < bases->len; i++) {
    const Base *base = &g_array_index (bases, Base, i);
    if (i == 0 || compare_bases (base, base - 1) != 0) {
      g_clear_pointer (&frame, g_bytes_unref);
      frame = store_frame_read (store, &base->location, TRUE, NULL);
    }
    const guint8 *data =
        frame != NULL ? store_chunk_in_frame (store, &base->name, &base->location, frame, NULL)
                      : NULL;
    if (data != NULL && delta_builder_add (builder, &base->name, data, pages[base->page].data,
                                           lines_worth (&base->location.frame)))
      made[n++] = base->page;
  }
  return n;
}
