/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names of many pages at once are what libsodium says of each. */
#include "chunk-lanes.h"

#include <sodium.h>
#include <string.h>

#define PAGES 37

typedef struct {
  HashKey key;
  guint8 *data; /* PAGES pages, not aligned to anything */
  guint8 *memory;
  const guint8 *pages[PAGES];
} Fixture;

static void
set_up (Fixture *f, gconstpointer user_data)
{
  f->memory = g_malloc (PAGES * PAGE_SIZE_BYTES + 1);
  f->data = f->memory + 1;
  randombytes_buf (&f->key, sizeof f->key);
  randombytes_buf (f->data, PAGES * PAGE_SIZE_BYTES);
  for (guint i = 0; i < PAGES; i++)
    f->pages[i] = f->data + (gsize)i * PAGE_SIZE_BYTES;
}

static void
tear_down (Fixture *f, gconstpointer user_data)
{
  g_free (f->memory);
}

static void
assert_as_libsodium (const Fixture *f, guint i, const ChunkName *name)
{
  ChunkName expected;

  crypto_generichash (expected.bytes, sizeof expected.bytes, f->pages[i], PAGE_SIZE_BYTES,
                      f->key.bytes, sizeof f->key.bytes);
  g_assert_cmpmem (name, sizeof *name, &expected, sizeof expected);
}

/* Every kind of lanes that this processor has, every count: full groups, rests, nothing. */
static void
test_every_count (Fixture *f, gconstpointer user_data)
{
  for (Lanes lanes = LANES_NONE; lanes <= chunk_lanes_best(); lanes++) {
    for (guint count = 0; count <= PAGES; count++) {
      ChunkName names[PAGES + 1];
      memset (names, 0xee, sizeof names);
      chunk_names_with_lanes (lanes, &f->key, f->pages, count, names);
      for (guint i = 0; i < count; i++)
        assert_as_libsodium (f, i, &names[i]);
      for (guint i = 0; i < sizeof (ChunkName); i++)
        g_assert_cmphex (names[count].bytes[i], ==, 0xee);
    }
  }
}

/* Content that is anything but random, the same page twice, and the one the processor's best does.
 */
static void
test_plain_content (Fixture *f, gconstpointer user_data)
{
  ChunkName names[PAGES];

  for (guint i = 0; i < PAGES; i++)
    memset (f->data + (gsize)i * PAGE_SIZE_BYTES, i % 3 == 0 ? 0 : 0xff, PAGE_SIZE_BYTES);
  f->pages[5] = f->pages[4];
  chunk_names_of_pages (&f->key, f->pages, PAGES, names);
  for (guint i = 0; i < PAGES; i++)
    assert_as_libsodium (f, i, &names[i]);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_assert_cmpint (sodium_init(), >=, 0);
  g_test_add ("/chunk-lanes/every-count", Fixture, NULL, set_up, test_every_count, tear_down);
  g_test_add ("/chunk-lanes/plain-content", Fixture, NULL, set_up, test_plain_content, tear_down);
  return g_test_run();
}
