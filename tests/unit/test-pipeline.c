/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The pipeline when things go wrong: the first error ends it, nothing hangs, nothing is left. */
#include "store-fixture.h"

#include "index.h"
#include "pipeline.h"
#include "store-private.h"

/* A backend that fails to put packs, or corrupts them, over another one. */
typedef struct {
  Backend backend;
  Backend *inner;
  int puts_left; /* (atomic) packs that may still be put */
} FailingBackend;

static gboolean
failing_put (Backend *backend, const char *name, GBytes *data, gboolean *existed, GError **error)
{
  FailingBackend *self = (FailingBackend *)backend;

  if (g_str_has_prefix (name, "packs/") && g_atomic_int_add (&self->puts_left, -1) <= 0) {
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE, "the test says so");
    return FALSE;
  }
  return self->inner->ops->put_if_absent (self->inner, name, data, existed, error);
}

static GBytes *
failing_get (Backend *backend, const char *name, guint64 offset, gsize len, GError **error)
{
  Backend *inner = ((FailingBackend *)backend)->inner;
  return inner->ops->get (inner, name, offset, len, error);
}

static gboolean
failing_stat (Backend *backend, const char *name, guint64 *size, GError **error)
{
  Backend *inner = ((FailingBackend *)backend)->inner;
  return inner->ops->stat (inner, name, size, error);
}

static gboolean
failing_list (Backend *backend, const char *prefix, BackendListFunc func, gpointer user_data,
              GError **error)
{
  Backend *inner = ((FailingBackend *)backend)->inner;
  return inner->ops->list (inner, prefix, func, user_data, error);
}

static gboolean
failing_remove (Backend *backend, const char *name, GError **error)
{
  Backend *inner = ((FailingBackend *)backend)->inner;
  return inner->ops->remove (inner, name, error);
}

static gboolean
failing_sync (Backend *backend, GError **error)
{
  return TRUE;
}

static gboolean
failing_space (Backend *backend, guint64 *available, GError **error)
{
  *available = G_MAXUINT64;
  return TRUE;
}

static void
failing_free (Backend *backend)
{
  backend_free (((FailingBackend *)backend)->inner);
  g_free (backend);
}

static const BackendOps failing_ops = { .put_if_absent = failing_put,
                                        .get = failing_get,
                                        .stat = failing_stat,
                                        .list = failing_list,
                                        .remove = failing_remove,
                                        .sync = failing_sync,
                                        .space = failing_space,
                                        .free = failing_free };

static Store *
failing_store (int puts)
{
  FailingBackend *self = g_new0 (FailingBackend, 1);

  self->backend = (Backend){ &failing_ops, (char *)"failing:" };
  self->inner = backend_memory_new();
  self->puts_left = puts;
  return fixture_store_new (&self->backend);
}

/* Incompressible pages until one is refused. */
static guint64
put_until_error (PageMapWriter *writer, guint64 pages, GError **error)
{
  g_autofree guint8 *page = g_malloc (PAGE_SIZE_BYTES);
  g_autoptr (GRand) random = g_rand_new_with_seed (1);

  for (guint64 i = 0; i < pages; i++) {
    for (guint j = 0; j < PAGE_SIZE_BYTES; j += 4) {
      guint32 value = g_rand_int (random);
      memcpy (page + j, &value, 4);
    }
    if (!page_map_writer_put (writer, i, page, error))
      return i;
  }
  return pages;
}

