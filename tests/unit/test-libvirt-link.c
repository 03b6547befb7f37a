/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Asking vmckpt-libvirt, played by scripts: what it answers, in which order, how it ends. */
#include <vmckpt/libvirt/libvirt-link.h>
#include <vmckpt/util/json.h>

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

typedef struct {
  char *directory, *program;
  LibvirtLink *link;
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer data)
{
  fixture->directory = g_dir_make_tmp ("vmckpt-test-XXXXXX", NULL);
  fixture->program = g_build_filename (fixture->directory, "program", NULL);
  g_setenv ("VMCKPT_LIBVIRT_PROGRAM", fixture->program, TRUE);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  g_clear_pointer (&fixture->link, libvirt_link_unref);
  g_unlink (fixture->program);
  g_assert_cmpint (g_rmdir (fixture->directory), ==, 0);
  g_free (fixture->directory);
  g_free (fixture->program);
}

/* A program that does @script, in Python: ask() reads a request, say() writes a line. */
static void
start (Fixture *fixture, const char *script)
{
  g_autofree char *text =
      g_strdup_printf ("#!/usr/bin/python3\n"
                       "import array, json, os, socket, sys, time\n"
                       "s = socket.socket(fileno=0)\n"
                       "rest = b''\n"
                       "fds = array.array('i')\n"
                       "def ask():\n"
                       "    global rest\n"
                       "    while b'\\n' not in rest:\n"
                       "        data, extra, _, _ = s.recvmsg(65536, 64)\n"
                       "        for _, _, passed in extra: fds.frombytes(passed[:4])\n"
                       "        if not data: sys.exit(0)\n"
                       "        rest += data\n"
                       "    line, rest = rest.split(b'\\n', 1)\n"
                       "    return json.loads(line)\n"
                       "def say(**members): s.sendall(json.dumps(members).encode() + b'\\n')\n"
                       "%s\n",
                       script);
  g_autoptr (GError) error = NULL;

  g_assert_true (g_file_set_contents (fixture->program, text, -1, NULL));
  g_assert_cmpint (g_chmod (fixture->program, 0755), ==, 0);
  fixture->link = libvirt_link_open ("test:///default", &error);
  g_assert_no_error (error);
}

static JsonObject *
ask (Fixture *fixture, const char *request, GError **error)
{
  return libvirt_link_ask (fixture->link, request, NULL, -1, 0, NULL, NULL, NULL, error);
}

static gpointer
ask_in_thread (gpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) answer = ask (data, "first", &error);

  g_assert_no_error (error);
  g_assert_cmpstr (json_get_string_or (answer, "to", NULL), ==, "first");
  return NULL;
}

/* Answers may come in another order than requests went. */
static void
test_side_by_side (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  start (fixture, "a, b = ask(), ask()\n"
                  "say(id=77, result={})\n"
                  "for r in (b, a): say(id=r['id'], result={'to': r['request']})\n"
                  "ask()");
  GThread *thread = g_thread_new ("asks", ask_in_thread, fixture);
  g_autoptr (JsonObject) answer = ask (fixture, "second", &error);
  g_assert_no_error (error);
  g_assert_cmpstr (json_get_string_or (answer, "to", NULL), ==, "second");
  g_thread_join (thread);
  g_assert_true (libvirt_link_usable (fixture->link));
}

static void
sum_up (JsonObject *progress, gpointer sum)
{
  *(guint64 *)sum += json_get_uint64_or (progress, "n", 0);
}

