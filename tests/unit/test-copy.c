/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copying between stores: once, only what is missing, and right. */
#include "store-fixture.h"

#include "store-private.h"

#include <vmckpt/store/copy.h>

#define PAGES 2000
#define CHANGED 100

static guint64 *
seeds_new (guint64 first)
{
  guint64 *seeds = g_new (guint64, PAGES);

  for (guint i = 0; i < PAGES; i++)
    seeds[i] = i % 5 == 0 ? 0 : first + i;
  return seeds;
}

/* Two checkpoints of one guest, the second on top of the first. */
typedef struct {
  Store *from, *to;
  guint64 *first, *second;
  Manifest *one, *two;
} Fixture;

static void
fixture_set_up (Fixture *fixture, gconstpointer data)
{
  fixture->from = fixture_store_new (backend_memory_new());
  fixture->to = fixture_store_new (backend_memory_new());
  /* Both would be called the same otherwise. */
  g_free (fixture->to->backend->location);
  fixture->to->backend->location = g_strdup ("(other)");
  fixture->first = seeds_new (1000);
  fixture->second = g_memdup2 (fixture->first, PAGES * sizeof *fixture->first);
  for (guint i = 0; i < CHANGED; i++)
    fixture->second[i * 7] = 900000 + i;
  fixture->second[6] = 0;
  fixture->one = fixture_checkpoint (fixture->from, 1, fixture->first, PAGES, NULL, NULL);
  fixture->two =
      fixture_checkpoint (fixture->from, 2, fixture->second, PAGES, fixture->one, fixture->first);
}

static void
fixture_tear_down (Fixture *fixture, gconstpointer data)
{
  manifest_free (fixture->one);
  manifest_free (fixture->two);
  g_free (fixture->first);
  g_free (fixture->second);
  store_unref (fixture->from);
  store_unref (fixture->to);
}

/* Copies all of a store. (transfer full) */
static GPtrArray *
copy_all (Store *from, Store *to)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) all = store_manifest_list (from, NULL, NULL, &error);
  GPtrArray *copied;

  g_assert_no_error (error);
  store_copy (from, to, all, &copied, NULL, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (copied->len, ==, all->len);
  return copied;
}

static void
assert_sound (Store *store)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) findings = NULL;

  g_assert_true (store_check (store, TRUE, &findings, NULL, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (findings->len, ==, 0);
  g_assert_cmpuint (fixture_count_objects (store->backend, "writers/"), ==, 0);
}

/* Content arrives under other names, incrementally; who it was is known. */
static void
test_round_trip (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GPtrArray) copied = copy_all (fixture->from, fixture->to);
  const StoreCopied *one = copied->pdata[0], *two = copied->pdata[1];
  g_autoptr (Manifest) manifest = store_manifest_load (fixture->to, two->id, NULL);

  g_assert_cmpstr (one->source, ==, fixture->one->id);
  g_assert_cmpstr (one->id, !=, fixture->one->id);
  g_assert_false (one->there);
  g_assert_cmpuint (one->pages_read, ==, PAGES - PAGES / 5);
  g_assert_cmpuint (two->pages_read, ==, CHANGED);
  g_assert_cmpuint (two->new_bytes, ==, CHANGED * PAGE_SIZE_BYTES);
  g_assert_cmpstr (manifest->origin_store, ==, store_id (fixture->from));
  g_assert_cmpstr (manifest->origin_id, ==, fixture->two->id);
  fixture_assert_checkpoint (fixture->to, one->id, fixture->first, PAGES);
  fixture_assert_checkpoint (fixture->to, two->id, fixture->second, PAGES);
  assert_sound (fixture->to);
  assert_sound (fixture->from);
}

/* A second run writes nothing, and says so. */
static void
test_again (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GPtrArray) copied = copy_all (fixture->from, fixture->to);
  guint objects = fixture_count_objects (fixture->to->backend, "");
  g_autoptr (GPtrArray) again = copy_all (fixture->from, fixture->to);

  g_assert_cmpuint (fixture_count_objects (fixture->to->backend, ""), ==, objects);
  for (guint i = 0; i < again->len; i++) {
    const StoreCopied *one = again->pdata[i];
    g_assert_true (one->there);
    g_assert_cmpuint (one->stored_bytes, ==, 0);
    g_assert_cmpstr (one->id, ==, ((StoreCopied *)copied->pdata[i])->id);
  }
  /* Nor does it come back to where it came from, nor by way of a third store. */
  g_autoptr (GPtrArray) back = copy_all (fixture->to, fixture->from);
  g_assert_true (((StoreCopied *)back->pdata[0])->there);
  g_assert_cmpstr (((StoreCopied *)back->pdata[0])->id, ==, fixture->one->id);
}

