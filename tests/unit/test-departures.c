/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A guest that goes to another host runs there or here, and not in both: what is recorded before
 * what is said, and which answers count. No QEMU is needed for that. */
#include "departures.h"

#include "api-error.h"
#include "fake-host.h"
#include "schedules.h"

#include <glib/gstdio.h>
#include <string.h>

/* As in the program, never freed. */
static Schedules *schedules;

#define ID "5f2d0f1c-7f0f-4f7e-9d0c-5a3c1f0a9b11"

typedef struct {
  char *directory, *file;
  Daemon daemon;
  Guest *guest;
  FakeHost *other;
  Peer *peer;
  /* What the other host does: */
  const char *answer;    /* to all but DELETE and /end; NULL: it closes */
  guint silent;          /* so many requests it closes first */
  GCancellable *cancels; /* (nullable): at a request, which it does not answer */
  /* What it was told, and what the guest's record had then; after the host's thread: */
  GString *told;
  DepartureState recorded;
} Hosts;

static void
read_record (Hosts *hosts, Departure **departure)
{
  g_autoptr (GuestMemory) memory = guest_memory_new();

  guest_memory_load (memory, guest_directory (hosts->guest));
  *departure = memory->departure != NULL ? departure_copy (memory->departure) : NULL;
}

static gboolean
follow (FakeHost *host, const char *request, const char *body, gpointer data)
{
  Hosts *hosts = data;
  g_autoptr (Departure) departure = NULL;

  read_record (hosts, &departure);
  hosts->recorded = departure != NULL ? departure->state : DEPARTURE_MOVING;
  g_string_append_printf (hosts->told, "%s\n", request);
  if (hosts->cancels != NULL) {
    g_cancellable_cancel (hosts->cancels);
    fake_host_wait_closed (host);
  } else if (hosts->silent > 0)
    hosts->silent--;
  else if (hosts->answer != NULL)
    fake_host_answer (host, 200, "application/json", hosts->answer);
  return FALSE;
}

static void
set_up (Hosts *hosts, gconstpointer data)
{
  g_autoptr (GuestSpec) spec = guest_spec_new ("g");
  g_autoptr (GError) error = NULL;

  hosts->directory = g_dir_make_tmp ("vmckpt-XXXXXX", NULL);
  hosts->daemon.runtime = runtime_open (hosts->directory, NULL, &error);
  g_assert_no_error (error);
  hosts->daemon.stores = stores_new();
  hosts->daemon.registry = registry_new (hosts->daemon.runtime, hosts->daemon.stores);
  hosts->daemon.stopping = g_cancellable_new();
  hosts->daemon.schedules = schedules;
  spec->uuid = g_uuid_string_random();
  hosts->guest = registry_add (hosts->daemon.registry, spec, GUEST_PAUSED, &error);
  g_assert_no_error (error);
  g_assert_no_errno (g_mkdir (guest_directory (hosts->guest), 0700));
  hosts->file = g_build_filename (guest_directory (hosts->guest), GUEST_FILE_DAEMON, NULL);
  hosts->told = g_string_new (NULL);
}

/* The other host begins to do what @hosts says by now. */
static void
start (Hosts *hosts)
{
  g_clear_pointer (&hosts->other, fake_host_end);
  g_clear_pointer (&hosts->peer, peer_free);
  hosts->other = fake_host_start (follow, hosts);
  hosts->peer = peer_new (fake_host_name (hosts->other), NULL, NULL);
}

/* What the other host was told, all in all. */
static void
assert_told (Hosts *hosts, const char *expected)
{
  g_clear_pointer (&hosts->other, fake_host_end);
  g_assert_cmpstr (hosts->told->str, ==, expected);
}

