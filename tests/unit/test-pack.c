/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Packs and frames: what is built is read back; what is wrong is refused. */
#include "store-fixture.h"

#include "pack.h"

static const HashKey key = { { 1, 2, 3 } };

static void
test_frame (void)
{
  g_auto (FrameEncoder) encoder = { 0 };
  guint8 page[PAGE_SIZE_BYTES];
  FrameCodec codec;

  frame_encoder_init (&encoder);
  for (guint64 seed = 0; seed < 3; seed++) {
    fixture_page (seed, page);
    g_autoptr (GBytes) stored = frame_encode (&encoder, page, sizeof page, &codec);
    FrameInfo info = { 16, g_bytes_get_size (stored), sizeof page, 1, codec };
    g_autoptr (GError) error = NULL;
    g_autoptr (GBytes) raw = frame_decode (stored, &info, &error);
    g_assert_no_error (error);
    g_assert_cmpint (codec, ==, FRAME_ZSTD);
    g_assert_true (frame_info_sane (&info, 16 + info.stored_len));
    g_assert_false (frame_info_sane (&info, 15 + info.stored_len));
    g_assert_cmpmem (g_bytes_get_data (raw, NULL), g_bytes_get_size (raw), page, sizeof page);
    info.raw_len++;
    g_assert_null (frame_decode (stored, &info, &error));
    g_assert_error (error, STORE_ERROR, STORE_ERROR_DAMAGED);
  }
  /* What compression would make longer is stored as it is. */
  for (guint i = 0; i < sizeof page; i++)
    page[i] = g_random_int();
  g_autoptr (GBytes) stored = frame_encode (&encoder, page, sizeof page, &codec);
  g_assert_cmpint (codec, ==, FRAME_RAW);
  g_assert_cmpuint (g_bytes_get_size (stored), ==, sizeof page);
}

/* Noise is told from what looks a little like it. */
static void
test_noise (void)
{
  guint8 page[PAGE_SIZE_BYTES];

  for (guint round = 0; round < 100; round++) {
    for (guint i = 0; i < sizeof page; i++)
      page[i] = g_random_int();
    g_assert_true (frame_page_is_noise (page));
    /* The second half is zeros, or a quarter is text, or all has seven bits. */
    for (guint i = 0; i < sizeof page / 4; i++)
      page[sizeof page / 2 + i] = 'a' + g_random_int_range (0, 26);
    g_assert_false (frame_page_is_noise (page));
    memset (page + sizeof page / 2, 0, sizeof page / 2);
    g_assert_false (frame_page_is_noise (page));
    for (guint i = 0; i < sizeof page; i++)
      page[i] = g_random_int() & 127;
    g_assert_false (frame_page_is_noise (page));
  }
  memset (page, 0, sizeof page);
  g_assert_false (frame_page_is_noise (page));
}

/* What gains from more effort gets it, what does not is not asked again for a while. */
static void
test_effort (void)
{
  g_autofree guint8 *raw = g_malloc0 (FRAME_TARGET_BYTES);
  g_auto (FrameEncoder) encoder = { 0 };
  FrameCodec codec;

  frame_encoder_init (&encoder);
  for (gsize i = 0; i < FRAME_TARGET_BYTES; i++)
    raw[i] = i % PAGE_SIZE_BYTES < PAGE_SIZE_BYTES / 2 ? g_random_int() : 0;
  g_autoptr (GBytes) half = frame_encode (&encoder, raw, FRAME_TARGET_BYTES, &codec);
  g_assert_cmpint (codec, ==, FRAME_ZSTD);
  int level_of_noise = encoder.level;
  g_assert_cmpint (level_of_noise, ==, -1);
  guint until = encoder.untried;
  g_assert_cmpuint (until, >, 0);
  for (; until > 0; until--)
    g_bytes_unref (frame_encode (&encoder, raw, FRAME_TARGET_BYTES, &codec));
  g_assert_cmpuint (encoder.untried, ==, 0);
  /* Many short pieces in any order. */
  g_autofree guint8 *pieces = g_malloc (FRAME_TARGET_BYTES + 12);
  for (gsize i = 0; i < 12 * 4000; i++)
    raw[i] = g_random_int();
  for (gsize i = 0; i < FRAME_TARGET_BYTES; i += 12)
    memcpy (pieces + i, raw + (gsize)12 * g_random_int_range (0, 4000), 12);
  g_autoptr (GBytes) stored = frame_encode (&encoder, pieces, FRAME_TARGET_BYTES, &codec);
  g_assert_cmpint (encoder.level, >, level_of_noise);
}

