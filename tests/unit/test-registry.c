/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names, identities and files of guests; no QEMU is needed for that. */
#include "registry.h"

#include "api-error.h"

#include <glib/gstdio.h>

typedef struct {
  char *directory;
  Runtime *runtime;
  Stores *stores;
  Registry *registry;
} Host;

static void
set_up (Host *host, gconstpointer data)
{
  GError *error = NULL;

  host->directory = g_dir_make_tmp ("vmckpt-XXXXXX", NULL);
  host->runtime = runtime_open (host->directory, NULL, &error);
  g_assert_no_error (error);
  host->stores = stores_new();
  host->registry = registry_new (host->runtime, host->stores);
}

/* Guests are freed by the main context. */
static void
drain_main_context (void)
{
  while (g_main_context_iteration (NULL, FALSE))
    ;
}

static void
tear_down (Host *host, gconstpointer data)
{
  registry_free (host->registry);
  drain_main_context();
  g_autofree char *lock = g_build_filename (host->directory, "lock", NULL);
  g_unlink (lock);
  g_rmdir (host->runtime->guests);
  g_assert_cmpint (g_rmdir (host->directory), ==, 0); /* nothing else was left */
  stores_free (host->stores);
  runtime_free (host->runtime);
  g_free (host->directory);
}

static Guest *
add (Host *host, const char *name, const char *uuid, GError **error)
{
  g_autoptr (GuestSpec) spec = guest_spec_new (name);

  g_free (spec->uuid);
  spec->uuid = g_strdup (uuid);
  return registry_add (host->registry, spec, GUEST_STARTING, error);
}

/* As qemu_start() leaves it. */
static char *
make_directory (Guest *guest)
{
  char *file = g_build_filename (guest_directory (guest), GUEST_FILE_SPEC, NULL);

  g_assert_cmpint (g_mkdir (guest_directory (guest), 0700), ==, 0);
  g_assert_true (g_file_set_contents (file, "{}", -1, NULL));
  return file;
}

static void
test_a_name_and_an_identity_are_taken_once (Host *host, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Guest) first = add (host, "a", "uuid-1", &error);

  g_assert_no_error (error);
  g_assert_null (add (host, "a", "uuid-2", &error));
  g_assert_error (error, API_ERROR, API_CONFLICT);
  g_clear_error (&error);
  g_assert_null (add (host, "b", "uuid-1", &error));
  g_assert_cmpstr (error->message, ==, "this guest is here already, under the name a");
  /* Nobody who moves a guest to the host that it is on is told to kill it. */
  g_clear_error (&error);
  g_assert_false (registry_check_arrival (host->registry, "uuid-1", &error));
  g_assert_nonnull (strstr (error->message, "nothing to move"));
  g_assert_true (registry_check_arrival (host->registry, "uuid-2", NULL));
  registry_remove (host->registry, first);
}

/* Its QEMU is gone, and only another host knows whether it runs there. */
static void
test_a_guest_that_was_handed_over_gives_way_to_none (Host *host, gconstpointer data)
{
  const Departure going = {
    .id = (char *)"m", .to = (char *)"there", .state = DEPARTURE_GOING, .runs = TRUE
  };
  g_autoptr (GError) error = NULL;
  g_autoptr (Guest) gone = add (host, "a", "uuid-1", &error);

  g_assert_no_error (error);
  g_assert_true (guest_set_departure (gone, &going, NULL));
  guest_set_exited (gone, "killed by signal 9");
  g_assert_null (add (host, "b", "uuid-1", &error));
  g_assert_error (error, API_ERROR, API_CONFLICT);
  g_assert_nonnull (strstr (error->message, "handed over to there"));
  g_clear_error (&error);
  g_assert_true (guest_set_departure (gone, NULL, NULL));
  g_autoptr (Guest) again = add (host, "a", "uuid-1", &error);
  g_assert_no_error (error);
  registry_remove (host->registry, again);
}

