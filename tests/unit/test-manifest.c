/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Manifests: to bytes and back, and finding checkpoints by what people write. */
#include "store-fixture.h"

#include "store-private.h"

static Manifest *
full_manifest (void)
{
  Manifest *manifest = fixture_manifest_new ("g1", 1700000000000000);
  PageMap map = { 12345, { { 1, 2, 3 } } };

  manifest->parent = g_strdup ("parent");
  manifest->tag = g_strdup ("before-upgrade");
  manifest->note = g_strdup ("a \"note\"\nof two lines, ü");
  manifest->machine = json_object_new();
  json_object_set_int_member (manifest->machine, "cpus", 2);
  manifest->report = json_object_new();
  json_object_set_double_member (manifest->report, "pause_ms", 1.5);
  manifest_add_part (manifest, "ram", "pc.ram", &map);
  manifest_add_part (manifest, "device-state", "", &map);
  return manifest;
}

static void
test_bytes (void)
{
  g_autoptr (Manifest) manifest = full_manifest();
  g_autoptr (GBytes) bytes = manifest_to_bytes (manifest);
  g_autoptr (GError) error = NULL;
  g_autoptr (Manifest) back = manifest_from_bytes (bytes, &error);

  g_assert_no_error (error);
  g_autoptr (GBytes) again = manifest_to_bytes (back);
  g_assert_true (g_bytes_equal (bytes, again));
  g_assert_cmpstr (back->note, ==, manifest->note);
  g_assert_cmpstr (back->guest_uuid, ==, FIXTURE_UUID);
  g_assert_cmpint (back->created_us, ==, manifest->created_us);
  g_assert_cmpint (json_object_get_int_member (back->machine, "cpus"), ==, 2);
  const ManifestPart *part = manifest_find_part (back, "device-state", NULL);
  g_assert_cmpuint (part->map.length, ==, 12345);
  g_assert_cmpuint (part->map.root.bytes[2], ==, 3);
  g_assert_null (manifest_find_part (back, "ram", "other"));
  g_assert_nonnull (manifest_find_part (back, "ram", "pc.ram"));
}

static void
assert_refused (const char *text, int code, const char *says)
{
  g_autoptr (GBytes) bytes = g_bytes_new (text, strlen (text));
  g_autoptr (GError) error = NULL;

  g_assert_null (manifest_from_bytes (bytes, &error));
  g_assert_error (error, STORE_ERROR, code);
  g_assert_nonnull (strstr (error->message, says));
}

static void
test_refused (void)
{
#define M "vmckpt-manifest 1 1\n"
#define HEAD M "{\"guest\":\"g\",\"guest_uuid\":\"" FIXTURE_UUID "\",\"created_us\":1,"
  assert_refused ("", STORE_ERROR_DAMAGED, "first line");
  assert_refused ("vmckpt-tag 1 1\n{}", STORE_ERROR_DAMAGED, "first line");
  assert_refused ("vmckpt-manifest 3 2\n{}", STORE_ERROR_VERSION, "version 2");
  assert_refused ("vmckpt-manifest 1 2\n{}", STORE_ERROR_DAMAGED, "first line");
  assert_refused (M "{", STORE_ERROR_DAMAGED, "JSON");
  assert_refused (M "[]", STORE_ERROR_DAMAGED, "JSON");
  assert_refused (M "{}", STORE_ERROR_DAMAGED, "guest");
  assert_refused (HEAD "\"parts\":{}}", STORE_ERROR_DAMAGED, "parts");
  assert_refused (HEAD "\"parts\":[1]}", STORE_ERROR_DAMAGED, "part");
  assert_refused (HEAD "\"parts\":[{\"role\":\"ram\",\"name\":\"\",\"length\":-1,\"root\":\"\"}]}",
                  STORE_ERROR_DAMAGED, "length");
  assert_refused (HEAD "\"parts\":[{\"role\":\"ram\",\"name\":\"\",\"length\":1,\"root\":\"00\"}]}",
                  STORE_ERROR_DAMAGED, "impossible");
  assert_refused (HEAD "\"parts\":[],\"machine\":1}", STORE_ERROR_DAMAGED, "machine");
  assert_refused (HEAD "\"parts\":[],\"tag\":\"a b\"}", STORE_ERROR_DAMAGED, "tag");
  g_autofree char *deep = g_strnfill (100, '[');
  g_autofree char *nested = g_strconcat (M "{\"machine\":", deep, NULL);
  assert_refused (nested, STORE_ERROR_DAMAGED, "deep");
  /* A later version that this one may read: unknown members are ignored. */
  const char *later = "vmckpt-manifest 7 1\n{\"guest\":\"g\",\"guest_uuid\":\"" FIXTURE_UUID
                      "\",\"created_us\":1,\"parts\":[],\"new\":{}}";
  g_autoptr (GBytes) bytes = g_bytes_new (later, strlen (later));
  g_autoptr (Manifest) manifest = manifest_from_bytes (bytes, NULL);
  g_assert_nonnull (manifest);
}

