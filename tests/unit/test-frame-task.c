/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A frame being filled: what goes into which, when it is full, what is stored of it. */
#include "store-fixture.h"

#include "frame-task.h"

static void
noise_page (guint8 *page)
{
  g_autoptr (GRand) random = g_rand_new_with_seed (1);

  for (guint i = 0; i < PAGE_SIZE_BYTES; i++)
    page[i] = g_rand_int (random);
}

static void
test_content (void)
{
  guint8 page[PAGE_SIZE_BYTES], noise[PAGE_SIZE_BYTES];

  fixture_page (1, page);
  memset (page + PAGE_SIZE_BYTES / 4, 0, PAGE_SIZE_BYTES / 4);
  noise_page (noise);
  g_assert_cmpint (frame_content_of (PACK_DATA, page, sizeof page), ==, FRAME_OF_PAGES);
  g_assert_cmpint (frame_content_of (PACK_DATA, noise, sizeof noise), ==, FRAME_OF_NOISE);
  /* Not a page, so it is not looked at. */
  g_assert_cmpint (frame_content_of (PACK_DATA, noise, 100), ==, FRAME_OF_PAGES);
  g_assert_cmpint (frame_content_of (PACK_METADATA, noise, sizeof noise), ==, FRAME_OF_NODES);
}

static void
test_fill (void)
{
  BufferPool *pool = buffer_pool_new (FRAME_TARGET_BYTES, 1);
  g_autoptr (FrameTask) task = frame_task_new (pool, FRAME_OF_PAGES);
  g_autoptr (FrameTask) part = frame_task_new (pool, FRAME_OF_PAGES);
  guint8 page[PAGE_SIZE_BYTES];
  ChunkName name = { { 0 } };
  guint count = 0;

  for (; !frame_task_is_full (task); count++) {
    fixture_page (count + 1, page);
    name.bytes[0] = count;
    g_assert_cmpuint (frame_task_add (task, &name, page, sizeof page), ==, count * sizeof page);
  }
  g_assert_cmpuint (count, ==, FRAME_TARGET_BYTES / PAGE_SIZE_BYTES);
  frame_task_add_from (part, task, 2);
  fixture_page (3, page);
  g_assert_cmpmem (frame_task_chunk (part, 0), PAGE_SIZE_BYTES, page, sizeof page);
  g_assert_cmpuint (g_array_index (part->chunks, PackChunk, 0).name.bytes[0], ==, 2);
  frame_task_empty (task);
  g_assert_cmpuint (task->raw->len + task->chunks->len, ==, 0);
  g_clear_pointer (&task, frame_task_free);
  g_clear_pointer (&part, frame_task_free);
  buffer_pool_unref (pool);
}

/* Pages that changed keep what they were, and as many are in a frame as can be deltas. */
static void
test_changing (void)
{
  BufferPool *pool = buffer_pool_new (FRAME_TARGET_BYTES, 1);
  g_autoptr (FrameTask) task = frame_task_new_changing (pool);
  guint8 page[PAGE_SIZE_BYTES] = { 1 };
  const ChunkName name = { { 1 } }, former = { { 2 } };

  while (!frame_task_is_full (task))
    frame_task_add_changed (task, &name, &former, page);
  g_assert_cmpuint (task->chunks->len, ==, DELTA_FRAME_PAGES);
  g_assert_cmpuint (task->formers->len, ==, DELTA_FRAME_PAGES);
  g_assert_true (chunk_name_equal (&g_array_index (task->formers, ChunkName, 3), &former));
  g_clear_pointer (&task, frame_task_free);
  buffer_pool_unref (pool);
}

static void
test_encode (void)
{
  BufferPool *pool = buffer_pool_new (FRAME_TARGET_BYTES, 1);
  g_auto (FrameEncoder) encoder = { 0 };
  guint8 page[PAGE_SIZE_BYTES] = { 1, 2, 3 };
  const ChunkName name = { { 1 } };

  frame_encoder_init (&encoder);
  for (int content = 0; content < FRAME_CONTENT_COUNT; content++) {
    g_autoptr (FrameTask) task = frame_task_new (pool, content);
    FrameCodec codec;
    frame_task_add (task, &name, page, sizeof page);
    g_autoptr (GBytes) stored = frame_task_encode (task, &encoder, &codec);
    /* Noise is not tried to be compressed. */
    g_assert_cmpint (codec == FRAME_RAW, ==, content == FRAME_OF_NOISE);
    g_assert_cmpint (g_bytes_get_size (stored) == sizeof page, ==, content == FRAME_OF_NOISE);
  }
  buffer_pool_unref (pool);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/store/frame-task/content", test_content);
  g_test_add_func ("/store/frame-task/fill", test_fill);
  g_test_add_func ("/store/frame-task/changing", test_changing);
  g_test_add_func ("/store/frame-task/encode", test_encode);
  return g_test_run();
}
