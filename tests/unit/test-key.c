/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Encrypted stores: what opens them, what is refused, and what the medium shows. */
#include "store-fixture.h"

#include "format.h"
#include "key-object.h"
#include "store-private.h"

#include <vmckpt/store/claim.h>
#include <vmckpt/store/key.h>
#include <vmckpt/store/quota.h>
#include <vmckpt/util/bytes.h>

static KeyMaterial *
key_file (char fill)
{
  char content[32];

  memset (content, fill, sizeof content);
  return key_material_new_file (content, sizeof content, NULL);
}

static KeyMaterial *
password (const char *text)
{
  return key_material_new_password (text, strlen (text), NULL);
}

/* A new encrypted store in @path that @material opens. */
static Store *
new_store (const char *path, const KeyMaterial *material)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Backend) backend = fixture_directory_backend (path);

  store_init_encrypted (backend, material, "first", &error);
  g_assert_no_error (error);
  Store *store = store_open_with_key (g_steal_pointer (&backend), material, NULL, &error);
  g_assert_no_error (error);
  g_assert_true (store_is_encrypted (store));
  return store;
}

static char *
opening_key (const char *path, const KeyMaterial *material)
{
  g_autoptr (GError) error = NULL;
  char *id = NULL;
  g_autoptr (Store) store =
      store_open_with_key (fixture_directory_backend (path), material, &id, &error);

  g_assert_no_error (error);
  g_assert_nonnull (store);
  return id;
}

static void
assert_refused (const char *path, const KeyMaterial *material, int code, const char *says)
{
  g_autoptr (GError) error = NULL;
  char *id = NULL;

  g_assert_null (store_open_with_key (fixture_directory_backend (path), material, &id, &error));
  g_assert_error (error, STORE_ERROR, code);
  g_assert_nonnull (strstr (error->message, says));
  g_assert_null (id);
}

/* One checkpoint, as in any other store; opened again, all of it is there. */
static void
test_checkpoint (void)
{
  g_autoptr (FixtureDirectory) path = fixture_directory_new();
  g_autoptr (KeyMaterial) key = key_file ('k');
  static const guint64 seeds[] = { 1, 2, 3, 0, 2 }, later[] = { 1, 9, 3, 0, 2 };
  g_autofree char *first = NULL, *second = NULL;
  {
    g_autoptr (Store) store = new_store (path, key);
    g_autoptr (Manifest) one = fixture_checkpoint (store, 1, seeds, 5, NULL, NULL);
    g_autoptr (Manifest) two = fixture_checkpoint (store, 2, later, 5, one, seeds);
    first = g_strdup (one->id);
    second = g_strdup (two->id);
  }
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) findings = NULL;
  g_autoptr (Store) store =
      store_open_with_key (fixture_directory_backend (path), key, NULL, &error);
  fixture_assert_checkpoint (store, first, seeds, 5);
  fixture_assert_checkpoint (store, second, later, 5);
  g_assert_true (store_manifest_remove (store, first, &error));
  g_assert_true (store_gc (store, FALSE, NULL, NULL, NULL, &error));
  fixture_assert_checkpoint (store, second, later, 5);
  g_assert_true (store_check (store, TRUE, &findings, NULL, NULL, &error));
  g_assert_cmpuint (findings->len, ==, 0);
}

/* Many checkpoints: index tables are merged, as streams, and read in pieces. */
static void
test_merged_tables (void)
{
  g_autoptr (FixtureDirectory) path = fixture_directory_new();
  g_autoptr (KeyMaterial) key = key_file ('k');
  g_autoptr (GPtrArray) ids = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GPtrArray) findings = NULL;
  g_autoptr (GError) error = NULL;
  guint64 seeds[40];
  {
    g_autoptr (Store) store = new_store (path, key);
    for (guint n = 0; n < 20; n++) {
      for (guint i = 0; i < G_N_ELEMENTS (seeds); i++)
        seeds[i] = 1000 * n + i;
      g_autoptr (Manifest) one = fixture_checkpoint (store, n, seeds, 40, NULL, NULL);
      g_ptr_array_add (ids, g_strdup (one->id));
    }
    g_assert_cmpuint (fixture_count_objects (store->backend, "index/"), <, 20);
  }
  g_autoptr (Store) store =
      store_open_with_key (fixture_directory_backend (path), key, NULL, &error);
  for (guint n = 0; n < ids->len; n++) {
    for (guint i = 0; i < G_N_ELEMENTS (seeds); i++)
      seeds[i] = 1000 * n + i;
    fixture_assert_checkpoint (store, ids->pdata[n], seeds, 40);
  }
  g_assert_true (store_check (store, TRUE, &findings, NULL, NULL, &error));
  g_assert_cmpuint (findings->len, ==, 0);
}

