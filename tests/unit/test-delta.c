/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames of deltas: what is built is read back; what is wrong is refused. */
#include "store-fixture.h"

#include "delta.h"
#include "index-table.h"

static const HashKey key = { { 7, 7, 7 } };

static void
change_line (guint8 *page, guint line, guint64 how)
{
  memcpy (page + line * DELTA_LINE_BYTES + 8, &how, sizeof how);
}

static void
test_compare (void)
{
  guint8 base[PAGE_SIZE_BYTES], page[PAGE_SIZE_BYTES];

  fixture_page (3, base);
  memcpy (page, base, sizeof page);
  g_assert_cmphex (delta_compare (base, page), ==, 0);
  page[0] ^= 1;
  page[63] ^= 1;
  page[64 * 17 + 5] ^= 1;
  page[PAGE_SIZE_BYTES - 1] ^= 1;
  g_assert_cmphex (delta_compare (base, page), ==, 1u | 1u << 17 | (guint64)1 << 63);
}

/* A frame of random changes to random pages. */
typedef struct {
  guint count;
  ChunkName names[DELTA_FRAME_PAGES];
  guint8 bases[DELTA_FRAME_PAGES][PAGE_SIZE_BYTES], pages[DELTA_FRAME_PAGES][PAGE_SIZE_BYTES];
  GBytes *stored;
  FrameInfo info;
} Sample;

static Sample *
sample_new (GRand *random, guint count, gboolean small)
{
  Sample *sample = g_new0 (Sample, 1);
  g_autoptr (DeltaBuilder) builder = delta_builder_new();
  g_autoptr (ZSTD_CCtx) context = ZSTD_createCCtx();

  sample->count = count;
  for (guint i = 0; i < count; i++) {
    fixture_page (g_rand_int (random), sample->bases[i]);
    memcpy (sample->pages[i], sample->bases[i], PAGE_SIZE_BYTES);
    for (guint n = g_rand_int_range (random, 0, 20); n > 0; n--) {
      guint8 *line = sample->pages[i] + g_rand_int_range (random, 0, 64) * DELTA_LINE_BYTES;
      for (guint j = 0; j < (small ? 1 : DELTA_LINE_BYTES); j++)
        line[j] = g_rand_int (random);
    }
    chunk_name_of (&key, sample->bases[i], PAGE_SIZE_BYTES, &sample->names[i]);
    g_assert_true (delta_builder_add (builder, &sample->names[i], sample->bases[i],
                                      sample->pages[i], DELTA_LINES));
  }
  g_assert_cmpuint (delta_builder_count (builder), ==, count);
  sample->stored = delta_builder_finish (builder, context, &key);
  sample->info = (FrameInfo){ PACK_HEADER_BYTES, g_bytes_get_size (sample->stored),
                              count * PAGE_SIZE_BYTES, count, FRAME_DELTA };
  return sample;
}

static void
sample_free (Sample *sample)
{
  g_bytes_unref (sample->stored);
  g_free (sample);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Sample, sample_free)

static void
test_roundtrip (void)
{
  g_autoptr (GRand) random = g_rand_new_with_seed (1);
  gsize xored = 0;

  for (guint round = 0; round < 60; round++) {
    guint count = round == 0 ? DELTA_FRAME_PAGES : g_rand_int_range (random, 1, 20);
    g_autoptr (Sample) sample = sample_new (random, count, round % 2);
    g_autoptr (GError) error = NULL;
    g_autoptr (GBytes) frame = delta_frame_decode (sample->stored, &sample->info, &key, &error);
    Delta delta;
    g_assert_no_error (error);
    for (guint i = 0; i < count; i++) {
      g_assert_true (delta_frame_get (frame, i, &delta));
      g_assert_true (chunk_name_equal (&delta.base, &sample->names[i]));
      delta_apply (&delta, sample->bases[i]);
      g_assert_cmpmem (sample->bases[i], PAGE_SIZE_BYTES, sample->pages[i], PAGE_SIZE_BYTES);
    }
    xored += delta.xored;
    g_assert_false (delta_frame_get (frame, count, &delta));
    g_assert_true (frame_info_sane (&sample->info, G_MAXUINT32));
  }
  /* Both ways of writing lines were chosen. */
  g_assert_cmpuint (xored, >, 10);
  g_assert_cmpuint (xored, <, 50);
}

/* A page that changed in more lines than are worth it is not taken. */
static void
test_too_many (void)
{
  g_autoptr (DeltaBuilder) builder = delta_builder_new();
  guint8 base[PAGE_SIZE_BYTES], page[PAGE_SIZE_BYTES];
  const ChunkName name = { { 1 } };

  fixture_page (3, base);
  memcpy (page, base, sizeof page);
  for (guint i = 0; i < 5; i++)
    change_line (page, i * 7, 1);
  g_assert_false (delta_builder_add (builder, &name, base, page, 4));
  g_assert_cmpuint (delta_builder_count (builder), ==, 0);
  g_assert_true (delta_builder_add (builder, &name, base, page, 5));
}