/* Tags, those of the manifest and later ones; also when the checkpoint is there already. */
static void
test_tags (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (store_tag_add (fixture->from, fixture->one->id, "early", &error));
  g_autoptr (GPtrArray) copied = copy_all (fixture->from, fixture->to);
  g_assert_true (store_tag_add (fixture->from, fixture->one->id, "late", &error));
  g_autoptr (GPtrArray) again = copy_all (fixture->from, fixture->to);
  g_autoptr (Manifest) manifest =
      store_manifest_load (fixture->to, ((StoreCopied *)again->pdata[0])->id, &error);
  g_auto (GStrv) tags = store_tags (fixture->to, manifest, &error);
  g_autofree char *joined = g_strjoinv (" ", tags);
  g_assert_cmpstr (joined, ==, "early late");
}

/* The newer one alone: full, as there is nothing to build on. */
static void
test_one_of_them (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) wish = g_ptr_array_new();
  g_autoptr (GPtrArray) copied = NULL;

  g_ptr_array_add (wish, fixture->two);
  g_assert_true (store_copy (fixture->from, fixture->to, wish, &copied, NULL, NULL, &error));
  g_assert_cmpuint (copied->len, ==, 1);
  fixture_assert_checkpoint (fixture->to, ((StoreCopied *)copied->pdata[0])->id, fixture->second,
                             PAGES);
  assert_sound (fixture->to);
}

static void
cancel (Phase phase, guint64 done, guint64 total, gpointer user_data)
{
  g_assert_cmpuint (done, <=, total);
  g_cancellable_cancel (user_data);
}

/* Interrupted: nothing is to be seen of it, and the next one succeeds. */
static void
test_interrupted (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GCancellable) cancellable = g_cancellable_new();
  const Progress progress = { cancel, cancellable };
  g_autoptr (GPtrArray) all = store_manifest_list (fixture->from, NULL, NULL, NULL);
  g_autoptr (GPtrArray) copied = NULL;

  g_assert_false (
      store_copy (fixture->from, fixture->to, all, &copied, &progress, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_assert_cmpuint (fixture_count_objects (fixture->to->backend, ""), ==, 1);
  g_assert_cmpuint (fixture_count_objects (fixture->from->backend, "writers/"), ==, 0);
  g_autoptr (GPtrArray) again = copy_all (fixture->from, fixture->to);
  fixture_assert_checkpoint (fixture->to, ((StoreCopied *)again->pdata[1])->id, fixture->second,
                             PAGES);
}

/* A damaged checkpoint is named; the others are copied. */
static void
test_damaged_source (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autofree guint64 *other = seeds_new (500000);
  const Manifest *one = fixture->one;
  g_autoptr (Manifest) three = fixture_checkpoint (fixture->from, 3, other, PAGES, NULL, NULL);
  ChunkLocation location;

  g_assert_true (store_chunk_locate (
      fixture->from, &manifest_find_part (one, "ram", NULL)->map.root, &location, &error));
  g_autofree char *object = object_name ("packs", &location.pack);
  g_assert_true (store_remove (fixture->from, object, &error));
  frame_cache_free (fixture->from->frames);
  fixture->from->frames = frame_cache_new (1);
  g_autoptr (GPtrArray) copied = copy_all (fixture->from, fixture->to);
  g_assert_nonnull (strstr (((StoreCopied *)copied->pdata[0])->problem, "missing"));
  g_assert_null (((StoreCopied *)copied->pdata[0])->id);
  fixture_assert_checkpoint (fixture->to, ((StoreCopied *)copied->pdata[2])->id, other, PAGES);
}

/* The manifest of a copy is damaged: copying again makes it whole, or success would be a lie. */
static void
test_damaged_copy (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GPtrArray) before = copy_all (fixture->from, fixture->to);
  const StoreCopied *copy = before->pdata[0];
  g_autofree char *object = g_strconcat ("manifests/", copy->id, NULL);
  guint64 size = 0;

  g_assert_true (fixture->to->backend->ops->stat (fixture->to->backend, object, &size, NULL));
  fixture_spoil (fixture->to->backend, object, size, size / 2);
  g_autoptr (GPtrArray) after = copy_all (fixture->from, fixture->to);
  g_assert_false (((StoreCopied *)after->pdata[0])->there);
  fixture_assert_checkpoint (fixture->to, ((StoreCopied *)after->pdata[0])->id, fixture->first,
                             PAGES);
  assert_sound (fixture->to);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define ADD(path, function)                                                                        \
  g_test_add (path, Fixture, NULL, fixture_set_up, function, fixture_tear_down)
  ADD ("/copy/round-trip", test_round_trip);
  ADD ("/copy/again", test_again);
  ADD ("/copy/tags", test_tags);
  ADD ("/copy/one-of-them", test_one_of_them);
  ADD ("/copy/interrupted", test_interrupted);
  ADD ("/copy/damaged-source", test_damaged_source);
  ADD ("/copy/damaged-copy", test_damaged_copy);
#undef ADD
  return g_test_run();
}