static void
test_failing_put (gconstpointer data)
{
  const guint64 pages = 40000;
  g_autoptr (Store) store = failing_store (GPOINTER_TO_INT (data));
  g_autoptr (GError) error = NULL;
  g_autoptr (GError) again = NULL;
  g_autoptr (GError) third = NULL;
  StoreWriter *writer = store_writer_begin (store, &error);
  PageMapWriter *map_writer = page_map_writer_new (writer, pages * PAGE_SIZE_BYTES, NULL, &error);
  g_autoptr (Manifest) manifest = fixture_manifest_new ("g1", 1);
  PageMap map;

  /* Long before all of it has piled up in memory. */
  g_assert_cmpuint (put_until_error (map_writer, pages, &error), <, pages - 10000);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
  g_assert_false (page_map_writer_finish (map_writer, &map, NULL, &again));
  g_assert_error (again, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
  page_map_writer_free (map_writer);
  g_assert_false (store_writer_commit (writer, manifest, NULL, &third));
  g_assert_error (third, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
  store_writer_free (writer);
  g_assert_cmpuint (fixture_count_objects (store->backend, ""), ==, 1);
}

/* A writer of a map that is dropped in the middle of it all. */
static void
test_dropped (void)
{
  g_autoptr (Store) store = failing_store (1000);
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);
  PageMapWriter *dropped = page_map_writer_new (writer, 1 << 24, NULL, &error);
  guint64 seeds[700];

  g_assert_cmpuint (put_until_error (dropped, 3000, &error), ==, 3000);
  page_map_writer_free (dropped);
  for (guint i = 0; i < G_N_ELEMENTS (seeds); i++)
    seeds[i] = 1 + i;
  PageMap map = fixture_write_map (writer, seeds, G_N_ELEMENTS (seeds), NULL, NULL, NULL);
  g_autoptr (Manifest) manifest = fixture_commit (writer, "g1", 1, &map);
  fixture_assert_checkpoint (store, manifest->id, seeds, G_N_ELEMENTS (seeds));
}

typedef struct {
  StoreWriter *writer;
  guint64 first;
  guint64 seeds[2000];
  PageMap map;
} Side;

static gpointer
write_side (gpointer data)
{
  Side *side = data;

  for (guint i = 0; i < G_N_ELEMENTS (side->seeds); i++)
    side->seeds[i] = side->first + i;
  side->map =
      fixture_write_map (side->writer, side->seeds, G_N_ELEMENTS (side->seeds), NULL, NULL, NULL);
  return NULL;
}

/* Two maps of one transaction, written by two threads, with half of the pages in common. */
static void
test_two_maps (void)
{
  g_autoptr (Store) store = failing_store (1000);
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);
  g_autofree Side *sides = g_new0 (Side, 2);
  StoreWriterStats stats;

  for (guint i = 0; i < 2; i++)
    sides[i] = (Side){ .writer = writer, .first = 1 + i * 1000 };
  GThread *other = g_thread_new ("side", write_side, &sides[1]);
  write_side (&sides[0]);
  g_thread_join (other);
  g_assert_true (store_writer_flush (writer, NULL, &error));
  store_writer_stats (writer, &stats);
  g_assert_cmpuint (stats.new_bytes, ==, 3000 * PAGE_SIZE_BYTES);
  for (guint i = 0; i < 2; i++)
    fixture_assert_map (store, &sides[i].map, sides[i].seeds, 2000);
  /* After a flush one may go on, and build on what was flushed. */
  sides[0].seeds[7] = 555555;
  PageMap more = fixture_write_map (writer, sides[0].seeds, 2000, &sides[0].map, NULL, NULL);
  g_autoptr (Manifest) manifest = fixture_commit (writer, "g1", 1, &more);
  fixture_assert_checkpoint (store, manifest->id, sides[0].seeds, 2000);
}

static void
test_cancel (void)
{
  g_autoptr (Store) store = failing_store (1000);
  g_autoptr (GError) error = NULL;
  g_autoptr (GCancellable) cancellable = g_cancellable_new();
  g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);
  g_autoptr (Manifest) manifest = fixture_manifest_new ("g1", 1);

  g_cancellable_cancel (cancellable);
  g_assert_false (store_writer_commit (writer, manifest, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
}

/* What does not compress is stored as it is, and does not keep what is beside it from compressing.
 */
static void
test_noise_apart (void)
{
  const guint pairs = 300;
  g_autoptr (Store) store = failing_store (1000);
  g_autoptr (GError) error = NULL;
  g_autoptr (IndexView) view = index_view (store->index, &error);
  g_autoptr (Pipeline) pipeline = pipeline_new (store, view, NULL, &error);
  g_autoptr (IndexContents) contents = NULL;
  guint64 bytes[FRAME_CODEC_COUNT] = { 0 }, chunks[FRAME_CODEC_COUNT] = { 0 };
  guint32 state = 1;
  ChunkName name;

  for (guint i = 0; i < 2 * pairs; i++) {
    g_autofree guint8 *page = g_malloc (PAGE_SIZE_BYTES);
    for (guint j = 0; j < PAGE_SIZE_BYTES; j++) {
      state = state * 1664525 + 1013904223;
      page[j] = i % 2 == 0 ? state >> 24 : (state >> 24) % 4;
    }
    g_autoptr (GBytes) chunk = g_bytes_new (page, PAGE_SIZE_BYTES);
    g_assert_true (pipeline_add (pipeline, PACK_DATA, chunk, &name, &error));
  }
  g_assert_true (pipeline_seal (pipeline, &contents, &error));
  for (guint i = 0; i < contents->frames->len; i++) {
    const FrameInfo *frame = &g_array_index (contents->frames, IndexFrame, i).frame;
    bytes[frame->codec] += frame->stored_len;
    chunks[frame->codec] += frame->chunks;
  }
  g_assert_cmpuint (chunks[FRAME_RAW], ==, pairs);
  g_assert_cmpuint (chunks[FRAME_ZSTD], ==, pairs);
  g_assert_cmpuint (bytes[FRAME_RAW], ==, pairs * PAGE_SIZE_BYTES);
  /* Two bits of eight, and a little more. */
  g_assert_cmpuint (bytes[FRAME_ZSTD], <, pairs * PAGE_SIZE_BYTES / 3);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_data_func ("/store/pipeline/first-pack-fails", GINT_TO_POINTER (0), test_failing_put);
  g_test_add_data_func ("/store/pipeline/third-pack-fails", GINT_TO_POINTER (2), test_failing_put);
  g_test_add_func ("/store/pipeline/dropped", test_dropped);
  g_test_add_func ("/store/pipeline/two-maps", test_two_maps);
  g_test_add_func ("/store/pipeline/noise-apart", test_noise_apart);
  g_test_add_func ("/store/pipeline/cancel", test_cancel);
  return g_test_run();
}