static void
tear_down (Hosts *hosts, gconstpointer data)
{
  g_autofree char *lock = g_build_filename (hosts->directory, "lock", NULL);

  g_clear_pointer (&hosts->other, fake_host_end);
  peer_free (hosts->peer);
  registry_remove (hosts->daemon.registry, hosts->guest);
  g_remove (hosts->file);
  g_rmdir (guest_directory (hosts->guest));
  guest_unref (hosts->guest);
  registry_free (hosts->daemon.registry);
  while (g_main_context_iteration (NULL, FALSE)) /* where guests are freed */
    ;
  g_unlink (lock);
  g_rmdir (hosts->daemon.runtime->guests);
  g_assert_no_errno (g_rmdir (hosts->directory)); /* nothing else was left */
  stores_free (hosts->daemon.stores);
  runtime_free (hosts->daemon.runtime);
  g_object_unref (hosts->daemon.stopping);
  g_string_free (hosts->told, TRUE);
  g_free (hosts->file);
  g_free (hosts->directory);
}

static void
begin (Hosts *hosts)
{
  g_autoptr (GError) error = NULL;

  start (hosts);
  departure_begin (hosts->guest, ID, fake_host_name (hosts->other), TRUE, &error);
  g_assert_no_error (error);
}

/* The state as the guest and its record have it; -1: none. */
static void
assert_state (Hosts *hosts, int expected)
{
  g_autoptr (Departure) known = guest_departure (hosts->guest);
  g_autoptr (Departure) recorded = NULL;

  read_record (hosts, &recorded);
  g_assert_cmpint (known != NULL ? (int)known->state : -1, ==, expected);
  g_assert_cmpint (recorded != NULL ? (int)recorded->state : -1, ==, expected);
}

static void
test_begins_once (Hosts *hosts, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  begin (hosts);
  assert_state (hosts, DEPARTURE_MOVING);
  g_assert_false (departure_begin (hosts->guest, ID, "elsewhere", TRUE, &error));
  g_assert_error (error, API_ERROR, API_CONFLICT);
  departure_give_up (hosts->guest, hosts->peer);
  assert_state (hosts, -1);
  assert_told (hosts, "POST /v1/migrations/" ID "/end\n");
}

/* Nobody is told to run it before it is recorded that only they know. */
static void
test_going_is_recorded_before_it_is_said (Hosts *hosts, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  hosts->answer = "{\"state\": \"running\", \"records\": \"R\"}";
  begin (hosts);
  g_assert_cmpint (departure_go (hosts->guest, hosts->peer, "R", NULL, &error), ==,
                   DEPARTURE_THERE);
  g_assert_no_error (error);
  assert_state (hosts, DEPARTURE_MOVED);
  assert_told (hosts, "POST /v1/migrations/" ID "/go\n");
  g_assert_cmpint (hosts->recorded, ==, DEPARTURE_GOING);
}

static void
test_what_cannot_be_recorded_is_not_said (Hosts *hosts, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  begin (hosts);
  g_assert_no_errno (g_unlink (hosts->file));
  g_assert_no_errno (g_mkdir (hosts->file, 0700));
  g_assert_cmpint (departure_go (hosts->guest, hosts->peer, "R", NULL, &error), ==, DEPARTURE_HERE);
  g_assert_nonnull (error);
  g_assert_false (departure_begin (hosts->guest, ID, "elsewhere", TRUE, NULL));
  assert_told (hosts, "");
}

static void
test_it_says_no (Hosts *hosts, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  hosts->answer = "{\"state\": \"ended\", \"reason\": \"no room\", \"records\": \"R\"}";
  begin (hosts);
  g_assert_cmpint (departure_go (hosts->guest, hosts->peer, "R", NULL, &error), ==, DEPARTURE_HERE);
  g_assert_nonnull (strstr (error->message, "no room"));
  assert_state (hosts, DEPARTURE_GOING); /* until the caller has it go on */
}

/* The first word, or its answer, was lost. */
static void
test_said_again (Hosts *hosts, gconstpointer data)
{
  hosts->silent = 1;
  hosts->answer = "{\"state\": \"running\", \"records\": \"R\"}";
  begin (hosts);
  g_assert_cmpint (departure_go (hosts->guest, hosts->peer, "R", NULL, NULL), ==, DEPARTURE_THERE);
  assert_told (hosts, "POST /v1/migrations/" ID "/go\nPOST /v1/migrations/" ID "/go\n");
}

