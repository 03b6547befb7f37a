/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Hints: kept once, gone with their checkpoint, and missed by nobody. */
#include "store-fixture.h"

#include "store-private.h"

#include <vmckpt/store/copy.h>
#include <vmckpt/store/hint.h>

static const guint64 seeds[] = { 1, 2, 3 };

static Store *
store_new (void)
{
  return fixture_store_new (backend_memory_new());
}

static void
put (Store *store, const Manifest *manifest, const char *text)
{
  g_autoptr (GBytes) data = g_bytes_new (text, strlen (text));
  g_autoptr (GError) error = NULL;

  store_hint_put (store, manifest->id, data, &error);
  g_assert_no_error (error);
}

/* What the hint says; NULL: there is none. Newly allocated. */
static char *
get (Store *store, const char *id)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) data = store_hint_get (store, id, &error);

  if (data == NULL)
    g_assert_error (error, STORE_ERROR, STORE_ERROR_NOT_FOUND);
  return data != NULL ? g_strndup (g_bytes_get_data (data, NULL), g_bytes_get_size (data)) : NULL;
}

#define ASSERT_HINT(store, id, expected)                                                           \
  G_STMT_START                                                                                     \
  {                                                                                                \
    g_autofree char *found = get (store, id);                                                      \
    g_assert_cmpstr (found, ==, expected);                                                         \
  }                                                                                                \
  G_STMT_END

static char *
object_of (const Manifest *manifest)
{
  return g_strconcat ("hints/", manifest->id, NULL);
}

static guint
count_findings (Store *store)
{
  g_autoptr (GPtrArray) findings = NULL;
  g_autoptr (GError) error = NULL;

  store_check (store, FALSE, &findings, NULL, NULL, &error);
  g_assert_no_error (error);
  return findings->len;
}

static void
collect_garbage (Store *store)
{
  StoreGcReport report;
  g_autoptr (GError) error = NULL;

  store_gc (store, FALSE, &report, NULL, NULL, &error);
  g_assert_no_error (error);
}

static void
test_put_once (void)
{
  Store *store = store_new();
  g_autoptr (Manifest) manifest = fixture_checkpoint (store, 1, seeds, 3, NULL, NULL);

  ASSERT_HINT (store, manifest->id, NULL);
  put (store, manifest, "first");
  put (store, manifest, "second");
  ASSERT_HINT (store, manifest->id, "first");
  g_assert_cmpuint (count_findings (store), ==, 0);
  collect_garbage (store);
  ASSERT_HINT (store, manifest->id, "first");
  store_unref (store);
}

static void
test_refused (void)
{
  Store *store = store_new();
  g_autoptr (Manifest) manifest = fixture_checkpoint (store, 1, seeds, 3, NULL, NULL);
  g_autofree char *zeros = g_malloc0 (STORE_HINT_MAX_BYTES + 1);
  g_autoptr (GBytes) most = g_bytes_new (zeros, STORE_HINT_MAX_BYTES);
  g_autoptr (GBytes) more = g_bytes_new (zeros, STORE_HINT_MAX_BYTES + 1);
  g_autofree char *other = g_strnfill (64, 'a');
  g_autoptr (GError) error = NULL;

  g_assert_false (store_hint_put (store, other, most, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_NOT_FOUND);
  g_clear_error (&error);
  g_assert_false (store_hint_put (store, "../format", most, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_NOT_FOUND);
  g_clear_error (&error);
  g_assert_false (store_hint_put (store, manifest->id, more, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
  g_clear_error (&error);
  g_assert_true (store_hint_put (store, manifest->id, most, &error));
  g_autoptr (GBytes) back = store_hint_get (store, manifest->id, &error);
  g_assert_true (g_bytes_equal (back, most));
  store_unref (store);
}

/* With its checkpoint it goes at once; one that was left behind goes with the next gc. */
static void
test_removed (void)
{
  Store *store = store_new();
  g_autoptr (Manifest) one = fixture_checkpoint (store, 1, seeds, 3, NULL, NULL);
  g_autoptr (Manifest) two = fixture_checkpoint (store, 2, seeds, 2, NULL, NULL);
  g_autofree char *stray = g_strconcat ("manifests/", two->id, NULL);
  g_autoptr (GError) error = NULL;

  put (store, one, "one");
  put (store, two, "two");
  g_assert_true (store_manifest_remove (store, one->id, &error));
  ASSERT_HINT (store, one->id, NULL);
  g_assert_true (store_remove (store, stray, &error));
  ASSERT_HINT (store, two->id, "two");
  collect_garbage (store);
  ASSERT_HINT (store, two->id, NULL);
  store_unref (store);
}

/* A damaged one is found by check, is no hint, and is removed by gc. */
static void
test_damaged (void)
{
  Store *store = store_new();
  g_autoptr (Manifest) manifest = fixture_checkpoint (store, 1, seeds, 3, NULL, NULL);
  g_autofree char *object = object_of (manifest);
  g_autoptr (GError) error = NULL;

  put (store, manifest, "whole");
  g_autoptr (GBytes) whole = store_get (store, object, 0, G_MAXSIZE, &error);
  g_autofree guint8 *bytes = g_memdup2 (g_bytes_get_data (whole, NULL), g_bytes_get_size (whole));
  for (gsize at = 0; at < g_bytes_get_size (whole); at += 7) {
    g_autoptr (GBytes) data = NULL;
    bytes[at] ^= 1;
    g_autoptr (GBytes) flipped = g_bytes_new (bytes, g_bytes_get_size (whole));
    bytes[at] ^= 1;
    g_assert_true (store_remove (store, object, &error));
    g_assert_true (store_put (store, object, flipped, NULL, &error));
    data = store_hint_get (store, manifest->id, &error);
    g_assert_null (data);
    g_assert_error (error, STORE_ERROR, STORE_ERROR_DAMAGED);
    g_clear_error (&error);
  }
  g_assert_cmpuint (count_findings (store), ==, 1);
  collect_garbage (store);
  g_assert_cmpuint (count_findings (store), ==, 0);
  ASSERT_HINT (store, manifest->id, NULL);
  store_unref (store);
}

/* It goes along into another store, also to a copy that is there already, and replaces none. */
static void
test_copied (void)
{
  Store *from = store_new(), *to = store_new();
  g_autoptr (Manifest) manifest = fixture_checkpoint (from, 1, seeds, 3, NULL, NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) all = store_manifest_list (from, NULL, NULL, &error);
  g_autoptr (GPtrArray) copied = NULL;

  g_free (to->backend->location);
  to->backend->location = g_strdup ("(other)");
  for (int i = 0; i < 2; i++) {
    g_clear_pointer (&copied, g_ptr_array_unref);
    g_assert_true (store_copy (from, to, all, &copied, NULL, NULL, &error));
    const char *id = ((StoreCopied *)copied->pdata[0])->id;
    ASSERT_HINT (to, id, i == 0 ? NULL : "learned");
    put (from, manifest, "learned");
  }
  store_unref (from);
  store_unref (to);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/hint/put-once", test_put_once);
  g_test_add_func ("/hint/refused", test_refused);
  g_test_add_func ("/hint/removed", test_removed);
  g_test_add_func ("/hint/damaged", test_damaged);
  g_test_add_func ("/hint/copied", test_copied);
  return g_test_run();
}