/* No key, a wrong one, one of another kind: refused, each with its own sentence. */
static void
test_wrong_key (void)
{
  g_autoptr (FixtureDirectory) path = fixture_directory_new();
  g_autoptr (KeyMaterial) right = key_file ('k'), wrong = key_file ('w'), word = password ("k");
  g_autoptr (Store) store = new_store (path, right);
  g_autoptr (GError) error = NULL;

  assert_refused (path, NULL, STORE_ERROR_KEY_NEEDED, "--key-file");
  assert_refused (path, wrong, STORE_ERROR_KEY_WRONG, "no key of the store is the key file");
  assert_refused (path, word, STORE_ERROR_KEY_WRONG, "no key of the store is a password");
  /* The same for a store that is open already. */
  g_autofree char *id = store_key_find (store, right, &error);
  g_assert_no_error (error);
  g_assert_nonnull (id);
  g_assert_true (store_key_exists (store, id, NULL));
  g_assert_null (store_key_find (store, wrong, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_KEY_WRONG);
  g_clear_error (&error);
  g_assert_null (store_key_find (store, NULL, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_KEY_NEEDED);
}

/* Whoever has a key does not write in the clear because another store lies there. */
static void
test_not_encrypted (void)
{
  g_autoptr (FixtureDirectory) path = fixture_directory_new();
  g_autoptr (KeyMaterial) key = key_file ('k');
  g_autoptr (Store) plain = fixture_store_new (fixture_directory_backend (path));
  g_autoptr (GError) error = NULL;

  assert_refused (path, key, STORE_ERROR_KEY_WRONG, "not encrypted");
  g_assert_null (store_key_find (plain, key, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_KEY_WRONG);
  g_clear_error (&error);
  g_assert_null (store_key_list (plain, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_NOT_FOUND);
}

/* Passwords and key files, several at once, added and removed; never the last. */
static void
test_several (void)
{
  g_autoptr (FixtureDirectory) path = fixture_directory_new();
  g_autoptr (KeyMaterial) file = key_file ('k'), other = key_file ('o'), word = password ("pass");
  g_autoptr (Store) store = new_store (path, file);
  g_autoptr (GError) error = NULL;
  g_autofree char *second = store_key_add (store, other, NULL, &error);
  g_autofree char *third = store_key_add (store, word, "b\xc3\xbcro", &error);
  g_autofree char *first = opening_key (path, file);
  g_autofree char *by_other = opening_key (path, other);
  g_autofree char *by_word = opening_key (path, word);

  g_assert_no_error (error);
  g_assert_cmpstr (by_other, ==, second);
  g_assert_cmpstr (by_word, ==, third);
  g_autoptr (GPtrArray) keys = store_key_list (store, &error);
  g_assert_cmpuint (keys->len, ==, 3);
  const StoreKey *shown[] = { keys->pdata[0], keys->pdata[1], keys->pdata[2] };
  g_assert_cmpstr (shown[0]->id, ==, first);
  g_assert_cmpstr (shown[0]->label, ==, "first");
  g_assert_null (shown[1]->label);
  g_assert_cmpint (shown[2]->kind, ==, KEY_PASSWORD);
  g_assert_cmpstr (shown[2]->label, ==, "b\xc3\xbcro");
  g_assert_false (shown[0]->damaged || shown[1]->damaged || shown[2]->damaged);
  g_autofree char *gone = store_key_remove (store, first, &error);
  g_assert_cmpstr (gone, ==, first);
  g_assert_false (store_key_exists (store, first, NULL));
  assert_refused (path, file, STORE_ERROR_KEY_WRONG, "no key of the store");
  third[8] = 0; /* a beginning is enough */
  g_autofree char *gone_too = store_key_remove (store, third, &error);
  g_assert_no_error (error);
  assert_refused (path, word, STORE_ERROR_KEY_WRONG, "no key of the store");
  g_assert_null (store_key_remove (store, second, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_IN_USE);
  g_clear_error (&error);
  g_assert_null (store_key_remove (store, "0000", &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_NOT_FOUND);
  g_autofree char *still = opening_key (path, other);
  g_assert_cmpuint (fixture_count_objects (store->backend, "keys/"), ==, 1);
}

static void
test_change (void)
{
  g_autoptr (FixtureDirectory) path = fixture_directory_new();
  g_autoptr (KeyMaterial) former = password ("former"), fresh = password ("fresh");
  g_autoptr (Store) store = new_store (path, former);
  g_autoptr (GError) error = NULL;
  g_autofree char *id = opening_key (path, former);
  g_autofree char *changed = store_key_change (store, id, fresh, &error);
  g_autofree char *opening = opening_key (path, fresh);
  g_autoptr (GPtrArray) keys = store_key_list (store, &error);

  g_assert_no_error (error);
  g_assert_cmpstr (opening, ==, changed);
  g_assert_cmpuint (keys->len, ==, 1);
  g_assert_cmpstr (((StoreKey *)keys->pdata[0])->label, ==, "first");
  assert_refused (path, former, STORE_ERROR_KEY_WRONG, "the password that was given");
}

/* One that was marked as going when its remover was killed does not count as one that stays. */
static void
test_going (void)
{
  g_autoptr (FixtureDirectory) path = fixture_directory_new();
  g_autoptr (KeyMaterial) file = key_file ('k'), other = key_file ('o');
  g_autoptr (Store) store = new_store (path, file);
  g_autoptr (GError) error = NULL;
  g_autofree char *first = opening_key (path, file);
  g_autofree char *second = store_key_add (store, other, NULL, &error);
  g_autofree char *mark = g_strdup_printf ("keys/%s.going", first);
  g_autoptr (GBytes) text = g_bytes_new_static ("x", 1);

  store_put (store, mark, text, NULL, &error);
  g_assert_no_error (error);
  g_assert_null (store_key_remove (store, second, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_IN_USE);
  g_clear_error (&error);
  g_autofree char *gone = store_key_remove (store, first, &error);
  g_assert_no_error (error);
  g_autofree char *opening = opening_key (path, other);
  g_assert_cmpuint (fixture_count_objects (store->backend, "keys/"), ==, 1);
}

static void
write_object (const char *path, const char *name, const char *data, gsize len)
{
  g_autofree char *file = g_build_filename (path, name, NULL);
  g_autoptr (GError) error = NULL;

  g_file_set_contents (file, data, (gssize)len, &error);
  g_assert_no_error (error);
}

static char *
read_object (const char *path, const char *name, gsize *len)
{
  g_autofree char *file = g_build_filename (path, name, NULL);
  g_autoptr (GError) error = NULL;
  char *data = NULL;

  g_file_get_contents (file, &data, len, &error);
  g_assert_no_error (error);
  return data;
}

/* `format` put back, exchanged or changed by somebody who has no key. */
static void
test_format_exchanged (void)
{
  g_autoptr (FixtureDirectory) path = fixture_directory_new();
  g_autoptr (FixtureDirectory) other_path = fixture_directory_new();
  g_autoptr (FixtureDirectory) plain_path = fixture_directory_new();
  g_autoptr (KeyMaterial) key = key_file ('k');
  g_autoptr (Store) store = new_store (path, key);
  g_autoptr (Store) other = new_store (other_path, key);
  g_autoptr (Store) plain = fixture_store_new (fixture_directory_backend (plain_path));
  gsize len, other_len, plain_len;
  g_autofree char *right = read_object (path, "format", &len);
  g_autofree char *others = read_object (other_path, "format", &other_len);
  g_autofree char *plains = read_object (plain_path, "format", &plain_len);
  g_autoptr (GError) error = NULL;

  g_assert_nonnull (strstr (right, "\"requires\":[\"encryption\"]"));
  g_assert_null (strstr (right, "hash_key"));
  write_object (path, "format", plains, plain_len);
  assert_refused (path, key, STORE_ERROR_KEY_WRONG, "not encrypted");
  g_assert_false (store_format_unchanged (store, &error));
  g_clear_error (&error);
  /* Another store's: none of the keys here is its. */
  write_object (path, "format", others, other_len);
  assert_refused (path, key, STORE_ERROR_DAMAGED, "no key is left");
  /* The right id with anything else changed, and the hash made right, as everybody can. */
  char *created = strstr (right, "\"created_us\":") + strlen ("\"created_us\":");
  const HashKey no_key = { { 0 } };
  ChunkName hash;
  *created = *created == '1' ? '2' : '1';
  chunk_name_of (&no_key, right, len - 65, &hash);
  g_autofree char *hex = chunk_name_to_hex (&hash);
  memcpy (right + len - 65, hex, 64);
  write_object (path, "format", right, len);
  assert_refused (path, key, STORE_ERROR_DAMAGED, "format was changed");
}

/* A damaged key does not lock out the others; alone, it is damage and not a wrong key. */
static void
test_damaged_key (void)
{
  g_autoptr (FixtureDirectory) path = fixture_directory_new();
  g_autoptr (KeyMaterial) file = key_file ('k'), other = key_file ('o');
  g_autoptr (Store) store = new_store (path, file);
  g_autoptr (GError) error = NULL;
  g_autofree char *first = opening_key (path, file);
  g_autofree char *name = g_strconcat ("keys/", first, NULL);
  gsize len;
  g_autofree char *text = read_object (path, name, &len);

  text[len / 2] ^= 1;
  write_object (path, name, text, len);
  assert_refused (path, file, STORE_ERROR_DAMAGED, name);
  g_autofree char *second = store_key_add (store, other, NULL, &error);
  g_autofree char *opening = opening_key (path, other);
  g_autoptr (GPtrArray) keys = store_key_list (store, &error);
  g_assert_true (((StoreKey *)keys->pdata[1])->damaged);
  /* What is left is one that opens: it must stay, the damaged one may go. */
  g_assert_null (store_key_remove (store, second, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_IN_USE);
  g_clear_error (&error);
  g_autofree char *gone = store_key_remove (store, first, &error);
  g_assert_no_error (error);
}

/* More keys than a store can have, put there by somebody: no more are listed than are tried. */
static void
test_too_many (void)
{
  g_autoptr (FixtureDirectory) path = fixture_directory_new();
  g_autoptr (KeyMaterial) file = key_file ('k');
  g_autoptr (Store) store = new_store (path, file);
  g_autoptr (Backend) backend = fixture_directory_backend (path);
  g_autoptr (GBytes) nothing = g_bytes_new_static ("x", 1);
  g_autoptr (GError) error = NULL;
  gboolean existed;

  for (guint i = 0; i < 100; i++) {
    g_autofree char *id = g_uuid_string_random();
    g_autofree char *name = g_strconcat ("keys/", id, NULL);
    g_assert_true (backend->ops->put_if_absent (backend, name, nothing, &existed, &error));
  }
  g_autoptr (GPtrArray) keys = store_key_list (store, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (keys->len, ==, 32);
  g_assert_null (store_key_add (store, file, NULL, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_IN_USE);
}

#define SECRET_GUEST "guest-of-great-secrecy"

static void
take_claim (Store *store)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Claim) claim = claim_new();
  claim->guest_uuid = g_strdup (FIXTURE_UUID);
  claim->guest = g_strdup (SECRET_GUEST);
  claim->host = g_strdup ("host-of-great-secrecy");
  claim->boot_id = g_strdup ("boot");
  claim->runtime = g_strdup ("/run/of-great-secrecy");
  claim->process = process_id_of (1);
  g_assert_true (store_claim_take (store, claim, FALSE, &error));
  g_assert_no_error (error);
}

static gboolean
flip_and_check (const char *name, guint64 size, gint64 mtime_us, gpointer user_data)
{
  const char *path = user_data;
  g_autoptr (KeyMaterial) key = key_file ('k');
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) findings = NULL;
  gboolean found = FALSE;
  gsize len;
  g_autofree char *data = read_object (path, name, &len);
  g_autofree char *whole = g_memdup2 (data, len);

  data[len / 2] ^= 1;
  write_object (path, name, data, len);
  g_autoptr (Store) store =
      store_open_with_key (fixture_directory_backend (path), key, NULL, &error);
  if (store == NULL) {
    g_assert_error (error, STORE_ERROR, STORE_ERROR_DAMAGED);
    found = strstr (error->message, name) != NULL;
  } else {
    store_check (store, TRUE, &findings, NULL, NULL, &error);
    g_assert_no_error (error);
  }
  for (guint i = 0; findings != NULL && i < findings->len; i++)
    if (strstr (((StoreFinding *)findings->pdata[i])->object, name) != NULL)
      found = TRUE;
  g_test_message ("%s", name);
  g_assert_true (found);
  write_object (path, name, whole, len);
  return TRUE;
}

/* A flipped byte in whichever object: it is named, by who opens the store or by check. */
static void
test_every_object_damaged (void)
{
  g_autoptr (FixtureDirectory) path = fixture_directory_new();
  g_autoptr (KeyMaterial) key = key_file ('k');
  static const guint64 seeds[] = { 1, 2, 3, 0, 2 };
  g_autoptr (GError) error = NULL;
  {
    g_autoptr (Store) store = new_store (path, key);
    g_autoptr (Manifest) one = fixture_checkpoint (store, 1, seeds, 5, NULL, NULL);
    g_assert_true (store_tag_add (store, one->id, "tag", &error));
    take_claim (store);
    const guint64 limit = 1000000000;
    store_quota_change (store, &limit, NULL, &error);
    g_assert_no_error (error);
  }
  g_autoptr (Backend) medium = fixture_directory_backend (path);
  g_assert_true (medium->ops->list (medium, "", flip_and_check, path, &error));
}

/* ---- What the medium shows ---- */

#define MARKER "PLAINTEXT-MARKER-PAGE"
#define SECRET_TAG "tag-of-great-secrecy"
#define SECRET_NOTE "note-of-great-secrecy"

/* A checkpoint with names that must not be seen, and incompressible and compressible pages. */
static void
write_secrets (Store *store)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);
  g_autoptr (PageMapWriter) pages =
      page_map_writer_new (writer, 16 * PAGE_SIZE_BYTES, NULL, &error);
  g_autoptr (Manifest) manifest = fixture_manifest_new (SECRET_GUEST, 5);
  guint8 page[PAGE_SIZE_BYTES];
  PageMap map;

  for (guint i = 0; i < 16; i++) {
    fixture_page (100 + i, page);
    memcpy (page + 128, MARKER, strlen (MARKER));
    page_map_writer_put (pages, i, page, &error);
    g_assert_no_error (error);
  }
  page_map_writer_finish (pages, &map, NULL, &error);
  manifest_add_part (manifest, "ram", "pc.ram", &map);
  manifest->note = g_strdup (SECRET_NOTE);
  store_writer_commit (writer, manifest, NULL, &error);
  g_assert_no_error (error);
  g_assert_true (store_tag_add (store, manifest->id, SECRET_TAG, &error));
  take_claim (store);
}

typedef struct {
  Backend *medium;
  const char *const *words;
  guint found, objects;
  GHashTable *names;
} Search;

static gboolean
search_object (const char *name, guint64 size, gint64 mtime_us, gpointer user_data)
{
  Search *search = user_data;
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) bytes = search->medium->ops->get (search->medium, name, 0, G_MAXSIZE, &error);

  g_assert_no_error (error);
  for (guint i = 0; search->words[i] != NULL; i++)
    if (memmem (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), search->words[i],
                strlen (search->words[i])) != NULL) {
      g_test_message ("%s is in %s", search->words[i], name);
      search->found++;
    }
  search->objects++;
  g_hash_table_add (search->names, g_strdup (name));
  return TRUE;
}

static Search
search_medium (const char *path, const char *const *words)
{
  g_autoptr (Backend) medium = fixture_directory_backend (path);
  Search search = { .medium = medium, .words = words };

  search.names = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  g_assert_true (medium->ops->list (medium, "", search_object, &search, NULL));
  search.medium = NULL;
  return search;
}

/* Nothing of what is kept can be read on the medium; in a store that is not encrypted it can. */
static void
test_no_plaintext (void)
{
  static const char *const words[] = { MARKER, "great-secrecy", "pc.ram", "vmckpack", NULL };
  g_autoptr (FixtureDirectory) path = fixture_directory_new();
  g_autoptr (FixtureDirectory) plain_path = fixture_directory_new();
  g_autoptr (KeyMaterial) key = key_file ('k');
  g_autoptr (Store) store = new_store (path, key);
  g_autoptr (Store) plain = fixture_store_new (fixture_directory_backend (plain_path));

  write_secrets (store);
  write_secrets (plain);
  Search sealed = search_medium (path, words);
  Search open = search_medium (plain_path, words);
  g_assert_cmpuint (sealed.found, ==, 0);
  g_assert_cmpuint (open.found, >=, 5);
  g_assert_cmpuint (sealed.objects, ==, open.objects + 1); /* the key */
  g_hash_table_unref (sealed.names);
  g_hash_table_unref (open.names);
}

/* The same pages have other names under another key: a store does not tell whether it has a page
 * that somebody knows. */
static void
test_names_differ (void)
{
  static const char *const nothing[] = { NULL };
  g_autoptr (FixtureDirectory) path = fixture_directory_new();
  g_autoptr (FixtureDirectory) other_path = fixture_directory_new();
  g_autoptr (KeyMaterial) key = key_file ('k');
  g_autoptr (Store) store = new_store (path, key);
  g_autoptr (Store) other = new_store (other_path, key); /* the same key file, another master */
  guint8 page[PAGE_SIZE_BYTES];
  ChunkName one, two;
  GHashTableIter iter;
  gpointer name;

  fixture_page (7, page);
  chunk_name_of (&store->key, page, sizeof page, &one);
  chunk_name_of (&other->key, page, sizeof page, &two);
  g_assert_false (chunk_name_equal (&one, &two));
  write_secrets (store);
  write_secrets (other);
  Search a = search_medium (path, nothing), b = search_medium (other_path, nothing);
  g_hash_table_iter_init (&iter, a.names);
  while (g_hash_table_iter_next (&iter, &name, NULL))
    if (!g_str_equal (name, "format") && !g_str_has_prefix (name, "claims/"))
      g_assert_false (g_hash_table_contains (b.names, name));
  g_hash_table_unref (a.names);
  g_hash_table_unref (b.names);
}

static gboolean
assert_padded (const char *name, guint64 size, gint64 mtime_us, gpointer user_data)
{
  gboolean text = !g_str_has_prefix (name, "packs/") && !g_str_has_prefix (name, "index/") &&
                  !g_str_has_prefix (name, "keys/") && !g_str_equal (name, "format");

  if (text) {
    g_test_message ("%s has %" G_GUINT64_FORMAT, name, size);
    g_assert_cmpuint (size, >=, 4096);
    g_assert_cmpuint (size & (size - 1), ==, 0);
    ++*(guint *)user_data;
  }
  return TRUE;
}

/* Text objects, whatever is in them, have a power of two of bytes. */
static void
test_padded (void)
{
  g_autoptr (FixtureDirectory) path = fixture_directory_new();
  g_autoptr (KeyMaterial) key = key_file ('k');
  g_autoptr (Store) store = new_store (path, key);
  g_autoptr (GError) error = NULL;
  guint count = 0;

  write_secrets (store);
  g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);
  g_assert_no_error (error);
  g_assert_true (store_list (store, "", assert_padded, &count, &error));
  g_assert_cmpuint (count, ==, 4); /* manifest, tag, claim, writer */
}

static void
test_init_twice (void)
{
  g_autoptr (FixtureDirectory) path = fixture_directory_new();
  g_autoptr (KeyMaterial) key = key_file ('k');
  g_autoptr (Store) store = new_store (path, key);
  g_autoptr (Backend) backend = fixture_directory_backend (path);
  g_autoptr (GError) error = NULL;

  g_assert_false (store_init_encrypted (backend, key, NULL, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_EXISTS);
  g_clear_error (&error);
  g_assert_false (store_init (backend, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_EXISTS);
  g_assert_cmpuint (fixture_count_objects (backend, "keys/"), ==, 1);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/store/key/checkpoint", test_checkpoint);
  g_test_add_func ("/store/key/merged-tables", test_merged_tables);
  g_test_add_func ("/store/key/wrong-key", test_wrong_key);
  g_test_add_func ("/store/key/not-encrypted", test_not_encrypted);
  g_test_add_func ("/store/key/several", test_several);
  g_test_add_func ("/store/key/change", test_change);
  g_test_add_func ("/store/key/going", test_going);
  g_test_add_func ("/store/key/format-exchanged", test_format_exchanged);
  g_test_add_func ("/store/key/damaged-key", test_damaged_key);
  g_test_add_func ("/store/key/too-many", test_too_many);
  g_test_add_func ("/store/key/every-object-damaged", test_every_object_damaged);
  g_test_add_func ("/store/key/no-plaintext", test_no_plaintext);
  g_test_add_func ("/store/key/names-differ", test_names_differ);
  g_test_add_func ("/store/key/padded", test_padded);
  g_test_add_func ("/store/key/init-twice", test_init_twice);
  return g_test_run();
}