static char *
commit (Store *store, const char *guest, gint64 created_us, const char *tag)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);
  g_autoptr (Manifest) manifest = fixture_manifest_new (guest, created_us);

  g_assert_no_error (error);
  manifest->tag = g_strdup (tag);
  g_assert_true (store_writer_commit (writer, manifest, NULL, &error));
  return g_strdup (manifest->id);
}

static void
assert_finds (Store *store, const char *reference, const char *id)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Manifest) manifest = store_manifest_find (store, reference, &error);

  g_assert_no_error (error);
  g_assert_cmpstr (manifest->id, ==, id);
}

static void
assert_not_found (Store *store, const char *reference, int code)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (store_manifest_find (store, reference, &error));
  g_assert_error (error, STORE_ERROR, code);
}

static void
test_find (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autofree char *a1 = commit (store, "a", 10, "good");
  g_autofree char *a2 = commit (store, "a", 20, NULL);
  g_autofree char *b = commit (store, "b", 30, "good");
  g_autofree char *prefix = g_strndup (a1, 12);
  g_autofree char *named = commit (store, prefix, 5, NULL); /* a guest called like an id */
  g_autoptr (GError) error = NULL;

  assert_finds (store, a1, a1);
  assert_finds (store, "a", a2);
  assert_finds (store, "a@good", a1);
  assert_finds (store, "b", b);
  assert_finds (store, prefix, named);
  g_autofree char *longer = g_strndup (a1, 13);
  assert_finds (store, longer, a1);
  assert_not_found (store, "c", STORE_ERROR_NOT_FOUND);
  assert_not_found (store, "a@none", STORE_ERROR_NOT_FOUND);
  assert_not_found (store, "b@", STORE_ERROR_NOT_FOUND);
  g_autofree char *three = g_strndup (b, 3); /* too short to be an id */
  assert_not_found (store, three, STORE_ERROR_NOT_FOUND);
  assert_not_found (store, "../format", STORE_ERROR_NOT_FOUND);
  g_assert_true (store_tag_add (store, a2, "good", &error));
  assert_finds (store, "a@good", a2);
  g_assert_true (store_manifest_remove (store, a2, &error));
  assert_finds (store, "a@good", a1);
  g_assert_false (store_manifest_remove (store, a2, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_NOT_FOUND);
}

/* Two ids with the same beginning are a question, not a guess. */
static void
test_ambiguous (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autoptr (GBytes) junk = g_bytes_new_static ("x", 1);
  gboolean existed;

  for (guint i = 0; i < 2; i++) {
    g_autofree char *tail = g_strnfill (58, '0' + i);
    g_autofree char *name = g_strconcat ("manifests/abcdef", tail, NULL);
    store->backend->ops->put_if_absent (store->backend, name, junk, &existed, NULL);
  }
  assert_not_found (store, "abcdef", STORE_ERROR_AMBIGUOUS);
}

static void
test_tags (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autofree char *id = commit (store, "a", 10, "middle");
  g_autoptr (GError) error = NULL;
  g_autoptr (Manifest) manifest = store_manifest_load (store, id, &error);

  g_assert_true (store_tag_add (store, id, "zebra", &error));
  g_assert_true (store_tag_add (store, id, "ape", &error));
  g_assert_true (store_tag_add (store, id, "middle", &error));
  g_auto (GStrv) tags = store_tags (store, manifest, &error);
  g_autofree char *joined = g_strjoinv (" ", tags);
  g_assert_cmpstr (joined, ==, "ape middle zebra");
  g_assert_false (store_tag_add (store, id, "not a tag", &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
  g_clear_error (&error);
  g_autofree char *other = g_strnfill (64, 'a');
  g_assert_false (store_tag_add (store, other, "tag", &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_NOT_FOUND);
}

/* A manifest that could not be read back is not written. */
static void
test_unreadable_refused (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);
  g_autoptr (Manifest) manifest = fixture_manifest_new ("no name/", 1);

  g_assert_false (store_writer_commit (writer, manifest, NULL, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_DAMAGED);
  g_assert_cmpuint (fixture_count_objects (store->backend, "manifests/"), ==, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/store/manifest/bytes", test_bytes);
  g_test_add_func ("/store/manifest/refused", test_refused);
  g_test_add_func ("/store/manifest/find", test_find);
  g_test_add_func ("/store/manifest/ambiguous", test_ambiguous);
  g_test_add_func ("/store/manifest/tags", test_tags);
  g_test_add_func ("/store/manifest/unreadable-refused", test_unreadable_refused);
  return g_test_run();
}
