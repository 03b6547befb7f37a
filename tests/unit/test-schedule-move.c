/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is left of a schedule goes to the host where its guest is, or ends with that host's reason.
 */
#include "schedule-move.h"

#include "fake-host.h"
#include "schedules.h"

#include <vmckpt/store/backend.h>

#include <glib/gstdio.h>
#include <sodium.h>
#include <string.h>

#define ID "5f2d0f1c-7f0f-4f7e-9d0c-5a3c1f0a9b11"

/* As in the program, nothing of a daemon is freed: threads may still use it. */
static Daemon *daemon_left;
static GPtrArray *left;

typedef struct {
  char *top, *store;
  Guest *guest;
  GuestWork *work; /* so that no checkpoint is taken */
  FakeHost *other;
  Peer *peer;
  /* What the other host does: */
  guint silent; /* so many requests it closes first */
  gboolean refuses;
  /* What was said to it, and to the user. */
  GString *told, *messages;
} Hosts;

static gboolean
follow (FakeHost *host, const char *request, const char *body, gpointer data)
{
  Hosts *hosts = data;

  g_string_append_printf (hosts->told, "%s\n", request);
  g_assert_nonnull (strstr (body, "\"every\":\"2h\""));
  g_assert_nonnull (strstr (body, "\"store\":\"/there\""));
  if (hosts->silent > 0)
    hosts->silent--;
  else if (hosts->refuses)
    fake_host_answer (host, 409, "application/json",
                      "{\"error\":{\"kind\":\"conflict\",\"message\":\"no such store here\"}}");
  else
    fake_host_answer (host, 200, "application/json", "{\"id\":\"" ID "\"}");
  return FALSE;
}

static void
make_store (const char *path)
{
  g_autoptr (GError) error = NULL;
  Backend *backend = backend_directory_open (path, TRUE, &error);

  g_assert_no_error (error);
  g_assert_true (store_init (backend, &error));
  backend_free (backend);
}

/* One schedule is kept of a guest that is at the other host by now. */
static void
set_up (Hosts *hosts, gconstpointer data)
{
  g_autoptr (GuestSpec) spec = guest_spec_new ("g");
  g_autoptr (GError) error = NULL;

  hosts->top = g_dir_make_tmp ("vmckpt-XXXXXX", NULL);
  hosts->store = g_build_filename (hosts->top, "store", NULL);
  make_store (hosts->store);
  g_autofree char *run = g_build_filename (hosts->top, "run", NULL);
  daemon_left->runtime = runtime_open (run, NULL, &error);
  g_assert_no_error (error);
  hosts->guest = guest_new (daemon_left->runtime, spec, GUEST_PAUSED);
  g_ptr_array_add (left, daemon_left->runtime);
  g_ptr_array_add (left, hosts->guest);
  g_assert_no_errno (g_mkdir (guest_directory (hosts->guest), 0700));
  hosts->work = guest_begin_work (hosts->guest, "a test", NULL);
  hosts->told = g_string_new (NULL);
  hosts->messages = g_string_new (NULL);
  hosts->other = fake_host_start (follow, hosts);
  hosts->peer = peer_new (fake_host_name (hosts->other), NULL, NULL);
  const Departure moved = { .id = (char *)ID, .to = (char *)"there", .state = DEPARTURE_MOVED };
  g_assert_true (guest_set_departure (hosts->guest, &moved, NULL));
}

static void
tear_down (Hosts *hosts, gconstpointer data)
{
  const char *const rm[] = { "rm", "-rf", hosts->top, NULL };

  g_clear_pointer (&hosts->other, fake_host_end);
  peer_free (hosts->peer);
  schedules_end_kept (daemon_left->schedules, hosts->guest);
  guest_end_work (hosts->work);
  g_spawn_sync (NULL, (char **)rm, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL);
  g_string_free (hosts->told, TRUE);
  g_string_free (hosts->messages, TRUE);
  g_free (hosts->store);
  g_free (hosts->top);
}

