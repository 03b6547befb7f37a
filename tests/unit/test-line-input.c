/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "line-input.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct {
  int ours, theirs;
  LineInput input;
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer data)
{
  int pair[2];

  g_assert_cmpint (socketpair (AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
  fixture->ours = pair[0];
  fixture->theirs = pair[1];
  line_input_init (&fixture->input, fixture->ours, 100);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  line_input_clear (&fixture->input);
  close (fixture->ours);
  if (fixture->theirs >= 0)
    close (fixture->theirs);
}

static void
send_text (Fixture *fixture, const char *text, int fd)
{
  g_assert_true (fd_send (fixture->theirs, text, strlen (text), fd, NULL));
}

static void
assert_next (Fixture *fixture, const char *expected)
{
  g_autoptr (GError) error = NULL;
  gsize len;
  g_autofree char *line = line_input_next (&fixture->input, &len, &error);

  g_assert_no_error (error);
  g_assert_cmpstr (line, ==, expected);
  if (expected != NULL)
    g_assert_cmpuint (len, ==, strlen (expected));
}

static void
test_lines (Fixture *fixture, gconstpointer data)
{
  send_text (fixture, "one\n\ntwo\nthr", -1);
  assert_next (fixture, "one");
  assert_next (fixture, "");
  assert_next (fixture, "two");
  send_text (fixture, "ee\nunfinished", -1);
  assert_next (fixture, "three");
  close (fixture->theirs);
  fixture->theirs = -1;
  assert_next (fixture, NULL);
}

static void
test_descriptors (Fixture *fixture, gconstpointer data)
{
  send_text (fixture, "a\n", STDIN_FILENO);
  send_text (fixture, "b\n", -1);
  send_text (fixture, "c\n", STDIN_FILENO);
  assert_next (fixture, "a");
  g_auto (AutoFd) first = line_input_take_fd (&fixture->input);
  g_assert_cmpint (first, >=, 0);
  assert_next (fixture, "b");
  assert_next (fixture, "c");
  g_auto (AutoFd) second = line_input_take_fd (&fixture->input);
  g_assert_cmpint (second, >=, 0);
  g_assert_cmpint (line_input_take_fd (&fixture->input), ==, -1);
}

static void
test_too_long (Fixture *fixture, gconstpointer data)
{
  g_autofree char *text = g_strnfill (101, 'x');
  g_autoptr (GError) error = NULL;
  gsize len;

  send_text (fixture, text, -1);
  g_assert_null (line_input_next (&fixture->input, &len, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
}

#define ADD(name, func) g_test_add (name, Fixture, NULL, set_up, func, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("/line-input/lines", test_lines);
  ADD ("/line-input/descriptors", test_descriptors);
  ADD ("/line-input/too-long", test_too_long);
  return g_test_run();
}
