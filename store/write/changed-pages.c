/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "changed-pages.h"

struct _ChangedPages {
  Store *store;
  StoredChunks *stored;
  BufferPool *pool;

  GMutex lock;
  DeltaRule rule; /* (lock) */
};

/* Who takes the frames, and what they are made with. */
typedef struct {
  ChangedPages *pages;
  FrameEncoder *encoder;
  ChangedFrameFunc func;
  gpointer user_data;
} Sink;

/* What will become of a page. */
typedef enum { CHANGED_TO_DELTA, CHANGED_TO_PAGE, CHANGED_TO_NOISE } Changed;

ChangedPages *
changed_pages_new (Store *store, StoredChunks *stored, BufferPool *pool)
{
  ChangedPages *pages = g_new0 (ChangedPages, 1);

  pages->store = store;
  pages->stored = stored;
  pages->pool = pool;
  g_mutex_init (&pages->lock);
  return pages;
}

void
changed_pages_free (ChangedPages *pages)
{
  if (pages == NULL)
    return;
  g_mutex_clear (&pages->lock);
  g_free (pages);
}

void
changed_pages_set_mode (ChangedPages *pages, StoreDeltaMode mode)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&pages->lock);

  pages->rule.mode = mode;
}

gboolean
changed_pages_wants_any (ChangedPages *pages)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&pages->lock);

  return pages->rule.mode != STORE_DELTA_NEVER;
}

static DeltaTry
ask_rule (ChangedPages *pages)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&pages->lock);

  return delta_rule_wants (&pages->rule);
}

static void
tell_rule (ChangedPages *pages, guint tried, guint made, gint64 us)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&pages->lock);

  delta_rule_note (&pages->rule, tried, made, us);
}

/* A DeltaFindFunc. */
static gboolean
find_for_delta (const ChunkName *name, gboolean full, ChunkLocation *location, gpointer user_data)
{
  return stored_chunks_find (user_data, name, full, location);
}

/* Places of @count pages, those of a sample of @sample, spread over all, before the others. */
static void
order_sample_first (guint *order, guint count, guint sample)
{
  guint first = 0, rest = sample;

  for (guint i = 0; i < count; i++)
    /* The sample's number @first is the first page at or after @first's share of all. */
    if (first < sample && i * sample >= first * count)
      order[first++] = i;
    else
      order[rest++] = i;
}

/* Makes deltas of those pages of a task that changed little. Returns how many. */
static guint
make_deltas (ChangedPages *self, const FrameTask *task, DeltaBuilder *builder, guint *made)
{
  DeltaPage pages[DELTA_FRAME_PAGES];
  guint order[DELTA_FRAME_PAGES], count = task->chunks->len, tried = count;
  DeltaTry wanted = ask_rule (self);

  if (wanted == DELTA_TRY_NONE)
    return 0;
  gint64 start = g_get_monotonic_time();
  if (wanted == DELTA_TRY_SAMPLE)
    tried = MIN (count, DELTA_SAMPLE_PAGES);
  order_sample_first (order, count, tried);
  for (guint i = 0; i < count; i++)
    pages[i] = (DeltaPage){ g_array_index (task->formers, ChunkName, order[i]),
                            frame_task_chunk (task, order[i]) };
  guint n = delta_make (self->store, pages, tried, find_for_delta, self->stored, builder, made);
  if (tried < count && delta_sample_pays (tried, n)) {
    guint more = delta_make (self->store, pages + tried, count - tried, find_for_delta,
                             self->stored, builder, made + n);
    for (guint i = n; i < n + more; i++)
      made[i] += tried;
    n += more;
    tried = count;
  }
  for (guint i = 0; i < n; i++)
    made[i] = order[made[i]];
  tell_rule (self, tried, n, g_get_monotonic_time() - start);
  return n;
}

/* Gives away as deltas what can be; says what the other pages of a task are. */
static void
encode_deltas (const Sink *sink, const FrameTask *task, Changed *changed)
{
  ChangedPages *pages = sink->pages;
  g_autoptr (DeltaBuilder) builder = delta_builder_new();
  g_autoptr (FrameTask) deltas = frame_task_new (pages->pool, FRAME_OF_PAGES);
  guint made[DELTA_FRAME_PAGES];
  guint n = make_deltas (pages, task, builder, made);

  for (guint i = 0; i < task->chunks->len; i++)
    changed[i] = CHANGED_TO_PAGE;
  for (guint i = 0; i < n; i++) {
    frame_task_add_from (deltas, task, made[i]);
    changed[made[i]] = CHANGED_TO_DELTA;
  }
  for (guint i = 0; i < task->chunks->len; i++)
    if (changed[i] != CHANGED_TO_DELTA && frame_page_is_noise (frame_task_chunk (task, i)))
      changed[i] = CHANGED_TO_NOISE;
  if (n == 0)
    return;
  g_autoptr (GBytes) stored =
      delta_builder_finish (builder, sink->encoder->zstd, &pages->store->key);
  sink->func (deltas, stored, FRAME_DELTA, sink->user_data);
}

/* Gives away in full those pages of a task that go into frames of @content. */
static void
encode_in_full (const Sink *sink, const FrameTask *task, const Changed *changed,
                FrameContent content)
{
  g_autoptr (FrameTask) part = frame_task_new (sink->pages->pool, content);
  const Changed mine = content == FRAME_OF_NOISE ? CHANGED_TO_NOISE : CHANGED_TO_PAGE;

  for (guint i = 0; i < task->chunks->len; i++) {
    FrameCodec codec;
    if (changed[i] == mine)
      frame_task_add_from (part, task, i);
    gboolean last = i + 1 == task->chunks->len;
    if (part->raw->len == 0 || (!frame_task_is_full (part) && !last))
      continue;
    g_autoptr (GBytes) stored = frame_task_encode (part, sink->encoder, &codec);
    sink->func (part, stored, codec, sink->user_data);
    frame_task_empty (part);
  }
}

void
changed_pages_encode (ChangedPages *pages, const FrameTask *task, FrameEncoder *encoder,
                      ChangedFrameFunc func, gpointer user_data)
{
  const Sink sink = { pages, encoder, func, user_data };
  Changed changed[DELTA_FRAME_PAGES];

  encode_deltas (&sink, task, changed);
  encode_in_full (&sink, task, changed, FRAME_OF_PAGES);
  encode_in_full (&sink, task, changed, FRAME_OF_NOISE);
}
