/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon's open stores: who may have one that is encrypted, and when it is closed. */
#include "stores.h"

#include "store-fixture.h"

#include <vmckpt/util/fd.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static KeyMaterial *
key_file (char fill)
{
  char content[32];

  memset (content, fill, sizeof content);
  return key_material_new_file (content, sizeof content, NULL);
}

typedef struct {
  char *path;
  Stores *stores;
  KeyMaterial *right, *wrong;
} Fixture;

static void
set_up (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  f->path = fixture_directory_new();
  f->stores = stores_new();
  f->right = key_file ('r');
  f->wrong = key_file ('w');
  g_autoptr (Backend) backend = fixture_directory_backend (f->path);
  store_init_encrypted (backend, f->right, NULL, &error);
  g_assert_no_error (error);
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  stores_free (f->stores);
  key_material_free (f->right);
  key_material_free (f->wrong);
  fixture_directory_remove (f->path);
}

static void
assert_refused (Fixture *f, const KeyMaterial *key, int code)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (stores_get (f->stores, f->path, key, NULL, &error));
  g_assert_error (error, STORE_ERROR, code);
}

static Store *
get (Fixture *f, const KeyMaterial *key, char **key_id)
{
  g_autoptr (GError) error = NULL;
  Store *store = stores_get (f->stores, f->path, key, key_id, &error);

  g_assert_no_error (error);
  return store;
}

/* Another client without a key, or with a wrong one, does not get what the first has opened. */
static void
test_each_shows_its_key (Fixture *f, gconstpointer data)
{
  g_autofree char *id = NULL, *again_id = NULL;

  assert_refused (f, NULL, STORE_ERROR_KEY_NEEDED);
  assert_refused (f, f->wrong, STORE_ERROR_KEY_WRONG);
  g_autoptr (Store) store = get (f, f->right, &id);
  assert_refused (f, NULL, STORE_ERROR_KEY_NEEDED);
  assert_refused (f, f->wrong, STORE_ERROR_KEY_WRONG);
  g_autoptr (Store) again = get (f, f->right, &again_id);
  g_assert_true (again == store);
  g_assert_cmpstr (id, ==, again_id);
}

/* A key that was found right is so no longer once it was removed, by whomever. */
static void
test_removed_key (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *id = NULL;
  g_autoptr (Store) store = get (f, f->right, &id);
  g_autoptr (Store) elsewhere =
      store_open_with_key (fixture_directory_backend (f->path), f->right, NULL, &error);
  g_autofree char *added = store_key_add (elsewhere, f->wrong, NULL, &error);
  g_autoptr (Store) by_other = get (f, f->wrong, NULL);
  g_autofree char *gone = store_key_remove (elsewhere, id, &error);

  g_assert_no_error (error);
  assert_refused (f, f->right, STORE_ERROR_KEY_WRONG);
  g_autoptr (Store) still = get (f, f->wrong, NULL);
  g_assert_true (still == store);
}

