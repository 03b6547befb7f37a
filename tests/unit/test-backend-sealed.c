/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What somebody who can write to the medium, but does not have the key, can do to sealed objects:
 * nothing that is not found. (The duties of a backend are in test-backend.c.)
 */
#include "store-fixture.h"

#include "backend-sealed.h"
#include "seal.h"

static const SealKey key = { "a key that everybody here knows" };

typedef struct {
  Backend *inner; /* what is on the medium; owned by sealed */
  Backend *sealed;
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer unused)
{
  fixture->inner = backend_memory_new();
  fixture->sealed = backend_sealed_new (fixture->inner, &key);
}

static void
tear_down (Fixture *fixture, gconstpointer unused)
{
  backend_free (fixture->sealed);
}

/* Content that is known from its place. */
static GBytes *
content_new (gsize len)
{
  guint8 *data = g_malloc (len + 1);

  for (gsize i = 0; i < len; i++)
    data[i] = (guint8)(i * 31 + i / 256);
  return g_bytes_new_take (data, len);
}

static void
put (Backend *backend, const char *name, GBytes *content)
{
  g_autoptr (GError) error = NULL;
  gboolean existed;

  backend->ops->put_if_absent (backend, name, content, &existed, &error);
  g_assert_no_error (error);
  g_assert_false (existed);
}

/* What lies on the medium, to be changed. */
static GByteArray *
stored (Fixture *fixture, const char *name)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) bytes = fixture->inner->ops->get (fixture->inner, name, 0, G_MAXSIZE, &error);
  GByteArray *array = g_byte_array_new();

  g_assert_no_error (error);
  return g_byte_array_append (array, g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes));
}

static void
replace (Fixture *fixture, const char *name, const guint8 *data, gsize len)
{
  g_autoptr (GBytes) bytes = g_bytes_new (data, len);

  fixture->inner->ops->remove (fixture->inner, name, NULL);
  put (fixture->inner, name, bytes);
}

static void
assert_range (Backend *backend, const char *name, GBytes *content, gsize offset, gsize len)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) bytes = backend->ops->get (backend, name, offset, len, &error);

  g_assert_no_error (error);
  g_assert_cmpmem (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes),
                   (const guint8 *)g_bytes_get_data (content, NULL) + offset, len);
}

static void
assert_damaged (Backend *backend, const char *name, guint64 offset, gsize len)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (backend->ops->get (backend, name, offset, len, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_DAMAGED);
  g_assert_nonnull (strstr (error->message, name));
}

/* Nothing of it can be read any more, by whoever has not seen it before. */
static void
assert_all_damaged (Fixture *fixture, const char *name)
{
  g_autoptr (GByteArray) bytes = stored (fixture, name);
  Backend *inner = backend_memory_new();
  g_autoptr (Backend) fresh = backend_sealed_new (inner, &key);
  g_autoptr (GBytes) copy = g_bytes_new (bytes->data, bytes->len);

  put (inner, name, copy);
  assert_damaged (fixture->sealed, name, 0, G_MAXSIZE);
  assert_damaged (fresh, name, 0, G_MAXSIZE);
  assert_damaged (fresh, name, 0, 1);
}

/* Ranges of all kinds, of objects of all sizes, put at once and in pieces. */
static void
test_ranges (Fixture *fixture, gconstpointer unused)
{
  static const gsize sizes[] = { 0, 1, 4095, 4096, 4097, 8191, 8192, 8193, 20000 };
  Backend *backend = fixture->sealed;

  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++) {
    g_autoptr (GError) error = NULL;
    g_autofree char *name = g_strdup_printf ("packs/whole/%zu", sizes[i]);
    g_autofree char *streamed = g_strdup_printf ("index/streamed-%zu", sizes[i]);
    g_autoptr (GBytes) content = content_new (sizes[i]);
    g_autoptr (BackendStream) stream = backend->ops->stream_begin (backend, &error);
    guint64 size = 0;
    gboolean existed;
    put (backend, name, content);
    for (gsize at = 0, piece; at < sizes[i]; at += piece) {
      piece = MIN (sizes[i] - at, 1 + at * 2);
      backend->ops->stream_write (stream, (guint8 *)g_bytes_get_data (content, NULL) + at, piece,
                                  &error);
      g_assert_no_error (error);
    }
    g_assert_true (backend->ops->stream_commit (stream, streamed, &existed, &error));
    g_assert_true (backend->ops->stat (backend, streamed, &size, &error));
    g_assert_cmpuint (size, ==, sizes[i]);
    g_assert_true (fixture->inner->ops->stat (fixture->inner, streamed, &size, &error));
    g_assert_cmpuint (size, ==, seal_stored_size (sizes[i]));
    for (gsize offset = 0; offset <= sizes[i]; offset += 1021)
      for (gsize len = 0; len <= sizes[i] - offset; len += 1531) {
        assert_range (backend, name, content, offset, len);
        assert_range (backend, streamed, content, offset, len);
      }
    assert_range (backend, streamed, content, 0, sizes[i]);
    assert_range (backend, name, content, 0, sizes[i]);
  }
}

