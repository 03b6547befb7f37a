/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What becomes of pages that changed: every one is in exactly one frame, of its kind. */
#include "store-fixture.h"

#include "changed-pages.h"

#define PAGES 24

typedef struct {
  Store *store;
  BufferPool *pool;
  StoredChunks *stored;
  ChangedPages *pages;
  guint deltas, in_full, noise; /* pages that came out */
} Fixture;

static void
set_up (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  guint64 seeds[PAGES];

  for (guint i = 0; i < PAGES; i++)
    seeds[i] = i + 1;
  f->store = fixture_store_new (backend_memory_new());
  g_autoptr (Manifest) manifest = fixture_checkpoint (f->store, 1, seeds, PAGES, NULL, NULL);
  g_autoptr (IndexView) view = index_reload (f->store->index, &error);
  g_assert_no_error (error);
  f->pool = buffer_pool_new (FRAME_TARGET_BYTES, 1);
  f->stored = stored_chunks_new (f->store, view, NULL);
  f->pages = changed_pages_new (f->store, f->stored, f->pool);
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  changed_pages_free (f->pages);
  stored_chunks_free (f->stored);
  buffer_pool_unref (f->pool);
  store_unref (f->store);
}

/* Pages of which a third changed little, a third as a whole, and a third into noise. */
static FrameTask *
make_task (Fixture *f)
{
  FrameTask *task = frame_task_new_changing (f->pool);
  g_autoptr (GRand) random = g_rand_new_with_seed (1);
  guint8 page[PAGE_SIZE_BYTES];
  ChunkName name, former;

  for (guint i = 0; i < PAGES; i++) {
    fixture_page (i + 1, page);
    chunk_name_of (&f->store->key, page, sizeof page, &former);
    page[i] ^= 1;
    if (i % 3 == 1)
      memset (page, i, sizeof page);
    for (guint j = 0; i % 3 == 2 && j < sizeof page; j++)
      page[j] = g_rand_int (random);
    chunk_name_of (&f->store->key, page, sizeof page, &name);
    frame_task_add_changed (task, &name, &former, page);
  }
  return task;
}

static void
on_frame (FrameTask *frame, GBytes *stored, FrameCodec codec, gpointer user_data)
{
  Fixture *f = user_data;

  g_assert_cmpuint (g_bytes_get_size (stored), >, 0);
  *(codec == FRAME_DELTA               ? &f->deltas
    : frame->content == FRAME_OF_NOISE ? &f->noise
                                       : &f->in_full) += frame->chunks->len;
}

static void
encode (Fixture *f, StoreDeltaMode mode)
{
  g_autoptr (FrameTask) task = make_task (f);
  g_auto (FrameEncoder) encoder = { 0 };

  frame_encoder_init (&encoder);
  changed_pages_set_mode (f->pages, mode);
  changed_pages_encode (f->pages, task, &encoder, on_frame, f);
}

static void
test_always (Fixture *f, gconstpointer data)
{
  encode (f, STORE_DELTA_ALWAYS);
  g_assert_cmpuint (f->deltas, ==, PAGES / 3);
  g_assert_cmpuint (f->in_full, ==, PAGES / 3);
  g_assert_cmpuint (f->noise, ==, PAGES / 3);
}

static void
test_never (Fixture *f, gconstpointer data)
{
  encode (f, STORE_DELTA_NEVER);
  g_assert_false (changed_pages_wants_any (f->pages));
  g_assert_cmpuint (f->deltas, ==, 0);
  g_assert_cmpuint (f->in_full, ==, 2 * PAGES / 3);
  g_assert_cmpuint (f->noise, ==, PAGES / 3);
}

/* A sample that pays has the rest tried. */
static void
test_sample (Fixture *f, gconstpointer data)
{
  encode (f, STORE_DELTA_AUTO);
  g_assert_true (changed_pages_wants_any (f->pages));
  g_assert_cmpuint (f->deltas, ==, PAGES / 3);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define ADD(name, func)                                                                            \
  g_test_add ("/store/changed-pages/" name, Fixture, NULL, set_up, func, tear_down)
  ADD ("always", test_always);
  ADD ("never", test_never);
  ADD ("sample", test_sample);
  return g_test_run();
}
