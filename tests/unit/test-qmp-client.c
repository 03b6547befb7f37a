/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The client against real servers; test-qmp-hostile.c has what these cannot be made to do. */
#include <vmckpt/qmp/client.h>

#include "qemu-process.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/json.h>

/* A guest that has not been started, and a client of it. */
typedef struct {
  QemuProcess qemu;
  QmpClient *client;
  GString *events; /* names, each with a space behind it */
} Guest;

static void
on_event (QmpClient *client, const char *event, JsonObject *data, gint64 time_us,
          gpointer user_data)
{
  g_string_append_printf (((Guest *)user_data)->events, "%s ", event != NULL ? event : "(lost)");
  g_assert_true (event == NULL || time_us > G_USEC_PER_SEC);
}

static void
guest_clear (Guest *guest)
{
  g_clear_pointer (&guest->client, qmp_client_unref);
  qemu_process_end (&guest->qemu);
  g_string_free (guest->events, TRUE);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Guest, guest_clear)

static gboolean
guest_start (Guest *guest)
{
  g_autofree char *program = qemu_program();

  guest->events = g_string_new (NULL);
  if (program == NULL)
    return FALSE;
  guest->qemu = qemu_process_start (program, "none", "-S");
  guest->client = qemu_process_connect (&guest->qemu);
  qmp_client_set_event_func (guest->client, on_event, guest);
  return TRUE;
}

/* Runs a command that has to succeed and drops its answer. */
static void
run (QmpClient *client, const char *command)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonNode) answer = qmp_client_execute (client, command, NULL, -1, 0, NULL, &error);

  g_assert_no_error (error);
  g_assert_nonnull (answer);
}

static void
iterate_until_lost (QmpClient *client)
{
  while (qmp_client_connected (client))
    g_main_context_iteration (NULL, TRUE);
  while (g_main_context_iteration (NULL, FALSE)) {
  }
}

static void
test_greeting (void)
{
  g_auto (Guest) guest = { 0 };

  if (!guest_start (&guest))
    return;
  const QmpGreeting *greeting = qmp_client_greeting (guest.client);
  g_assert_cmpuint (greeting->major, >=, 6);
  g_assert_nonnull (greeting->package);
  g_assert_true (greeting->oob);
  g_assert_true (qmp_client_connected (guest.client));
}

static void
test_storage_daemon (void)
{
  g_auto (QemuProcess) daemon = qemu_storage_daemon_start();

  if (daemon.child.pid == 0)
    return;
  g_autoptr (QmpClient) client = qemu_process_connect (&daemon);
  g_assert_cmpuint (qmp_client_greeting (client)->major, >=, 6);
  run (client, "query-named-block-nodes");
}

/* An event that comes before an answer is handled before the answer is seen. */
static void
test_events_come_in_order (void)
{
  g_auto (Guest) guest = { 0 };

  if (!guest_start (&guest))
    return;
  run (guest.client, "cont");
  g_assert_cmpstr (guest.events->str, ==, "RESUME ");
  run (guest.client, "stop");
  g_assert_cmpstr (guest.events->str, ==, "RESUME STOP ");
}

static void
ask_in_handler (QmpClient *client, const char *event, JsonObject *data, gint64 time_us,
                gpointer user_data)
{
  run (client, "query-status");
  *(int *)user_data += 1;
}

static void
test_handler_may_execute (void)
{
  g_auto (Guest) guest = { 0 };
  int handled = 0;

  if (!guest_start (&guest))
    return;
  qmp_client_set_event_func (guest.client, ask_in_handler, &handled);
  run (guest.client, "cont");
  run (guest.client, "stop");
  g_assert_cmpint (handled, ==, 2);
}