/* Every byte of a sealed object counts: flipped, it is found by reading all, and, if it is not in
 * a block that is not asked for, by reading a part. */
static void
test_flipped (Fixture *fixture, gconstpointer unused)
{
  g_autoptr (GBytes) content = content_new (4196);
  put (fixture->sealed, "manifests/m", content);
  g_autoptr (GByteArray) whole = stored (fixture, "manifests/m");

  for (guint i = 0; i < whole->len; i++) {
    gboolean in_first_block = i >= SEAL_HEADER_BYTES && i < SEAL_HEADER_BYTES + 4112;
    g_autoptr (Backend) fresh = backend_sealed_new (backend_memory_new(), &key);
    whole->data[i] ^= 0x10;
    replace (fixture, "manifests/m", whole->data, whole->len);
    g_autoptr (GError) error = NULL;
    g_assert_null (
        fixture->sealed->ops->get (fixture->sealed, "manifests/m", 0, G_MAXSIZE, &error));
    /* A version that is not known is not damage, but neither is it read. */
    g_assert_true (
        g_error_matches (error, STORE_ERROR, STORE_ERROR_DAMAGED) ||
        (g_error_matches (error, STORE_ERROR, STORE_ERROR_VERSION) && i >= 10 && i < 12));
    g_clear_error (&error);
    g_autoptr (GBytes) end =
        fixture->sealed->ops->get (fixture->sealed, "manifests/m", 4100, 10, &error);
    g_assert_cmpint (end != NULL, ==, in_first_block);
    whole->data[i] ^= 0x10;
  }
  replace (fixture, "manifests/m", whole->data, whole->len);
  assert_range (fixture->sealed, "manifests/m", content, 0, 4196);
}

/* Cut at any place, or longer by anything. */
static void
test_cut_and_extended (Fixture *fixture, gconstpointer unused)
{
  g_autoptr (GBytes) content = content_new (8292);
  put (fixture->sealed, "packs/p", content);
  g_autoptr (GByteArray) whole = stored (fixture, "packs/p");

  for (guint len = 0; len < whole->len; len += len % 4112 < 100 ? 1 : 97) {
    replace (fixture, "packs/p", whole->data, len);
    assert_all_damaged (fixture, "packs/p");
  }
  guint len = whole->len;
  for (guint more = 1; more <= 4112; more += 257) {
    g_byte_array_set_size (whole, len + more);
    memset (whole->data + len, 0, more);
    replace (fixture, "packs/p", whole->data, whole->len);
    assert_all_damaged (fixture, "packs/p");
  }
}

/* A whole object under another's name. */
static void
test_renamed (Fixture *fixture, gconstpointer unused)
{
  g_autoptr (GBytes) content = content_new (5000);
  put (fixture->sealed, "packs/p", content);
  put (fixture->sealed, "packs/q", content);
  g_autoptr (GByteArray) p = stored (fixture, "packs/p");
  g_autoptr (GByteArray) q = stored (fixture, "packs/q");

  /* The same content is not the same bytes. */
  g_assert_cmpint (memcmp (p->data + 48, q->data + 48, p->len - 48), !=, 0);
  replace (fixture, "packs/q", p->data, p->len);
  replace (fixture, "packs/p", q->data, q->len);
  assert_all_damaged (fixture, "packs/p");
  assert_all_damaged (fixture, "packs/q");
}

/* Blocks in another order, twice, or from another object at the same place. */
static void
test_moved_blocks (Fixture *fixture, gconstpointer unused)
{
  g_autoptr (GBytes) content = content_new (4 * 4096);
  put (fixture->sealed, "packs/p", content);
  put (fixture->sealed, "packs/q", content);
  g_autoptr (GByteArray) p = stored (fixture, "packs/p");
  g_autoptr (GByteArray) q = stored (fixture, "packs/q");

  for (guint to = 0; to < 4; to++)
    for (guint from = 0; from < 8; from++) {
      const GByteArray *source = from < 4 ? p : q;
      if (from == to)
        continue;
      g_autofree guint8 *changed = g_memdup2 (p->data, p->len);
      memcpy (changed + 48 + to * 4112, source->data + 48 + from % 4 * 4112, 4112);
      replace (fixture, "packs/p", changed, p->len);
      assert_damaged (fixture->sealed, "packs/p", 0, G_MAXSIZE);
      assert_damaged (fixture->sealed, "packs/p", to * 4096, 4096);
    }
}

