/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "schedules.h"

#include "api-error.h"

#include <vmckpt/store/backend.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/json.h>

#include <glib/gstdio.h>
#include <sodium.h>

#define PATIENCE_US (60 * (gint64)G_USEC_PER_SEC)

/* A guest with other work on it: no checkpoint is taken, which does not end what is kept. */
typedef struct {
  char *top, *store, *store_id, *file;
  Runtime *runtime;
  Guest *guest;
  GuestWork *work;
  Daemon *daemon;
} Host;

/* As in the program, nothing of a daemon is freed: threads may still use it. */
static GPtrArray *left;
/* But for stores, which no schedule here comes as far as to use. */
static GPtrArray *stores;

/* What one daemon knows is gone with it. */
static void
begin_daemon (Host *host)
{
  const Daemon daemon = { .runtime = host->runtime,
                          .stores = stores_new(),
                          .schedules = schedules_new(),
                          .stopping = g_cancellable_new() };

  host->daemon = g_memdup2 (&daemon, sizeof daemon);
  g_ptr_array_add (left, host->daemon);
  g_ptr_array_add (stores, host->daemon->stores);
}

static char *
make_store (const char *path)
{
  g_autoptr (GError) error = NULL;
  Backend *backend = backend_directory_open (path, TRUE, &error);

  g_assert_no_error (error);
  g_assert_true (store_init (backend, &error));
  g_autoptr (Store) store = store_open (backend, &error);
  g_assert_no_error (error);
  return g_strdup (store_id (store));
}

static void
set_up (Host *host, gconstpointer data)
{
  g_autoptr (GuestSpec) spec = guest_spec_new ("g");
  GError *error = NULL;

  host->top = g_dir_make_tmp ("vmckpt-XXXXXX", NULL);
  g_autofree char *run = g_build_filename (host->top, "run", NULL);
  host->store = g_build_filename (host->top, "store", NULL);
  host->runtime = runtime_open (run, NULL, &error);
  g_assert_no_error (error);
  host->store_id = make_store (host->store);
  host->guest = guest_new (host->runtime, spec, GUEST_UNRESPONSIVE);
  g_assert_cmpint (g_mkdir (guest_directory (host->guest), 0700), ==, 0);
  host->file = g_build_filename (guest_directory (host->guest), GUEST_FILE_SCHEDULES, NULL);
  host->work = guest_begin_work (host->guest, "a test", &error);
  g_assert_no_error (error);
  begin_daemon (host);
  g_ptr_array_add (left, g_memdup2 (host, sizeof *host));
}

static void
tear_down (Host *host, gconstpointer data)
{
  const char *const rm[] = { "rm", "-rf", host->top, NULL };

  schedules_end_kept (host->daemon->schedules, host->guest);
  g_ptr_array_set_size (stores, 0);
  g_spawn_sync (NULL, (char **)rm, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL);
}

/* As another host says it: of a schedule that began an hour ago. */
static JsonObject *
order_new (Host *host, const char *every)
{
  JsonObject *order = json_object_new(), *body = json_object_new();

  json_object_set_string_member (body, "every", every);
  json_object_set_string_member (order, "id", "one");
  json_object_set_string_member (order, "store", host->store);
  json_object_set_string_member (order, "store_id", host->store_id);
  json_object_set_int_member (order, "elapsed_us", 3600 * (gint64)G_USEC_PER_SEC);
  json_object_set_int_member (order, "begun", 60);
  json_object_set_object_member (order, "checkpoints", body);
  return order;
}

static JsonObject *
only_one (Host *host)
{
  g_autoptr (JsonArray) list = schedules_describe (host->daemon->schedules, host->guest);

  g_assert_cmpuint (json_array_get_length (list), ==, 1);
  return json_object_ref (json_array_get_object_element (list, 0));
}

static guint64
count (Host *host)
{
  g_autoptr (JsonArray) list = schedules_describe (host->daemon->schedules, host->guest);

  return json_array_get_length (list);
}

static gboolean
keep (Host *host, const char *every, GError **error)
{
  g_autoptr (JsonObject) order = order_new (host, every);

  return schedules_keep (host->daemon, host->guest, order, error);
}

/* A failure is told, and the next time comes. */
static void
test_goes_on (Host *host, gconstpointer data)
{
  gint64 deadline = g_get_monotonic_time() + PATIENCE_US;
  GError *error = NULL;

  g_assert_true (keep (host, "10ms", &error));
  g_assert_no_error (error);
  for (guint64 begun = 60; begun < 63;) {
    g_autoptr (JsonObject) one = only_one (host);
    begun = json_get_uint64_or (one, "begun", 0);
    g_assert_true (json_get_bool_or (one, "kept", FALSE));
    g_assert_cmpint (g_get_monotonic_time(), <, deadline);
    g_usleep (1000);
    if (begun >= 63)
      g_assert_nonnull (json_get_string_or (one, "trouble", NULL));
  }
}

