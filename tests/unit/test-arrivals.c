/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is said of guests that arrive, and what the next daemon finds; no QEMU is needed for that.
 */
#include "arrivals.h"

#include "api-error.h"

#include <glib/gstdio.h>

#define ID "5f2d0f1c-7f0f-4f7e-9d0c-5a3c1f0a9b11"
#define OTHER_ID "5f2d0f1c-7f0f-4f7e-9d0c-5a3c1f0a9b12"

typedef struct {
  char *directory, *guest;
  Runtime *runtime;
  Arrivals *arrivals;
} Host;

static void
set_up (Host *host, gconstpointer data)
{
  GError *error = NULL;

  host->directory = g_dir_make_tmp ("vmckpt-XXXXXX", NULL);
  host->runtime = runtime_open (host->directory, NULL, &error);
  g_assert_no_error (error);
  host->arrivals = arrivals_new (host->runtime);
  host->guest = runtime_guest_directory (host->runtime, "g");
  g_assert_cmpint (g_mkdir_with_parents (host->guest, 0700), ==, 0);
}

static void
remove_all (const char *path)
{
  g_autoptr (GDir) dir = g_dir_open (path, 0, NULL);
  const char *name;

  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL) {
    g_autofree char *child = g_build_filename (path, name, NULL);
    if (g_file_test (child, G_FILE_TEST_IS_DIR))
      remove_all (child);
    else
      g_unlink (child);
  }
  g_rmdir (path);
}

static void
tear_down (Host *host, gconstpointer data)
{
  remove_all (host->directory);
  runtime_free (host->runtime);
  g_free (host->guest);
  g_free (host->directory);
}

/* As a daemon leaves it that has decided. */
static void
write_record (Host *host, const char *id)
{
  g_autofree char *directory = g_build_filename (host->runtime->disks, "migrations", NULL);
  g_autofree char *path = g_strdup_printf ("%s/%s.json", directory, id);

  g_assert_cmpint (g_mkdir_with_parents (directory, 0700), ==, 0);
  g_assert_true (g_file_set_contents (path, "{\"paused\": true}", -1, NULL));
}

/* What nobody knows of does not run here and never will: said to whoever asks, and to a late go. */
static void
test_unknown (Host *host, gconstpointer data)
{
  g_assert_cmpint (arrivals_state (host->arrivals, ID), ==, ARRIVAL_UNKNOWN);
  g_assert_cmpint (arrivals_go (host->arrivals, ID, NULL), ==, ARRIVAL_UNKNOWN);
  g_assert_cmpint (arrivals_end (host->arrivals, ID), ==, ARRIVAL_UNKNOWN);
  g_assert_cmpint (arrivals_state (host->arrivals, "../../etc/passwd"), ==, ARRIVAL_UNKNOWN);
}

static void
test_ids (Host *host, gconstpointer data)
{
  g_autoptr (GError) no_id = NULL;
  g_autoptr (GError) used = NULL;
  g_autoptr (GError) recorded = NULL;

  g_assert_null (arrivals_add (host->arrivals, "../x", "g", "a", &no_id));
  g_assert_error (no_id, API_ERROR, API_USAGE);
  g_autoptr (Arrival) arrival = arrivals_add (host->arrivals, ID, "g", "a", NULL);
  g_assert_nonnull (arrival);
  g_assert_null (arrivals_add (host->arrivals, ID, "g", "a", &used));
  g_assert_error (used, API_ERROR, API_CONFLICT);
  write_record (host, OTHER_ID);
  g_assert_null (arrivals_add (host->arrivals, OTHER_ID, "g", "a", &recorded));
  g_assert_error (recorded, API_ERROR, API_CONFLICT);
}

/* Its records have a name from the first migration on, which the next daemon has too, and no other
 * disks directory. */