static void
keep (Hosts *hosts)
{
  g_autoptr (Store) store = stores_get (daemon_left->stores, hosts->store, NULL, NULL, NULL);
  JsonObject *body = json_object_new();
  g_autoptr (JsonObject) order = json_object_new();
  g_autoptr (GError) error = NULL;

  json_object_set_string_member (body, "every", "2h");
  json_object_set_string_member (order, "id", "one");
  json_object_set_string_member (order, "store", hosts->store);
  json_object_set_string_member (order, "store_id", store_id (store));
  json_object_set_object_member (order, "checkpoints", body);
  json_object_set_int_member (order, "begun", 1);
  json_object_set_int_member (order, "elapsed_us", 1000);
  schedules_keep (daemon_left, hosts->guest, order, &error);
  g_assert_no_error (error);
}

static void
on_message (const char *text, gpointer user_data)
{
  g_string_append_printf (user_data, "%s\n", text);
}

/* Whatever becomes of it there, nothing of it stays here. */
static void
move (Hosts *hosts)
{
  const ScheduleMove move = { hosts->store, "/there", on_message, hosts->messages };

  keep (hosts);
  schedules_move (daemon_left, hosts->guest, hosts->peer, &move);
  g_clear_pointer (&hosts->other, fake_host_end);
  g_autoptr (JsonArray) list = schedules_describe (daemon_left->schedules, hosts->guest);
  g_assert_cmpuint (json_array_get_length (list), ==, 0);
}

#define SAID "POST /v1/migrations/" ID "/schedules\n"

static void
test_goes_on_there (Hosts *hosts, gconstpointer data)
{
  move (hosts);
  g_assert_cmpstr (hosts->told->str, ==, SAID);
  g_assert_cmpstr (hosts->messages->str, ==, "its checkpoints every 2h go on at there\n");
}

/* An answer is lost: it is said once more, which is the same there as once. */
static void
test_said_again (Hosts *hosts, gconstpointer data)
{
  hosts->silent = 1;
  move (hosts);
  g_assert_cmpstr (hosts->told->str, ==, SAID SAID);
  g_assert_cmpstr (hosts->messages->str, ==, "its checkpoints every 2h go on at there\n");
}

static void
test_refused (Hosts *hosts, gconstpointer data)
{
  hosts->refuses = TRUE;
  move (hosts);
  g_assert_cmpstr (hosts->told->str, ==, SAID);
  g_assert_true (
      g_str_has_prefix (hosts->messages->str, "its checkpoints every 2h do not go on at there: "));
  g_assert_nonnull (strstr (hosts->messages->str, "no such store here"));
}

/* Nobody is asked of a domain's. */
static void
test_leave (Hosts *hosts, gconstpointer data)
{
  keep (hosts);
  schedules_leave (daemon_left, hosts->guest, "qemu+tls://there/system");
  g_autoptr (JsonArray) list = schedules_describe (daemon_left->schedules, hosts->guest);
  g_assert_cmpuint (json_array_get_length (list), ==, 0);
  g_clear_pointer (&hosts->other, fake_host_end);
  g_assert_cmpstr (hosts->told->str, ==, "");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  if (sodium_init() < 0)
    return 1;
  left = g_ptr_array_new();
  daemon_left = g_new0 (Daemon, 1);
  daemon_left->stores = stores_new();
  daemon_left->schedules = schedules_new();
  daemon_left->stopping = g_cancellable_new();
#define ADD(name, test) g_test_add ("/schedule-move/" name, Hosts, NULL, set_up, test, tear_down)
  ADD ("goes-on", test_goes_on_there);
  ADD ("said-again", test_said_again);
  ADD ("refused", test_refused);
  ADD ("domain", test_leave);
  int status = g_test_run();
  stores_free (daemon_left->stores);
  return status;
}