/* An object that was read, and is then removed and put anew by somebody else, is read anew; one
 * that is exchanged for a forgery is found. */
static void
test_put_anew (Fixture *fixture, gconstpointer unused)
{
  g_autoptr (GBytes) one = content_new (9000), two = content_new (5000);
  g_autoptr (Backend) other = backend_sealed_new (backend_memory_new(), &key);

  put (fixture->sealed, "index/i", one);
  assert_range (fixture->sealed, "index/i", one, 8000, 500);
  put (other, "index/i", two);
  g_autoptr (GError) error = NULL;
  Fixture second = { .inner = backend_memory_new() };
  second.sealed = backend_sealed_new (second.inner, &key);
  put (second.sealed, "index/i", two);
  g_autoptr (GByteArray) anew = stored (&second, "index/i");
  replace (fixture, "index/i", anew->data, anew->len);
  assert_range (fixture->sealed, "index/i", two, 4090, 500);
  backend_free (second.sealed);
  anew->data[60] ^= 1;
  replace (fixture, "index/i", anew->data, anew->len);
  assert_damaged (fixture->sealed, "index/i", 0, 100);
}

/* Plain text in the place of a sealed object is not taken; what has to be plain is. */
static void
test_plain (Fixture *fixture, gconstpointer unused)
{
  g_autoptr (GBytes) text = g_bytes_new_static ("vmckpt-manifest 1 1\n{}\n", 23);

  put (fixture->inner, "manifests/m", text);
  assert_damaged (fixture->sealed, "manifests/m", 0, G_MAXSIZE);
  put (fixture->sealed, "format", text);
  put (fixture->sealed, "keys/k", text);
  g_autoptr (GByteArray) format = stored (fixture, "format");
  g_autoptr (GByteArray) other = stored (fixture, "keys/k");
  g_assert_cmpmem (format->data, format->len, "vmckpt-manifest 1 1\n{}\n", 23);
  g_assert_cmpmem (other->data, other->len, "vmckpt-manifest 1 1\n{}\n", 23);
  assert_range (fixture->sealed, "format", text, 7, 8);
}

/* Another key opens nothing. */
static void
test_other_key (Fixture *fixture, gconstpointer unused)
{
  static const SealKey other_key = { "another key" };
  g_autoptr (GBytes) content = content_new (100);
  put (fixture->sealed, "tags/t", content);
  g_autoptr (GByteArray) bytes = stored (fixture, "tags/t");
  Fixture other = { .inner = backend_memory_new() };
  g_autoptr (Backend) sealed = backend_sealed_new (other.inner, &other_key);

  replace (&other, "tags/t", bytes->data, bytes->len);
  assert_damaged (sealed, "tags/t", 0, G_MAXSIZE);
}

#define ADD(name, func)                                                                            \
  g_test_add ("/store/backend-sealed/" name, Fixture, NULL, set_up, func, tear_down)

/* The header is remembered. Who wants to know what is on the medium says so first. */
static void
test_forget (Fixture *fixture, gconstpointer unused)
{
  g_autoptr (GBytes) content = content_new (10000);
  g_autoptr (GError) error = NULL;

  put (fixture->sealed, "packs/one", content);
  g_autoptr (GBytes) before =
      fixture->sealed->ops->get (fixture->sealed, "packs/one", 5, 10, &error);
  g_assert_no_error (error);
  fixture_spoil (fixture->inner, "packs/one", SEAL_HEADER_BYTES + 10000 + 3 * 16, 30);
  fixture->sealed->ops->forget (fixture->sealed);
  g_autoptr (GBytes) after =
      fixture->sealed->ops->get (fixture->sealed, "packs/one", 5, 10, &error);
  g_assert_error (error, STORE_ERROR, STORE_ERROR_DAMAGED);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("ranges", test_ranges);
  ADD ("flipped", test_flipped);
  ADD ("cut-and-extended", test_cut_and_extended);
  ADD ("renamed", test_renamed);
  ADD ("moved-blocks", test_moved_blocks);
  ADD ("put-anew", test_put_anew);
  ADD ("plain", test_plain);
  ADD ("other-key", test_other_key);
  ADD ("forget", test_forget);
  return g_test_run();
}