static void
test_records (Host *host, gconstpointer data)
{
  g_autoptr (GError) none = NULL;
  g_autoptr (GError) garbled = NULL;

  g_assert_null (arrivals_records (host->arrivals, &none));
  g_assert_error (none, G_FILE_ERROR, G_FILE_ERROR_NOENT);
  g_autoptr (Arrival) first = arrivals_add (host->arrivals, ID, "g", "a", NULL);
  g_autofree char *name = arrivals_records (host->arrivals, NULL);
  g_assert_true (name != NULL && g_uuid_string_is_valid (name));
  Arrivals *next = arrivals_new (host->runtime);
  g_autoptr (Arrival) second = arrivals_add (next, OTHER_ID, "g", "a", NULL);
  g_autofree char *again = arrivals_records (host->arrivals, NULL);
  g_assert_cmpstr (again, ==, name);

  g_autofree char *file = g_build_filename (host->runtime->disks, "migrations", "records", NULL);
  g_assert_true (g_file_set_contents (file, "../../x", -1, NULL));
  g_assert_null (arrivals_records (host->arrivals, &garbled));
  g_assert_error (garbled, API_ERROR, API_FAILED);
}

/* Somebody says go before all is here: it will not run, and what brings it up is told to stop. */
static void
test_early_go (Host *host, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GError) refused = NULL;
  g_autoptr (Arrival) arrival = arrivals_add (host->arrivals, ID, "g", "a", NULL);
  const ArrivedGuest guest = { NULL };

  g_assert_cmpint (arrivals_state (host->arrivals, ID), ==, ARRIVAL_RECEIVING);
  g_assert_cmpint (arrivals_go (host->arrivals, ID, &error), ==, ARRIVAL_ENDING);
  g_assert_error (error, API_ERROR, API_CONFLICT);
  g_assert_true (g_cancellable_is_cancelled (arrival_cancellable (arrival)));
  g_assert_false (arrival_announce (arrival, &guest, &refused));
  g_assert_nonnull (refused);
  arrival_set_ended (arrival, NULL);
  g_assert_cmpint (arrivals_go (host->arrivals, ID, NULL), ==, ARRIVAL_ENDED);
}

/* It is cancelled while it waits for the word: the word comes too late then. */
static void
test_too_late (Host *host, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Arrival) arrival = arrivals_add (host->arrivals, ID, "g", "a", NULL);
  const ArrivedGuest guest = { NULL };

  g_assert_true (arrival_announce (arrival, &guest, NULL));
  g_assert_cmpint (arrivals_state (host->arrivals, ID), ==, ARRIVAL_ARRIVED);
  g_cancellable_cancel (arrival_cancellable (arrival));
  g_assert_false (arrival_wait_decided (arrival, &error));
  g_assert_nonnull (error);
  g_assert_cmpint (arrivals_go (host->arrivals, ID, NULL), ==, ARRIVAL_ENDING);
  arrival_set_ended (arrival, error);
  g_assert_cmpint (arrivals_end (host->arrivals, ID), ==, ARRIVAL_ENDED);
}

/* A record that was not written whole, and cannot be removed: the next daemon would take it for
 * one, so it is one. */
static void
test_not_taken_back (Host *host, gconstpointer data)
{
  g_autofree char *record = g_strdup_printf ("%s/migrations/%s.json", host->runtime->disks, ID);
  g_autoptr (Arrival) arrival = arrivals_add (host->arrivals, ID, "g", "a", NULL);
  g_autoptr (GError) error = NULL;
  const ArrivedGuest guest = { .paused = TRUE };

  g_assert_true (arrival_announce (arrival, &guest, NULL));
  g_assert_cmpint (g_mkdir (record, 0700), ==, 0);
  g_test_expect_message ("vmckpt", G_LOG_LEVEL_WARNING, "*cannot be taken back*");
  g_assert_cmpint (arrivals_go (host->arrivals, ID, &error), ==, ARRIVAL_RUNNING);
  g_test_assert_expected_messages();
  g_assert_no_error (error);
  g_assert_true (arrival_wait_decided (arrival, NULL));
  Arrivals *next = arrivals_new (host->runtime);
  g_assert_cmpint (arrivals_state (next, ID), ==, ARRIVAL_RUNNING);
}