static void
test_refusal_has_a_class (void)
{
  g_auto (Guest) guest = { 0 };
  g_autoptr (GError) error = NULL;

  if (!guest_start (&guest))
    return;
  g_assert_null (qmp_client_execute (guest.client, "make-tea", NULL, -1, 0, NULL, &error));
  g_assert_error (error, QMP_ERROR, QMP_ERROR_COMMAND);
  g_assert_cmpstr (error->message, ==, "CommandNotFound: The command make-tea has not been found");
  g_assert_true (qmp_error_is_class (error, "CommandNotFound"));
  g_assert_false (qmp_error_is_class (error, "GenericError"));
  g_prefix_error (&error, "tea for g1: ");
  g_assert_true (qmp_error_is_class (error, "CommandNotFound"));
  g_assert_false (qmp_error_is_class (NULL, "CommandNotFound"));
}

static void
test_long_answer (void)
{
  g_auto (Guest) guest = { 0 };
  g_autoptr (GError) error = NULL;

  if (!guest_start (&guest))
    return;
  g_autoptr (JsonNode) answer =
      qmp_client_execute (guest.client, "query-qmp-schema", NULL, -1, 0, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (json_array_get_length (json_node_get_array (answer)), >, 500);
}

/* QEMU's own view of what it was handed: add-fd tells of every descriptor in a set. */
static void
test_passes_descriptors (void)
{
  g_auto (Guest) guest = { 0 };
  g_autoptr (GError) error = NULL;
  g_auto (AutoFd) fd = open ("/dev/zero", O_RDONLY | O_CLOEXEC);

  if (!guest_start (&guest))
    return;
  g_autoptr (JsonNode) answer =
      qmp_client_execute (guest.client, "add-fd", NULL, fd, 0, NULL, &error);
  g_assert_no_error (error);
  guint64 there = 0;
  json_get_uint64 (json_node_get_object (answer), "fd", &there, &error);
  g_assert_no_error (error);
  g_autofree char *link = g_strdup_printf ("/proc/%d/fd/%d", (int)guest.qemu.child.pid, (int)there);
  g_autofree char *target = g_file_read_link (link, NULL);
  g_assert_cmpstr (target, ==, "/dev/zero");
  g_assert_cmpint (fcntl (fd, F_GETFD), >=, 0);

  g_assert_null (qmp_client_execute (guest.client, "add-fd", NULL, 99999, 0, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_FAILED);
}

static void
test_out_of_band (void)
{
  g_auto (Guest) guest = { 0 };
  g_autoptr (GError) error = NULL;
  JsonObject *arguments = json_object_new();

  json_object_set_array_member (arguments, "instances", json_array_new());
  if (!guest_start (&guest))
    return;
  g_autoptr (JsonNode) answer =
      qmp_client_execute_oob (guest.client, "yank", arguments, 0, NULL, &error);
  g_assert_no_error (error);
  g_assert_null (qmp_client_execute_oob (guest.client, "query-status", NULL, 0, NULL, &error));
  g_assert_error (error, QMP_ERROR, QMP_ERROR_COMMAND);
}

static void
test_deadline_of_a_stopped_qemu (void)
{
  g_auto (Guest) guest = { 0 };
  g_autoptr (GError) error = NULL;

  if (!guest_start (&guest))
    return;
  kill (guest.qemu.child.pid, SIGSTOP);
  g_assert_null (qmp_client_execute (guest.client, "query-name", NULL, -1, 100, NULL, &error));
  g_assert_error (error, QMP_ERROR, QMP_ERROR_TIMEOUT);
  g_assert_cmpstr (error->message, ==, "'query-name' has no answer after 100 ms");
  g_assert_true (qmp_client_connected (guest.client));
  kill (guest.qemu.child.pid, SIGCONT);
  /* The late answer is passed over, not taken for this one's. */
  g_clear_error (&error);
  g_autoptr (JsonNode) answer =
      qmp_client_execute (guest.client, "query-status", NULL, -1, 0, NULL, &error);
  g_assert_no_error (error);
  g_assert_true (json_object_has_member (json_node_get_object (answer), "running"));
}

static void
keep_error (GObject *source, GAsyncResult *result, gpointer user_data)
{
  QmpClient *client = ((gpointer *)user_data)[0];
  GError **error = ((gpointer *)user_data)[1];

  g_assert_null (qmp_client_execute_finish (client, result, error));
}

static void
test_lost_in_mid_command (void)
{
  g_auto (Guest) guest = { 0 };
  g_autoptr (GError) error = NULL;
  gpointer data[2];

  if (!guest_start (&guest))
    return;
  data[0] = guest.client;
  data[1] = &error;
  kill (guest.qemu.child.pid, SIGSTOP);
  qmp_client_execute_async (guest.client, "query-status", NULL, -1, 0, NULL, keep_error, data);
  kill (guest.qemu.child.pid, SIGKILL);
  iterate_until_lost (guest.client);
  g_assert_error (error, QMP_ERROR, QMP_ERROR_LOST);
  g_assert_nonnull (g_strstr_len (error->message, -1, "'query-status' has no answer"));
  g_assert_cmpstr (guest.events->str, ==, "(lost) ");
  g_clear_error (&error);
  g_assert_null (qmp_client_execute (guest.client, "query-name", NULL, -1, 0, NULL, &error));
  g_assert_error (error, QMP_ERROR, QMP_ERROR_LOST);
}

/* QEMU lets one client in at a time. */
static void
test_second_client_times_out (void)
{
  g_auto (Guest) guest = { 0 };
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) waiting = g_ptr_array_new();

  if (!guest_start (&guest))
    return;
  g_assert_null (qmp_client_connect (guest.qemu.socket, 50, &error));
  g_assert_error (error, QMP_ERROR, QMP_ERROR_TIMEOUT);
  g_assert_true (g_str_has_prefix (error->message, "monitor /"));
  g_clear_error (&error);

  g_clear_pointer (&guest.client, qmp_client_unref);
  guest.client = qemu_process_connect (&guest.qemu);
  g_assert_null (qmp_client_connect ("/nonexistent/monitor", 50, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
}

static gpointer
ask_often (gpointer data)
{
  for (int i = 0; i < 200; i++)
    run (data, "query-status");
  return NULL;
}

static gboolean
quit_loop (gpointer data)
{
  g_main_loop_quit (data);
  return G_SOURCE_REMOVE;
}

static gpointer
run_loop (gpointer data)
{
  g_main_loop_run (data);
  return NULL;
}

/* Home is run by a thread of its own; three others, among them the one that made the client, ask.
 */
static void
test_many_threads (void)
{
  g_auto (Guest) guest = { 0 };

  if (!guest_start (&guest))
    return;
  qmp_client_set_event_func (guest.client, NULL, NULL);
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  GThread *home = g_thread_new ("home", run_loop, loop);
  GThread *first = g_thread_new ("first", ask_often, guest.client);
  GThread *second = g_thread_new ("second", ask_often, guest.client);
  ask_often (guest.client);
  g_thread_join (first);
  g_thread_join (second);
  g_idle_add (quit_loop, loop);
  g_thread_join (home);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/qmp-client/greeting", test_greeting);
  g_test_add_func ("/qmp-client/storage-daemon", test_storage_daemon);
  g_test_add_func ("/qmp-client/events-come-in-order", test_events_come_in_order);
  g_test_add_func ("/qmp-client/handler-may-execute", test_handler_may_execute);
  g_test_add_func ("/qmp-client/refusal-has-a-class", test_refusal_has_a_class);
  g_test_add_func ("/qmp-client/long-answer", test_long_answer);
  g_test_add_func ("/qmp-client/passes-descriptors", test_passes_descriptors);
  g_test_add_func ("/qmp-client/out-of-band", test_out_of_band);
  g_test_add_func ("/qmp-client/deadline-of-a-stopped-qemu", test_deadline_of_a_stopped_qemu);
  g_test_add_func ("/qmp-client/lost-in-mid-command", test_lost_in_mid_command);
  g_test_add_func ("/qmp-client/second-client-times-out", test_second_client_times_out);
  g_test_add_func ("/qmp-client/many-threads", test_many_threads);
  return g_test_run();
}