/* A pack of @frames frames of 3 chunks. */
static GBytes *
build (guint frames, ChunkName *name)
{
  g_autoptr (PackBuilder) builder = pack_builder_new (PACK_METADATA);

  for (guint i = 0; i < frames; i++) {
    PackChunk chunks[3] = { { { { i, 1 } }, 0, 10 },
                            { { { i, 2 } }, 10, 20 },
                            { { { i } }, 30, 5 } };
    g_autoptr (GBytes) stored = g_bytes_new_static ("12345678901234567890123456789012345", 35);
    FrameInfo info = { 0, 35, 35, 3, FRAME_RAW };
    pack_builder_add (builder, stored, &info, chunks);
    g_assert_cmpuint (info.offset, ==, 16 + 35 * i);
  }
  return pack_builder_finish (builder, &key, name);
}

static Backend *
backend_with (GBytes *pack, const ChunkName *name)
{
  Backend *backend = backend_memory_new();
  g_autofree char *object = object_name ("packs", name);
  gboolean existed;

  backend->ops->put_if_absent (backend, object, pack, &existed, NULL);
  return backend;
}

static void
test_footer (void)
{
  for (guint frames = 0; frames < 4; frames++) {
    ChunkName name;
    g_autoptr (GBytes) pack = build (frames, &name);
    g_autoptr (Backend) backend = backend_with (pack, &name);
    g_autoptr (GError) error = NULL;
    g_autoptr (PackFooter) footer = pack_footer_load (backend, &key, &name, &error);
    g_assert_no_error (error);
    g_assert_cmpint (footer->kind, ==, PACK_METADATA);
    g_assert_cmpuint (footer->n_frames, ==, frames);
    g_assert_cmpuint (footer->n_chunks, ==, 3 * frames);
    g_assert_cmpuint (footer->pack_size, ==, g_bytes_get_size (pack));
    for (guint i = 0; i < frames; i++) {
      g_assert_cmpuint (footer->frames[i].offset, ==, 16 + 35 * i);
      g_assert_cmpuint (footer->chunks[3 * i + 2].offset, ==, 30);
      g_assert_cmpuint (footer->chunks[3 * i + 1].name.bytes[0], ==, i);
    }
  }
}

/* The same content never has the same name twice. */
static void
test_unique (void)
{
  ChunkName one, other;
  g_autoptr (GBytes) first = build (2, &one);
  g_autoptr (GBytes) second = build (2, &other);

  g_assert_false (chunk_name_equal (&one, &other));
}

/* Every single byte of header, footer and trailer counts; cutting anywhere is noticed. */
static void
test_every_byte (void)
{
  ChunkName name;
  g_autoptr (GBytes) pack = build (2, &name);
  gsize len, frames_end = 16 + 70;
  const guint8 *data = g_bytes_get_data (pack, &len);

  for (gsize at = 0; at < len; at++) {
    g_autofree guint8 *copy = g_memdup2 (data, len);
    copy[at] ^= 0x40;
    g_autoptr (GBytes) flipped = g_bytes_new (copy, len);
    g_autoptr (GBytes) cut = g_bytes_new (data, at);
    g_autoptr (Backend) bad = backend_with (flipped, &name);
    g_autoptr (Backend) shorter = backend_with (cut, &name);
    g_autoptr (GError) error = NULL;
    /* Minor versions may rise, and frames are verified chunk by chunk. */
    gboolean counts = at >= frames_end || (at < 16 && at != 8 && at != 9);
    g_autoptr (PackFooter) footer = pack_footer_load (bad, &key, &name, &error);
    g_assert_true ((footer == NULL) == counts);
    if (counts)
      g_assert_true (error->domain == STORE_ERROR);
    g_assert_null (pack_footer_load (shorter, &key, &name, NULL));
  }
}

/* A pack that a newer program wrote, and that this one must not touch. */
static void
test_version (void)
{
  ChunkName name;
  g_autoptr (GBytes) pack = build (1, &name);
  gsize len;
  guint8 *data = g_bytes_unref_to_data (g_steal_pointer (&pack), &len);
  g_autoptr (GError) error = NULL;

  data[8] = data[10] = 3;
  pack = g_bytes_new_take (data, len);
  g_autoptr (Backend) backend = backend_with (pack, &name);
  g_assert_null (pack_footer_load (backend, &key, &name, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_VERSION);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/store/pack/frame", test_frame);
  g_test_add_func ("/store/pack/noise", test_noise);
  g_test_add_func ("/store/pack/effort", test_effort);
  g_test_add_func ("/store/pack/footer", test_footer);
  g_test_add_func ("/store/pack/unique", test_unique);
  g_test_add_func ("/store/pack/every-byte", test_every_byte);
  g_test_add_func ("/store/pack/version", test_version);
  return g_test_run();
}