/* It can be removed: it was never decided. */
static void
test_taken_back (Host *host, gconstpointer data)
{
  g_autofree char *records = g_build_filename (host->runtime->disks, "migrations", NULL);
  g_autoptr (Arrival) arrival = arrivals_add (host->arrivals, ID, "g", "a", NULL);
  g_autoptr (GError) error = NULL;
  const ArrivedGuest guest = { .paused = TRUE };

  g_assert_true (arrival_announce (arrival, &guest, NULL));
  remove_all (records);
  g_assert_true (g_file_set_contents (records, "", 0, NULL));
  g_assert_cmpint (arrivals_go (host->arrivals, ID, &error), ==, ARRIVAL_ENDING);
  g_assert_nonnull (error);
  g_assert_false (arrival_wait_decided (arrival, NULL));
  arrival_set_ended (arrival, error);
}

/* The next daemon: a guest with a mark runs if there is a record, and only then. */
static void
test_left (Host *host, gconstpointer data)
{
  g_autoptr (Arrival) arrival = arrivals_add (host->arrivals, ID, "g", "a", NULL);
  gboolean runs = TRUE, paused = TRUE;

  g_assert_false (arrivals_find_left (host->arrivals, host->guest, &runs, &paused));
  g_assert_true (arrival_mark (arrival, host->guest, NULL));
  g_assert_true (arrivals_find_left (host->arrivals, host->guest, &runs, &paused));
  g_assert_false (runs);
  write_record (host, ID);
  Arrivals *next = arrivals_new (host->runtime);
  g_assert_true (arrivals_find_left (next, host->guest, &runs, &paused));
  g_assert_true (runs && paused);
  g_assert_cmpint (arrivals_state (next, ID), ==, ARRIVAL_RUNNING);
  g_assert_cmpint (arrivals_go (next, ID, NULL), ==, ARRIVAL_RUNNING);
  g_assert_cmpint (arrivals_end (next, ID), ==, ARRIVAL_RUNNING);
}

/* As long as a guest has the mark the record is what makes it run. */
static void
test_forget (Host *host, gconstpointer data)
{
  g_autoptr (Arrival) arrival = arrivals_add (host->arrivals, ID, "g", "a", NULL);

  g_assert_true (arrival_mark (arrival, host->guest, NULL));
  write_record (host, ID);
  Arrivals *next = arrivals_new (host->runtime);
  arrivals_forget (next, ID);
  g_assert_cmpint (arrivals_state (next, ID), ==, ARRIVAL_RUNNING);
  arrival_unmark (host->guest);
  arrivals_forget (next, ID);
  g_assert_cmpint (arrivals_state (next, ID), ==, ARRIVAL_UNKNOWN);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/arrivals/unknown", Host, NULL, set_up, test_unknown, tear_down);
  g_test_add ("/arrivals/ids", Host, NULL, set_up, test_ids, tear_down);
  g_test_add ("/arrivals/records", Host, NULL, set_up, test_records, tear_down);
  g_test_add ("/arrivals/early-go", Host, NULL, set_up, test_early_go, tear_down);
  g_test_add ("/arrivals/too-late", Host, NULL, set_up, test_too_late, tear_down);
  g_test_add ("/arrivals/not-taken-back", Host, NULL, set_up, test_not_taken_back, tear_down);
  g_test_add ("/arrivals/taken-back", Host, NULL, set_up, test_taken_back, tear_down);
  g_test_add ("/arrivals/left", Host, NULL, set_up, test_left, tear_down);
  g_test_add ("/arrivals/forget", Host, NULL, set_up, test_forget, tear_down);
  return g_test_run();
}
