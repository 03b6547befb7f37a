/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "guest-memory.h"

#include <glib/gstdio.h>

typedef struct {
  char *directory;
  char *file;
} Place;

static void
set_up (Place *place, gconstpointer data)
{
  place->directory = g_dir_make_tmp ("vmckpt-XXXXXX", NULL);
  place->file = g_build_filename (place->directory, GUEST_FILE_DAEMON, NULL);
}

static void
tear_down (Place *place, gconstpointer data)
{
  g_unlink (place->file);
  g_assert_cmpint (g_rmdir (place->directory), ==, 0); /* no temporary file was left */
  g_free (place->directory);
  g_free (place->file);
}

static void
test_survives_a_restart (Place *place, gconstpointer data)
{
  g_autoptr (GuestMemory) before = guest_memory_new();
  g_autoptr (GuestMemory) after = guest_memory_new();

  before->checkpoint = g_strdup ("0123abcd");
  before->started_us = 42;
  guest_memory_add_claim (before, "/srv/a");
  guest_memory_add_claim (before, "/srv/b");
  guest_memory_add_claim (before, "/srv/a"); /* once is enough */
  before->standstill = standstill_copy (&(Standstill){ .store_path = (char *)"/srv/a",
                                                       .store = (char *)"beef",
                                                       .checkpoint = (char *)"0123abcd",
                                                       .total_ms = 7,
                                                       .downtime_ms = 3,
                                                       .transferred = G_MAXUINT32 + 5ull });
  before->disk_base = disk_base_new ("beef", "0123abcd");
  g_assert_true (guest_memory_save (before, place->directory, NULL));
  guest_memory_load (after, place->directory);
  g_auto (GStrv) claims = guest_memory_claims (after);
  g_assert_cmpstr (after->checkpoint, ==, "0123abcd");
  g_assert_cmpint (after->started_us, ==, 42);
  g_assert_nonnull (after->standstill);
  g_assert_cmpstr (after->standstill->store_path, ==, "/srv/a");
  g_assert_cmpstr (after->standstill->store, ==, "beef");
  g_assert_cmpstr (after->standstill->checkpoint, ==, "0123abcd");
  g_assert_cmpuint (after->standstill->total_ms, ==, 7);
  g_assert_cmpuint (after->standstill->downtime_ms, ==, 3);
  g_assert_cmpuint (after->standstill->transferred, ==, G_MAXUINT32 + 5ull);
  g_assert_true (disk_base_is (after->disk_base, "beef", "0123abcd"));
  g_assert_cmpstrv (claims, ((const char *const[]){ "/srv/a", "/srv/b", NULL }));
}

static void
test_a_bad_file_is_as_none (Place *place, gconstpointer data)
{
  g_autoptr (GuestMemory) memory = guest_memory_new();

  g_file_set_contents (place->file, "{\"checkpoint\":5,\"claims\":\"x\"", -1, NULL);
  guest_memory_load (memory, place->directory);
  g_assert_null (memory->checkpoint);
  g_assert_cmpuint (memory->claims->len, ==, 0);
  g_file_set_contents (place->file,
                       "{\"checkpoint\":5,\"claims\":[1,{}],"
                       "\"standstill\":{\"store\":\"a\",\"checkpoint\":\"b\"}}",
                       -1, NULL);
  guest_memory_load (memory, place->directory);
  g_assert_null (memory->standstill);
  g_assert_null (memory->checkpoint);
  g_assert_cmpuint (memory->claims->len, ==, 0);
}

/* Of a guest that was handed over nothing may be lost silently: not by a file that is cut, not by a
 * departure that says nothing, nor by a daemon in between. A file that is not there was never. */
static void
test_a_lost_departure_is_a_doubt (Place *place, gconstpointer data)
{
  const char *const bad[] = {
    "{\"checkpoint\":\"0123abcd\",\"departure\":{\"id\":\"a",
    "{\"departure\":{\"id\":\"a\",\"to\":\"b\",\"state\":\"gone\"}}",
    "{\"departure\":5}",
    "",
  };
  g_autoptr (GuestMemory) none = guest_memory_new();

  guest_memory_load (none, place->directory);
  g_assert_false (none->doubted);
  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (GuestMemory) memory = guest_memory_new();
    g_autoptr (GuestMemory) next = guest_memory_new();
    g_assert_true (g_file_set_contents (place->file, bad[i], -1, NULL));
    guest_memory_load (memory, place->directory);
    g_assert_true (memory->doubted);
    g_assert_true (guest_memory_save (memory, place->directory, NULL));
    guest_memory_load (next, place->directory);
    g_assert_true (next->doubted);
  }
}

static void
test_a_guest_that_is_gone_is_not_remembered (Place *place, gconstpointer data)
{
  g_autoptr (GuestMemory) memory = guest_memory_new();
  g_autofree char *gone = g_build_filename (place->directory, "gone", NULL);

  g_assert_true (guest_memory_save (memory, gone, NULL));
  g_assert_false (g_file_test (gone, G_FILE_TEST_EXISTS));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/guest-memory/restart", Place, NULL, set_up, test_survives_a_restart, tear_down);
  g_test_add ("/guest-memory/bad", Place, NULL, set_up, test_a_bad_file_is_as_none, tear_down);
  g_test_add ("/guest-memory/doubt", Place, NULL, set_up, test_a_lost_departure_is_a_doubt,
              tear_down);
  g_test_add ("/guest-memory/gone", Place, NULL, set_up,
              test_a_guest_that_is_gone_is_not_remembered, tear_down);
  return g_test_run();
}