/* The next daemon has the same, at the same times; said once more, it is the same one. */
static void
test_next_daemon (Host *host, gconstpointer data)
{
  GError *error = NULL;

  g_assert_true (keep (host, "2h", &error));
  g_assert_true (keep (host, "2h", &error));
  g_assert_cmpuint (count (host), ==, 1);
  g_cancellable_cancel (host->daemon->stopping);
  g_assert_true (g_file_test (host->file, G_FILE_TEST_EXISTS));
  begin_daemon (host);
  schedules_find_kept (host->daemon, host->guest);
  g_autoptr (JsonObject) one = only_one (host);
  g_assert_cmpstr (json_get_string_or (one, "every", ""), ==, "2h");
  g_assert_cmpuint (json_get_uint64_or (one, "begun", 0), ==, 60);
  g_autoptr (GPtrArray) runs = schedules_of (host->daemon->schedules, host->guest);
  g_autoptr (JsonObject) order =
      schedule_run_hand_over (host->daemon->schedules, runs->pdata[0], host->store, "/there");
  g_assert_cmpuint (json_get_uint64_or (order, "elapsed_us", 0), >=,
                    3600 * (guint64)G_USEC_PER_SEC);
  g_assert_cmpstr (json_get_string_or (order, "store", ""), ==, "/there");
}

/* Whoever says so ends it, for a next daemon too; so does the other host that has it now. */
static void
test_ends (Host *host, gconstpointer data)
{
  GError *error = NULL;

  g_assert_true (keep (host, "2h", &error));
  g_assert_cmpuint (schedules_end_kept (host->daemon->schedules, host->guest), ==, 1);
  g_assert_cmpuint (count (host), ==, 0);
  g_assert_true (keep (host, "2h", &error));
  g_autoptr (GPtrArray) runs = schedules_of (host->daemon->schedules, host->guest);
  schedule_run_gone (host->daemon->schedules, runs->pdata[0], "elsewhere", NULL);
  g_assert_cmpuint (count (host), ==, 0);
  begin_daemon (host);
  schedules_find_kept (host->daemon, host->guest);
  g_assert_cmpuint (count (host), ==, 0);
}

/* A store that is not there, or another, and what is no schedule. */
static void
test_refused (Host *host, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *id = host->store_id;

  host->store_id = g_strdup ("beef");
  g_assert_false (keep (host, "2h", &error));
  g_assert_nonnull (strstr (error->message, "another store"));
  g_clear_error (&error);
  g_free (host->store_id);
  host->store_id = g_steal_pointer (&id);
  g_assert_false (keep (host, "1ms", &error));
  g_assert_error (error, API_ERROR, API_USAGE);
  g_clear_error (&error);
  g_autofree char *store = host->store;
  host->store = (char *)"/nowhere/at/all";
  g_assert_false (keep (host, "2h", &error));
  host->store = g_steal_pointer (&store);
  g_assert_nonnull (error);
  g_assert_cmpuint (count (host), ==, 0);
  g_assert_false (g_file_test (host->file, G_FILE_TEST_EXISTS));
}

/* What the next daemon would not know of is not taken: whoever offers it is told. */
static void
test_unwritable (Host *host, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  g_assert_cmpint (g_mkdir (host->file, 0700), ==, 0);
  g_assert_false (keep (host, "2h", &error));
  g_assert_nonnull (error);
  g_assert_cmpuint (count (host), ==, 0);
  g_assert_cmpint (g_rmdir (host->file), ==, 0);
  g_assert_true (keep (host, "2h", NULL));
}

/* No more than so many, and a file that is none costs what was in it. */
static void
test_bounded (Host *host, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  for (guint i = 0; i <= SCHEDULES_MAX; i++) {
    g_autoptr (JsonObject) order = order_new (host, "2h");
    g_autofree char *id = g_strdup_printf ("number %u", i);
    json_object_set_string_member (order, "id", id);
    gboolean kept = schedules_keep (host->daemon, host->guest, order, &error);
    g_assert_cmpint (kept, ==, i < SCHEDULES_MAX);
  }
  g_assert_error (error, API_ERROR, API_CONFLICT);
  begin_daemon (host);
  g_assert_true (g_file_set_contents (host->file, "{ \"schedules\": [ 1 ", -1, NULL));
  g_test_expect_message ("vmckpt", G_LOG_LEVEL_WARNING, "*an earlier vmckptd kept*");
  schedules_find_kept (host->daemon, host->guest);
  g_test_assert_expected_messages();
  g_assert_cmpuint (count (host), ==, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  if (sodium_init() < 0)
    return 1;
  left = g_ptr_array_new();
  stores = g_ptr_array_new_with_free_func ((GDestroyNotify)stores_free);
#define ADD(name, test) g_test_add ("/schedules/" name, Host, NULL, set_up, test, tear_down)
  ADD ("goes-on", test_goes_on);
  ADD ("next-daemon", test_next_daemon);
  ADD ("ends", test_ends);
  ADD ("refused", test_refused);
  ADD ("unwritable", test_unwritable);
  ADD ("bounded", test_bounded);
  int status = g_test_run();
  g_ptr_array_unref (stores);
  return status;
}
