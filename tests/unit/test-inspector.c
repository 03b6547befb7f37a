/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Asking vmckpt-inspect, played by scripts: what it answers, how it ends. */
#include <vmckpt/inspect/inspector.h>
#include <vmckpt/util/json.h>

#include <fcntl.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
  char *directory, *program, *cache;
  GString *data;
  guint messages;
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer data)
{
  fixture->directory = g_dir_make_tmp ("vmckpt-test-XXXXXX", NULL);
  fixture->program = g_build_filename (fixture->directory, "program", NULL);
  fixture->cache = g_build_filename (fixture->directory, "cache", NULL);
  fixture->data = g_string_new (NULL);
  g_setenv ("VMCKPT_INSPECT", fixture->program, TRUE);
  g_setenv ("VMCKPT_CACHE", fixture->cache, TRUE);
}

/* Whatever happened, no directory of an inspector is left. */
static void
tear_down (Fixture *fixture, gconstpointer data)
{
  g_assert_cmpint (g_rmdir (fixture->cache), ==, 0);
  g_assert_cmpint (g_unlink (fixture->program), ==, 0);
  g_assert_cmpint (g_rmdir (fixture->directory), ==, 0);
  g_string_free (fixture->data, TRUE);
  g_free (fixture->directory);
  g_free (fixture->program);
  g_free (fixture->cache);
}

/* A program that does @script, in Python: line() reads a request, frame() writes one. */
static Inspector *
start (Fixture *fixture, const char *script)
{
  static const InspectorDisk disks[] = { { "disk0", "disk0" } };
  const InspectorOptions options = { .socket = "/nowhere", .disks = disks, .n_disks = 1 };
  g_autofree char *text = g_strdup_printf (
      "#!/usr/bin/python3\n"
      "import os, struct, sys, time\n"
      "def frame(kind, data): os.write(1, struct.pack('<BI', ord(kind), len(data)) + data)\n"
      "def line():\n"
      "    if not sys.stdin.readline(): sys.exit(0)\n"
      "%s\n",
      script);
  g_autoptr (GError) error = NULL;

  g_assert_true (g_file_set_contents (fixture->program, text, -1, NULL));
  g_assert_cmpint (g_chmod (fixture->program, 0755), ==, 0);
  Inspector *inspector = inspector_start (&options, &error);
  g_assert_no_error (error);
  return inspector;
}

static gboolean
on_frame (char type, const guint8 *data, gsize len, JsonObject *object, gpointer user_data,
          GError **error)
{
  Fixture *fixture = user_data;

  if (type == 'D')
    g_string_append_len (fixture->data, (const char *)data, len);
  if (object != NULL && g_str_equal (json_get_string_or (object, "type", ""), "message"))
    fixture->messages++;
  return TRUE;
}

static JsonObject *
run (Fixture *fixture, Inspector *inspector, GCancellable *cancellable, GError **error)
{
  g_autoptr (JsonObject) request = json_object_new();

  json_object_set_string_member (request, "command", "ls");
  return inspector_run (inspector, request, on_frame, fixture, cancellable, error);
}

static void
test_answers (Fixture *fixture, gconstpointer data)
{
  g_autoptr (Inspector) inspector = start (
      fixture, "for i in range(2):\n"
               "    line()\n"
               "    frame('J', b'{\"type\":\"message\",\"text\":\"x\"}')\n"
               "    for part in b'ab', b'', b'c' * 100000: frame('D', part)\n"
               "    frame('J', b'{\"type\":\"result\",\"files\":7}')\n"
               "line()\n"
               "frame('J', b'{\"type\":\"error\",\"code\":2,\"message\":\"no such file\"}')\n"
               "line()");
  g_autoptr (GError) error = NULL;

  for (guint i = 1; i <= 2; i++) {
    g_autoptr (JsonObject) result = run (fixture, inspector, NULL, &error);
    g_assert_no_error (error);
    g_assert_cmpint (json_object_get_int_member (result, "files"), ==, 7);
    g_assert_cmpuint (fixture->messages, ==, i);
    g_assert_cmpuint (fixture->data->len, ==, i * 100002);
  }
  g_assert_null (run (fixture, inspector, NULL, &error));
  g_assert_error (error, INSPECT_ERROR, INSPECT_ERROR_NOT_FOUND);
  g_assert_cmpstr (error->message, ==, "no such file");
  /* An error is an answer. */
  g_assert_true (inspector_usable (inspector));
}