/* Writes the hash of a frame anew, so that what it covers is looked at. */
static GBytes *
rehash (GBytes *frame)
{
  gsize len;
  g_autofree guint8 *data = g_memdup2 (g_bytes_get_data (frame, NULL), g_bytes_get_size (frame));
  ChunkName hash;

  len = g_bytes_get_size (frame);
  chunk_name_of (&key, data + sizeof hash, len - sizeof hash, &hash);
  memcpy (data, &hash, sizeof hash);
  return g_bytes_new (data, len);
}

static void
assert_refused (GBytes *stored, const FrameInfo *info)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (delta_frame_decode (stored, info, &key, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_DAMAGED);
}

/* Every byte counts, and every length is one that is looked at. */
static void
test_hostile (void)
{
  g_autoptr (GRand) random = g_rand_new_with_seed (2);
  g_autoptr (Sample) sample = sample_new (random, 5, TRUE);
  gsize len = g_bytes_get_size (sample->stored);
  const guint8 *data = g_bytes_get_data (sample->stored, NULL);

  for (gsize at = 0; at < len; at++) {
    g_autofree guint8 *copy = g_memdup2 (data, len);
    FrameInfo info = sample->info;
    copy[at] ^= 0x40;
    g_autoptr (GBytes) flipped = g_bytes_new (copy, len);
    g_autoptr (GBytes) cut = g_bytes_new (data, at);
    assert_refused (flipped, &info);
    info.stored_len = at;
    assert_refused (cut, &info);
    /* With the right hash, nothing outside of the frame is touched. */
    g_autoptr (GBytes) again = at < 32 ? g_bytes_ref (flipped) : rehash (flipped);
    g_autoptr (GBytes) frame = delta_frame_decode (again, &sample->info, &key, NULL);
    Delta delta;
    guint8 page[PAGE_SIZE_BYTES] = { 0 };
    for (guint i = 0; frame != NULL && delta_frame_get (frame, i, &delta); i++)
      delta_apply (&delta, page);
  }
  for (guint chunks = 0; chunks < 200; chunks++) {
    FrameInfo info = sample->info;
    info.chunks = chunks;
    if (chunks != 5)
      assert_refused (sample->stored, &info);
  }
  FrameInfo info = sample->info;
  info.raw_len--; /* not a whole number of pages */
  g_assert_false (frame_info_sane (&info, G_MAXUINT32));
}

/* A pack with deltas is refused by programs that do not know them; one without is not. */
static void
test_versions (void)
{
  g_autoptr (GRand) random = g_rand_new_with_seed (3);
  g_autoptr (Sample) sample = sample_new (random, 1, TRUE);
  g_autoptr (PackBuilder) builder = pack_builder_new (PACK_DATA);
  g_autoptr (IndexContents) contents = index_contents_new();
  PackChunk chunk = { { { 9 } }, 0, PAGE_SIZE_BYTES };
  ChunkName name, hash;

  pack_builder_add (builder, sample->stored, &sample->info, &chunk);
  g_autoptr (GBytes) pack = pack_builder_finish (builder, &key, &name);
  const guint8 *head = g_bytes_get_data (pack, NULL);
  g_assert_cmpuint (head[10], ==, 2);
  g_autoptr (Backend) backend = backend_memory_new();
  g_autofree char *object = object_name ("packs", &name);
  gboolean existed;
  backend->ops->put_if_absent (backend, object, pack, &existed, NULL);
  g_autoptr (PackFooter) footer = pack_footer_load (backend, &key, &name, NULL);
  g_assert_nonnull (footer);
  index_contents_add_footer (contents, &name, footer);
  g_autoptr (GBytes) table = index_contents_to_bytes (contents, &key, &hash);
  g_assert_cmpuint (((const guint8 *)g_bytes_get_data (table, NULL))[10], ==, 2);

  /* The next pack of the same builder has none. */
  const guint8 raw[PAGE_SIZE_BYTES] = { 0 };
  g_autoptr (GBytes) stored = g_bytes_new_static (raw, sizeof raw);
  FrameInfo plain = { 0, PAGE_SIZE_BYTES, PAGE_SIZE_BYTES, 1, FRAME_RAW };
  pack_builder_add (builder, stored, &plain, &chunk);
  g_autoptr (GBytes) without = pack_builder_finish (builder, &key, &name);
  g_assert_cmpuint (((const guint8 *)g_bytes_get_data (without, NULL))[10], ==, 1);

  /* And one that has some but does not say so is damaged. */
  g_autofree guint8 *copy = g_memdup2 (head, g_bytes_get_size (pack));
  copy[8] = copy[10] = 1;
  g_autoptr (GBytes) lying = g_bytes_new (copy, g_bytes_get_size (pack));
  g_autoptr (GError) error = NULL;
  g_assert_true (backend->ops->remove (backend, object, NULL));
  backend->ops->put_if_absent (backend, object, lying, &existed, NULL);
  ChunkName pack_name;
  g_assert_true (object_name_parse (object, "packs", &pack_name));
  g_assert_null (pack_footer_load (backend, &key, &pack_name, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_DAMAGED);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/store/delta/compare", test_compare);
  g_test_add_func ("/store/delta/roundtrip", test_roundtrip);
  g_test_add_func ("/store/delta/too-many", test_too_many);
  g_test_add_func ("/store/delta/hostile", test_hostile);
  g_test_add_func ("/store/delta/versions", test_versions);
  return g_test_run();
}