static void
test_an_exited_guest_gives_way_with_its_files (Host *host, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Guest) former = add (host, "a", "uuid-1", &error);
  g_autofree char *file = make_directory (former);

  guest_set_exited (former, "powered off");
  g_autoptr (Guest) later = add (host, "a", "uuid-2", &error);
  g_assert_no_error (error);
  g_assert_false (g_file_test (file, G_FILE_TEST_EXISTS));
  /* What still ends on behalf of the former one neither brings its files back … */
  guest_set_checkpoint (former, "0123");
  g_assert_false (g_file_test (guest_directory (former), G_FILE_TEST_EXISTS));
  /* … nor takes those of the later one away. */
  g_autofree char *other = make_directory (later);
  registry_remove (host->registry, former);
  g_assert_true (g_file_test (other, G_FILE_TEST_EXISTS));
  g_autoptr (Guest) found = registry_get (host->registry, "a", &error);
  g_assert_true (found == later);
  /* The later one is remembered over a restart. */
  guest_set_checkpoint (later, "4567");
  g_autofree char *memory = g_build_filename (guest_directory (later), GUEST_FILE_DAEMON, NULL);
  g_assert_true (g_file_test (memory, G_FILE_TEST_EXISTS));
  registry_remove (host->registry, later);
  g_assert_false (g_file_test (other, G_FILE_TEST_EXISTS));
}

static void
test_a_name_stays_taken_while_there_is_work (Host *host, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Guest) guest = add (host, "a", "uuid-1", &error);
  g_autoptr (GuestWork) work = guest_begin_work (guest, "a suspend", &error);

  g_assert_null (guest_begin_work (guest, "a checkpoint", &error));
  g_assert_cmpstr (error->message, ==, "guest a is busy: a suspend is at work on it");
  g_clear_error (&error);
  guest_set_exited (guest, "suspended");
  g_assert_null (add (host, "a", "uuid-2", &error));
  g_assert_error (error, API_ERROR, API_CONFLICT);
  g_clear_error (&error);
  g_clear_pointer (&work, guest_end_work);
  g_autoptr (Guest) later = add (host, "a", "uuid-2", &error);
  g_assert_no_error (error);
  registry_remove (host->registry, later);
}

static gpointer
end_work (gpointer work)
{
  guest_end_work (work);
  return NULL;
}

static void
test_waiting_for_work_ends_with_it_or_with_the_time (Host *host, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Guest) guest = add (host, "a", "uuid-1", &error);
  GuestWork *first = guest_begin_work (guest, "a checkpoint", &error);

  g_assert_null (guest_wait_for_work (guest, "its end", 1, &error));
  g_assert_error (error, API_ERROR, API_CONFLICT);
  g_clear_error (&error);
  GThread *thread = g_thread_new ("end", end_work, first);
  g_autoptr (GuestWork) second = guest_wait_for_work (guest, "its end", 60000, &error);
  g_assert_no_error (error);
  g_thread_join (thread);
  registry_remove (host->registry, guest);
}

static void
test_boot_files_go_when_nobody_needs_them (Host *host, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GuestSpec) spec = guest_spec_new ("a");
  g_autofree char *used = g_build_filename (host->runtime->files, "used", NULL);
  g_autofree char *other = g_build_filename (host->runtime->files, "other", NULL);

  g_mkdir (host->runtime->files, 0700);
  g_file_set_contents (used, "kernel", -1, NULL);
  g_file_set_contents (other, "initrd", -1, NULL);
  spec->kernel = g_strdup (used);
  registry_begin_restore (host->registry);
  g_autoptr (Guest) guest = registry_add (host->registry, spec, GUEST_RESTORING, &error);
  registry_begin_restore (host->registry); /* another one, that may have put "other" there */
  registry_end_restore (host->registry);
  g_assert_true (g_file_test (other, G_FILE_TEST_EXISTS));
  registry_end_restore (host->registry);
  g_assert_false (g_file_test (other, G_FILE_TEST_EXISTS));
  g_assert_true (g_file_test (used, G_FILE_TEST_EXISTS));
  registry_remove (host->registry, guest);
  g_assert_false (g_file_test (host->runtime->files, G_FILE_TEST_EXISTS));
}

#define ADD(path, func) g_test_add ("/registry/" path, Host, NULL, set_up, func, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_main_context_acquire (NULL);
  ADD ("once", test_a_name_and_an_identity_are_taken_once);
  ADD ("gives-way", test_an_exited_guest_gives_way_with_its_files);
  ADD ("handed-over", test_a_guest_that_was_handed_over_gives_way_to_none);
  ADD ("work", test_a_name_stays_taken_while_there_is_work);
  ADD ("wait", test_waiting_for_work_ends_with_it_or_with_the_time);
  ADD ("boot-files", test_boot_files_go_when_nobody_needs_them);
  return g_test_run();
}
