/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Announcements: how old they are, and that none outlives what it was put for. */
#include "store-fixture.h"

#include "announce.h"

#include <utime.h>

#define HOUR_S (60 * 60)

/* An announcement that nobody can read, so that only its age can end it. */
static void
put_junk (Store *store, const char *name)
{
  g_autoptr (GBytes) junk = g_bytes_new_static ("junk", 4);
  g_autoptr (GError) error = NULL;
  gboolean existed;

  store->backend->ops->put_if_absent (store->backend, name, junk, &existed, &error);
  g_assert_no_error (error);
}

/* The store's clock says that it was put @hours ago by ours. */
static void
set_time (const char *path, const char *object, int hours)
{
  g_autofree char *file = g_build_filename (path, object, NULL);
  time_t when = time (NULL) - hours * HOUR_S;
  struct utimbuf times = { when, when };

  g_assert_cmpint (utime (file, &times), ==, 0);
}

static gboolean
junk_is_stale (Store *store, const char *own)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) all = announcements_list (store, own, &error);

  g_assert_no_error (error);
  for (guint i = 0; i < all->len; i++)
    if (((Announcement *)all->pdata[i])->damaged)
      return announcement_is_stale (all->pdata[i]);
  g_assert_not_reached();
}

/* Age is a matter of the store's clock alone, which may be days away from ours. */
static void
test_age (void)
{
  g_autoptr (FixtureDirectory) path = fixture_directory_new();
  g_autoptr (Store) store = fixture_store_new (fixture_directory_backend (path));
  g_autoptr (GError) error = NULL;
  char *own = announcement_put (store, ANNOUNCE_GC, &error);

  g_assert_no_error (error);
  put_junk (store, "writers/junk");
  g_assert_false (junk_is_stale (store, own));
  set_time (path, "writers/junk", 25);
  g_assert_true (junk_is_stale (store, own));
  g_assert_false (junk_is_stale (store, NULL)); /* nobody knows how late it is */
  set_time (path, own, 2);
  g_assert_false (junk_is_stale (store, own)); /* our clock is two hours fast */
  set_time (path, "writers/junk", 0);
  set_time (path, own, -25);
  g_assert_true (junk_is_stale (store, own)); /* our clock is a day slow */
  announcement_take_back (store, own);
}

static gboolean
fail_remove (Backend *backend, const char *name, GError **error)
{
  g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT, "it does not answer");
  return FALSE;
}

static gboolean
fail_sync (Backend *backend, GError **error)
{
  g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT, "it does not answer");
  return FALSE;
}

/* A medium that fails for a while must not leave announcements of a process that lives on. */
static void
test_left (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  const BackendOps *good = store->backend->ops;
  BackendOps bad = *good;
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);

  g_assert_no_error (error);
  bad.remove = fail_remove;
  store->backend->ops = &bad;
  store_writer_free (g_steal_pointer (&writer));
  g_assert_cmpuint (fixture_count_objects (store->backend, "writers/"), ==, 1);
  /* It is put, but nobody gets its name. */
  bad.sync = fail_sync;
  g_assert_null (announcement_put (store, ANNOUNCE_WRITER, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
  g_assert_cmpuint (fixture_count_objects (store->backend, "writers/"), ==, 2);
  store->backend->ops = good;
  g_clear_error (&error);
  g_autoptr (GPtrArray) all = announcements_list (store, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (all->len, ==, 0);
  g_assert_cmpuint (fixture_count_objects (store->backend, "writers/"), ==, 0);
}

/* Whoever does not come back to the store gives it a last try when it is closed. */
static void
test_left_at_close (void)
{
  g_autoptr (FixtureDirectory) path = fixture_directory_new();
  Store *store = fixture_store_new (fixture_directory_backend (path));
  const BackendOps *good = store->backend->ops;
  BackendOps bad = *good;
  g_autoptr (GError) error = NULL;
  char *own = announcement_put (store, ANNOUNCE_WALKER, &error);

  g_assert_no_error (error);
  bad.remove = fail_remove;
  store->backend->ops = &bad;
  announcement_take_back (store, own);
  store->backend->ops = good;
  store_unref (store);
  g_autoptr (Backend) backend = fixture_directory_backend (path);
  g_assert_cmpuint (fixture_count_objects (backend, "writers/"), ==, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/store/announce/age", test_age);
  g_test_add_func ("/store/announce/left", test_left);
  g_test_add_func ("/store/announce/left-at-close", test_left_at_close);
  return g_test_run();
}
