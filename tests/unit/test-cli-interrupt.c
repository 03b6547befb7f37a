/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Signals to the real program. */
#include "fake-daemon.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEADLINE_MS 20000

typedef struct {
  FakeDaemon *fake;
  GPid pid;
  int out, err;
} Fixture;

static void
set_up (Fixture *f, gconstpointer data)
{
  f->fake = fake_daemon_new();
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  close (f->out);
  close (f->err);
  fake_daemon_free (f->fake);
}

/* Starts `vmckpt` of the same build with the words of @line, separated by "|". */
static void
start (Fixture *f, const char *line)
{
  g_autofree char *self = g_file_read_link ("/proc/self/exe", NULL);
  g_autofree char *here = g_path_get_dirname (self);
  g_autofree char *whole = g_strdup_printf ("%s/../../vmckpt/cli/vmckpt|--store|/s|--runtime|%s|%s",
                                            here, fake_daemon_runtime (f->fake), line);
  g_auto (GStrv) argv = g_strsplit (whole, "|", -1);
  g_autoptr (GError) error = NULL;

  g_spawn_async_with_pipes (NULL, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &f->pid, NULL,
                            &f->out, &f->err, &error);
  g_assert_no_error (error);
}

static int
wait_for_end (Fixture *f)
{
  int status;

  while (waitpid (f->pid, &status, 0) < 0)
    g_assert_cmpint (errno, ==, EINTR);
  return WIFEXITED (status) ? WEXITSTATUS (status) : 1000 + WTERMSIG (status);
}

/* Waits until @fd has something to read, and how much. */
static int
wait_readable (int fd)
{
  struct pollfd wait = { .fd = fd, .events = POLLIN };
  int there = 0;

  g_assert_cmpint (poll (&wait, 1, DEADLINE_MS), ==, 1);
  g_assert_cmpint (ioctl (fd, FIONREAD, &there), ==, 0);
  return there;
}

/* The call is under way: its first line has come through. */
static void
test_long_call (Fixture *f, gconstpointer data)
{
  char text[256] = "";

  fake_daemon_answer (f->fake, "POST /v1/guests/a/checkpoint", 200, "application/x-ndjson",
                      "{\"type\":\"message\",\"text\":\"hm\"}\n", FAKE_HANG);
  start (f, "checkpoint|a");
  g_assert_cmpint (wait_readable (f->err), >, 0);
  g_assert_cmpint (kill (f->pid, GPOINTER_TO_INT (data)), ==, 0);
  g_assert_cmpint (wait_for_end (f), ==, 130);
  g_assert_cmpint (read (f->err, text, sizeof text - 1), >, 0);
  g_assert_cmpstr (text, ==, "note: hm\nvmckpt: interrupted; the guest runs on\n");
  g_assert_true (fake_daemon_wait_left (f->fake));
}

/* Blocked because nobody reads its output, it ends all the same: on the second signal at the
 * latest, if the first one came just before it blocked. */
static void
test_blocked_output (Fixture *f, gconstpointer data)
{
  g_autofree char *text = g_strnfill (1024 * 1024, 'x');

  fake_daemon_answer (f->fake, "GET /v1/guests/a/log", 200, "text/plain", text, FAKE_END);
  start (f, "log|a");
  g_assert_cmpint (wait_readable (f->out), >, 0);
  kill (f->pid, SIGINT);
  kill (f->pid, SIGTERM);
  g_assert_cmpint (wait_for_end (f), ==, 130);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/cli-interrupt/sigint", Fixture, GINT_TO_POINTER (SIGINT), set_up, test_long_call,
              tear_down);
  g_test_add ("/cli-interrupt/sigterm", Fixture, GINT_TO_POINTER (SIGTERM), set_up, test_long_call,
              tear_down);
  g_test_add ("/cli-interrupt/blocked-output", Fixture, NULL, set_up, test_blocked_output,
              tear_down);
  return g_test_run();
}