/* What the daemon does for its guests needs no key while the store is open. */
static void
test_own (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (stores_get_own (f->stores, f->path, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_KEY_NEEDED);
  g_clear_error (&error);
  g_autoptr (Store) store = get (f, f->right, NULL);
  g_autoptr (Store) own = stores_get_own (f->stores, f->path, &error);
  g_assert_no_error (error);
  g_assert_true (own == store);
}

static void
test_close_idle (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GHashTable) in_use = g_hash_table_new (g_str_hash, g_str_equal);
  g_autoptr (Store) store = get (f, f->right, NULL);

  stores_close_idle (f->stores, G_TIME_SPAN_HOUR, in_use); /* not idle for so long */
  g_autoptr (Store) second = stores_get_own (f->stores, f->path, &error);
  g_assert_no_error (error);
  g_hash_table_add (in_use, f->path);
  stores_close_idle (f->stores, 0, in_use);
  g_autoptr (Store) third = stores_get_own (f->stores, f->path, &error);
  g_assert_no_error (error);
  g_hash_table_remove_all (in_use);
  stores_close_idle (f->stores, 0, in_use);
  g_assert_null (stores_get_own (f->stores, f->path, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_KEY_NEEDED);
}

/* A store in the clear is put in the place of one that is open: who has a key is refused. */
static void
test_exchanged (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) store = get (f, f->right, NULL);
  g_autoptr (Backend) backend = fixture_directory_backend (f->path);

  g_assert_true (backend->ops->remove (backend, "format", NULL));
  g_assert_true (store_init (backend, &error));
  assert_refused (f, f->right, STORE_ERROR_KEY_WRONG);
  g_assert_null (stores_get_own (f->stores, f->path, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_KEY_WRONG);
  g_clear_error (&error);
  g_autoptr (Store) plain = get (f, NULL, NULL);
  g_assert_false (store_is_encrypted (plain));
  assert_refused (f, f->right, STORE_ERROR_KEY_WRONG);
  /* Nor is what the daemon has to say to the former written in the clear now. */
  g_assert_null (stores_get_own (f->stores, f->path, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_KEY_WRONG);
}

/* As when a store is removed and made anew, and its format gets the number that the former had. */
static void
test_same_inode (Fixture *f, gconstpointer data)
{
  static const struct timespec later[2] = { { .tv_sec = 2000000000 }, { .tv_sec = 2000000000 } };
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) former = get (f, f->right, NULL);
  g_autoptr (Backend) elsewhere = backend_memory_new();
  g_autofree char *format = g_build_filename (f->path, "format", NULL);

  g_assert_true (store_init (elsewhere, &error));
  g_autoptr (GBytes) bytes = elsewhere->ops->get (elsewhere, "format", 0, G_MAXSIZE, &error);
  g_assert_no_error (error);
  g_auto (AutoFd) fd = open (format, O_WRONLY | O_TRUNC | O_CLOEXEC);
  g_assert_true (
      fd_write_full (fd, g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), &error));
  g_assert_cmpint (futimens (fd, later), ==, 0);
  assert_refused (f, f->right, STORE_ERROR_KEY_WRONG);
  g_autoptr (Store) now = get (f, NULL, NULL);
  g_assert_cmpstr (store_id (now), !=, store_id (former));
}

/* Opens @n stores in the clear. */
static void
open_plain (Fixture *f, guint n, Store **first)
{
  for (guint i = 0; i < n; i++) {
    g_autoptr (GError) error = NULL;
    g_autofree char *name = g_strdup_printf ("plain%u", i);
    g_autofree char *path = g_build_filename (f->path, name, NULL);
    g_autoptr (Backend) backend = fixture_directory_backend (path);
    g_assert_true (store_init (backend, &error));
    g_autoptr (Store) store = stores_get (f->stores, path, NULL, NULL, &error);
    g_assert_no_error (error);
    if (i == 0)
      *first = store_ref (store);
  }
}

/* With many open, those go that can be opened anew without a key, and not all at once. */
static void
test_many (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) first = NULL, store = get (f, f->right, NULL);
  g_autofree char *last = g_build_filename (f->path, "plain39", NULL);
  g_autofree char *oldest = g_build_filename (f->path, "plain0", NULL);
  g_autofree char *recent = g_build_filename (f->path, "plain20", NULL);

  open_plain (f, 40, &first);
  g_autoptr (Store) own = stores_get_own (f->stores, f->path, &error);
  g_assert_no_error (error);
  g_assert_true (own == store);
  g_autoptr (Store) anew = stores_get (f->stores, oldest, NULL, NULL, &error);
  g_assert_true (anew != first);
  g_autoptr (Store) one = stores_get (f->stores, recent, NULL, NULL, &error);
  g_autoptr (Store) another = stores_get (f->stores, last, NULL, NULL, &error);
  g_autoptr (Store) again = stores_get (f->stores, recent, NULL, NULL, &error);
  g_assert_no_error (error);
  g_assert_true (one == again && one != another);
}

/* One directory by two names. */
static void
test_same_place (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *link = g_build_filename (f->path, "link", NULL);
  g_autofree char *plain = g_build_filename (f->path, "plain0", NULL);
  g_autoptr (Store) other = NULL, store = get (f, f->right, NULL);

  g_assert_cmpint (symlink (f->path, link), ==, 0);
  g_autoptr (Store) same = stores_get (f->stores, link, f->right, NULL, &error);
  g_assert_no_error (error);
  g_assert_true (same != store);
  g_assert_true (stores_same_place (store, same));
  open_plain (f, 1, &other);
  g_assert_false (stores_same_place (store, other));
}

#define ADD(path, func) g_test_add ("/stores/" path, Fixture, NULL, set_up, func, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("each-shows-its-key", test_each_shows_its_key);
  ADD ("removed-key", test_removed_key);
  ADD ("own", test_own);
  ADD ("close-idle", test_close_idle);
  ADD ("exchanged", test_exchanged);
  ADD ("same-inode", test_same_inode);
  ADD ("many", test_many);
  ADD ("same-place", test_same_place);
  return g_test_run();
}