static void
test_progress_and_descriptor (Fixture *fixture, gconstpointer data)
{
  g_autoptr (JsonObject) arguments = json_object_new();
  g_autoptr (GError) error = NULL;
  guint64 sum = 0;
  int fds[2];
  char word[3];

  start (fixture, "r = ask()\n"
                  "assert r['fd'] and r['x'] == 'y'\n"
                  "os.write(fds[0], b'abc')\n"
                  "for n in range(5): say(id=r['id'], progress={'n': n})\n"
                  "say(id=r['id'], result={})\n"
                  "ask()");
  json_object_set_string_member (arguments, "x", "y");
  g_assert_cmpint (pipe (fds), ==, 0);
  g_autoptr (JsonObject) answer =
      libvirt_link_ask (fixture->link, "take", arguments, fds[1], 0, sum_up, &sum, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (sum, ==, 10);
  g_assert_cmpint (read (fds[0], word, 3), ==, 3);
  close (fds[0]);
  close (fds[1]);
}

static void
test_errors (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  start (fixture, "r = ask(); say(id=r['id'], error={'code': 5, 'message': 'a job'})\n"
                  "r = ask(); say(id=r['id'], error={'code': 999})\n"
                  "r = ask(); say(id=r['id'], nothing=1)\n"
                  "ask()");
  g_assert_null (ask (fixture, "one", &error));
  g_assert_error (error, LIBVIRT_ERROR, LIBVIRT_ERROR_BUSY);
  g_assert_cmpstr (error->message, ==, "a job");
  g_clear_error (&error);
  g_assert_null (ask (fixture, "two", &error));
  g_assert_error (error, LIBVIRT_ERROR, LIBVIRT_ERROR_FAILED);
  g_clear_error (&error);
  g_assert_null (ask (fixture, "three", &error));
  g_assert_error (error, LIBVIRT_ERROR, LIBVIRT_ERROR_FAILED);
  g_assert_true (libvirt_link_usable (fixture->link));
}

/* Lines that are no answers end the link, not the asker. */
static void
test_hostile (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  start (fixture, data);
  g_assert_null (ask (fixture, "one", &error));
  g_assert_nonnull (error);
  g_assert_false (libvirt_link_usable (fixture->link));
  g_clear_error (&error);
  g_assert_null (ask (fixture, "two", &error));
  g_assert_nonnull (error);
}

static void
test_ends (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  start (fixture, "ask(); sys.stderr.write('out of luck\\n'); sys.exit(1)");
  g_assert_null (ask (fixture, "one", &error));
  g_assert_error (error, LIBVIRT_ERROR, LIBVIRT_ERROR_LOST);
  g_assert_nonnull (strstr (error->message, "out of luck"));
}

static void
cancel (JsonObject *progress, gpointer cancellable)
{
  g_cancellable_cancel (cancellable);
}

/* The program is told, and its answer awaited. */
static void
test_cancelled (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new();
  g_autoptr (GError) error = NULL;

  start (fixture, "r = ask(); say(id=r['id'], progress={})\n"
                  "c = ask(); assert c['request'] == 'cancel' and c['of'] == r['id']\n"
                  "say(id=r['id'], error={'code': 0, 'message': 'ended'})\n"
                  "r = ask(); say(id=r['id'], result={})\n"
                  "ask()");
  g_assert_null (libvirt_link_ask (fixture->link, "long", NULL, -1, -1, cancel, cancellable,
                                   cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&error);
  g_autoptr (JsonObject) answer = ask (fixture, "next", &error);
  g_assert_no_error (error);
}

static void
test_too_late (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  start (fixture, "r = ask()\nask()");
  g_assert_null (libvirt_link_ask (fixture->link, "never", NULL, -1, 50, NULL, NULL, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
  g_assert_true (libvirt_link_usable (fixture->link));
}

static void
test_no_program (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (libvirt_link_open ("test:///default", &error));
  g_assert_nonnull (error);
}

/* A list whose members are not what they should be. */
static void
test_bad_list (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  start (fixture,
         "for list in ([1], [{}], [{'name': 'x', 'uuid': '../..', 'state': 'running'}], {}):\n"
         "    r = ask(); say(id=r['id'], result={'domains': list})\n"
         "ask()");
  for (guint i = 0; i < 4; i++) {
    g_assert_null (libvirt_link_list (fixture->link, NULL, &error));
    g_assert_nonnull (error);
    g_clear_error (&error);
  }
}

#define ADD(name, data, func) g_test_add (name, Fixture, data, set_up, func, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("/libvirt-link/side-by-side", NULL, test_side_by_side);
  ADD ("/libvirt-link/progress-and-descriptor", NULL, test_progress_and_descriptor);
  ADD ("/libvirt-link/errors", NULL, test_errors);
  ADD ("/libvirt-link/no-json", "ask(); s.sendall(b'no json\\n'); ask()", test_hostile);
  ADD ("/libvirt-link/no-id", "ask(); say(result={}); ask()", test_hostile);
  ADD ("/libvirt-link/deep", "ask(); s.sendall(b'[' * 100000 + b'\\n'); ask()", test_hostile);
  ADD ("/libvirt-link/endless",
       "ask()\ntry:\n    while True: s.sendall(b'x' * 1000000)\nexcept OSError: pass",
       test_hostile);
  ADD ("/libvirt-link/ends", NULL, test_ends);
  ADD ("/libvirt-link/cancelled", NULL, test_cancelled);
  ADD ("/libvirt-link/too-late", NULL, test_too_late);
  ADD ("/libvirt-link/no-program", NULL, test_no_program);
  ADD ("/libvirt-link/bad-list", NULL, test_bad_list);
  return g_test_run();
}