static void
test_nobody_knows (Hosts *hosts, gconstpointer data)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new();
  g_autoptr (GError) error = NULL;

  hosts->cancels = cancellable;
  begin (hosts);
  g_assert_cmpint (departure_go (hosts->guest, hosts->peer, "R", cancellable, &error), ==,
                   DEPARTURE_UNKNOWN);
  g_assert_error (error, API_ERROR, API_FAILED);
  assert_state (hosts, DEPARTURE_GOING);
  g_assert_false (guest_check_here (hosts->guest, NULL));
}

/* ---- What the next daemon settles ---- */

/* What becomes of a guest whose QEMU is gone, of which that is recorded, at that answer. */
static void
settle (Hosts *hosts, DepartureState state, const char *records, const char *answer, int expected)
{
  gint64 deadline = g_get_monotonic_time() + 30 * G_TIME_SPAN_SECOND;
  GuestWork *work;

  g_test_message ("%s", answer != NULL ? answer : "nothing");
  g_clear_pointer (&hosts->other, fake_host_end); /* it reads what follows */
  hosts->answer = answer;
  start (hosts);
  const Departure departure = {
    .id = (char *)ID,
    .to = (char *)fake_host_name (hosts->other),
    .records = (char *)records,
    .state = state,
  };
  guest_set_exited (hosts->guest, "test");
  g_assert_true (guest_set_departure (hosts->guest, &departure, NULL));
  departures_watch (&hosts->daemon);
  g_source_destroy (g_main_context_find_source_by_user_data (NULL, &hosts->daemon));
  while ((work = guest_begin_work (hosts->guest, "this test", NULL)) == NULL) {
    g_assert_cmpint (g_get_monotonic_time(), <, deadline);
    g_usleep (1000);
  }
  guest_end_work (work);
  assert_state (hosts, expected);
}

static void
test_settled (Hosts *hosts, gconstpointer data)
{
  settle (hosts, DEPARTURE_GOING, "R", "{\"state\": \"running\", \"records\": \"R\"}",
          DEPARTURE_MOVED);
  settle (hosts, DEPARTURE_GOING, "R", "{\"state\": \"ended\", \"records\": \"R\"}", -1);
  settle (hosts, DEPARTURE_GOING, "R", "{\"state\": \"unknown\", \"records\": \"R\"}", -1);
  assert_told (hosts, "GET /v1/migrations/" ID "\nDELETE /v1/migrations/" ID "\n"
                      "GET /v1/migrations/" ID "\nPOST /v1/migrations/" ID "/end\n"
                      "GET /v1/migrations/" ID "\nPOST /v1/migrations/" ID "/end\n");
}

/* It stands still until somebody knows. */
static void
test_left_in_doubt (Hosts *hosts, gconstpointer data)
{
  static const char *const answers[] = {
    NULL,
    "{}",
    "[]",
    "nonsense",
    "{\"state\": 7, \"records\": \"R\"}",
    "{\"state\": \"gone\", \"records\": \"R\"}",
    "{\"state\": \"receiving\", \"records\": \"R\"}",
    "{\"state\": \"arrived\", \"records\": \"R\"}",
    "{\"state\": \"unknown\"}",
    "{\"state\": \"unknown\", \"records\": \"other\"}",
    "{\"state\": \"running\", \"records\": \"other\"}",
    "{\"state\": \"ended\", \"records\": [\"R\"]}",
  };

  for (guint i = 0; i < G_N_ELEMENTS (answers); i++)
    settle (hosts, DEPARTURE_GOING, "R", answers[i], DEPARTURE_GOING);
  /* Neither side has a name for its records: that they are the same follows from nothing. */
  settle (hosts, DEPARTURE_GOING, NULL, "{\"state\": \"unknown\"}", DEPARTURE_GOING);
}

#define ADD(name, func) g_test_add ("/departures/" name, Hosts, NULL, set_up, func, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  schedules = schedules_new();
  ADD ("begins-once", test_begins_once);
  ADD ("recorded-first", test_going_is_recorded_before_it_is_said);
  ADD ("not-recorded", test_what_cannot_be_recorded_is_not_said);
  ADD ("says-no", test_it_says_no);
  ADD ("said-again", test_said_again);
  ADD ("nobody-knows", test_nobody_knows);
  ADD ("settled", test_settled);
  ADD ("in-doubt", test_left_in_doubt);
  return g_test_run();
}