/* Whatever is no answer is an error that says so, and the inspector is of no use afterwards. */
static void
test_garbled (Fixture *fixture, gconstpointer data)
{
  static const struct {
    const char *script, *said;
  } cases[] = {
    { "line(); frame('X', b'')", "what is no answer" },
    { "line(); os.write(1, b'D\\xff\\xff\\xff\\xff')", "what is no answer" },
    { "line(); frame('Z', b'123')", "what is no answer" },
    { "line(); frame('J', b'nothing')", "" },
    { "line(); frame('J', b'[]')", "" },
    { "line(); os.write(1, b'D\\x05')", "ended" },
    { "line(); sys.exit('out of memory')", "out of memory" },
    { "sys.exit('cannot start')", "cannot start" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (Inspector) inspector = start (fixture, cases[i].script);
    g_autoptr (GError) error = NULL;
    g_assert_null (run (fixture, inspector, NULL, &error));
    g_assert_nonnull (error);
    g_assert_nonnull (strstr (error->message, cases[i].said));
    g_assert_false (inspector_usable (inspector));
  }
}

/* Said before it was asked, as a start that failed says it. */
static void
test_early (Fixture *fixture, gconstpointer data)
{
  g_autoptr (Inspector) inspector = start (
      fixture,
      "frame('J', b'{\"type\":\"error\",\"code\":4,\"message\":\"no kernel\"}'); sys.exit(1)");
  g_autoptr (GError) error = NULL;

  g_assert_null (run (fixture, inspector, NULL, &error));
  g_assert_error (error, INSPECT_ERROR, INSPECT_ERROR_IMPOSSIBLE);
}

/* Waits for the next byte in @fd, or 0 for its end: nobody has it open for writing any more. */
static gssize
next_byte (int fd)
{
  struct pollfd watched = { .fd = fd, .events = POLLIN };
  char byte;

  g_assert_cmpint (poll (&watched, 1, 30000), ==, 1);
  return read (fd, &byte, 1);
}

typedef struct {
  GCancellable *cancellable;
  int fd;
} Canceller;

static gpointer
cancel_thread (gpointer data)
{
  Canceller *canceller = data;

  g_assert_cmpint (next_byte (canceller->fd), ==, 1); /* it is at work */
  g_cancellable_cancel (canceller->cancellable);
  return NULL;
}

/* Cancelled, it and all that it started are gone. */
static void
test_cancelled (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new();
  g_autofree char *fifo = g_build_filename (fixture->directory, "fifo", NULL);
  g_autofree char *script = g_strdup_printf ("fifo = os.open('%s', os.O_WRONLY)\n"
                                             "child = os.fork()\n"
                                             "if child: line(); os.write(fifo, b'x')\n"
                                             "time.sleep(1000)",
                                             fifo);
  g_autoptr (GError) error = NULL;

  g_assert_cmpint (mkfifo (fifo, 0600), ==, 0);
  Canceller canceller = { cancellable, open (fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC) };
  g_autoptr (Inspector) inspector = start (fixture, script);
  GThread *thread = g_thread_new ("cancel", cancel_thread, &canceller);
  g_assert_null (run (fixture, inspector, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_assert_false (inspector_usable (inspector));
  g_thread_join (thread);
  g_clear_pointer (&inspector, inspector_free);
  g_assert_cmpint (next_byte (canceller.fd), ==, 0);
  close (canceller.fd);
  g_unlink (fifo);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/inspector/answers", Fixture, NULL, set_up, test_answers, tear_down);
  g_test_add ("/inspector/garbled", Fixture, NULL, set_up, test_garbled, tear_down);
  g_test_add ("/inspector/early", Fixture, NULL, set_up, test_early, tear_down);
  g_test_add ("/inspector/cancelled", Fixture, NULL, set_up, test_cancelled, tear_down);
  return g_test_run();
}
