/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The console with one end of a socket pair as the guest's serial port. */
#include "console.h"

#include <vmckpt/keeper/keeper.h>
#include <vmckpt/util/fd.h>

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAIT_US (30 * G_USEC_PER_SEC)

typedef struct {
  char *directory;
  char *socket;
  AutoFd guest; /* what the guest prints and reads */
  Console *console;
} Fixture;

static void
set_up (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  int pair[2];

  fixture->directory = g_dir_make_tmp ("vmckpt-XXXXXX", &error);
  g_assert_no_error (error);
  fixture->socket = g_build_filename (fixture->directory, GUEST_FILE_CONSOLE, NULL);
  g_assert_cmpint (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
  fixture->guest = pair[0];
  SerialLog *log = serial_log_open (fixture->directory, SERIAL_LOG_MAX_BYTES, &error);
  g_assert_no_error (error);
  int listener = fd_listen_unix (fixture->socket, &error);
  g_assert_no_error (error);
  fixture->console = console_new ("/no/such/socket", pair[1], listener, log);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  g_autofree char *log = g_build_filename (fixture->directory, GUEST_FILE_LOG, NULL);

  console_free (fixture->console);
  fd_close (&fixture->guest);
  g_unlink (log);
  g_unlink (fixture->socket);
  g_assert_cmpint (g_rmdir (fixture->directory), ==, 0);
  g_free (fixture->socket);
  g_free (fixture->directory);
}

static int
connect_client (Fixture *fixture)
{
  g_autoptr (GError) error = NULL;
  int fd = fd_connect_unix (fixture->socket, &error);

  g_assert_no_error (error);
  return fd;
}

/* Lets the console work until there is nothing to be done. */
static void
iterate (void)
{
  while (g_main_context_iteration (NULL, FALSE))
    ;
}

/* Everything that can be read from @fd now is added to @text. FALSE at its end. */
static gboolean
collect (int fd, GString *text)
{
  char buf[64 * 1024];
  ssize_t n;

  while ((n = recv (fd, buf, sizeof buf, MSG_DONTWAIT)) > 0)
    g_string_append_len (text, buf, n);
  return n < 0 && errno == EAGAIN;
}

/* Lets the console work until @fd has brought @want. */
static void
expect (int fd, const char *want)
{
  g_autoptr (GString) text = g_string_new (NULL);
  gint64 deadline = g_get_monotonic_time() + WAIT_US;

  while (text->len < strlen (want) && g_get_monotonic_time() < deadline) {
    iterate();
    g_assert_true (collect (fd, text));
  }
  g_assert_cmpstr (text->str, ==, want);
}

static void
say (int fd, const char *text)
{
  g_assert_cmpint (send (fd, text, strlen (text), MSG_NOSIGNAL), ==, (gssize)strlen (text));
}

/* Everybody sees what the guest prints; what anybody types reaches it. */
static void
test_several (Fixture *fixture, gconstpointer data)
{
  g_auto (AutoFd) a = connect_client (fixture);
  g_auto (AutoFd) b = connect_client (fixture);

  iterate();
  say (fixture->guest, "login: ");
  expect (a, "login: ");
  expect (b, "login: ");
  say (a, "ro");
  expect (fixture->guest, "ro");
  say (b, "ot");
  expect (fixture->guest, "ot");
  fd_close (&a);
  iterate();
  say (fixture->guest, "# ");
  expect (b, "# ");
}

/* A client that does not read is disconnected; the guest and the other client notice nothing. */
static void
test_stuck_client (Fixture *fixture, gconstpointer data)
{
  g_auto (AutoFd) stuck = connect_client (fixture);
  g_auto (AutoFd) reader = connect_client (fixture);
  g_autoptr (GString) seen = g_string_new (NULL);
  g_autofree char *piece = g_strnfill (64 * 1024, 'x');
  const gsize total = 4 * 1024 * 1024;
  gint64 deadline = g_get_monotonic_time() + WAIT_US;
  gsize sent = 0;

  iterate();
  while (seen->len < total && g_get_monotonic_time() < deadline) {
    if (sent < total) {
      ssize_t n = send (fixture->guest, piece, 64 * 1024, MSG_DONTWAIT | MSG_NOSIGNAL);
      sent += MAX (n, 0);
    }
    iterate();
    g_assert_true (collect (reader, seen));
  }
  g_assert_cmpuint (sent, ==, total);
  g_assert_cmpuint (seen->len, ==, total);

  /* It finds what it was sent before, and then the end. */
  g_string_truncate (seen, 0);
  g_assert_false (collect (stuck, seen));
  g_assert_cmpuint (seen->len, <, total);
}

/* A guest that does not read its serial port leaves input where it is, in bounded memory; it gets
 * all of it later. */
static void
test_stuck_guest (Fixture *fixture, gconstpointer data)
{
  g_auto (AutoFd) client = connect_client (fixture);
  g_autofree char *piece = g_strnfill (4096, 'k');
  g_autoptr (GString) got = g_string_new (NULL);
  gint64 deadline = g_get_monotonic_time() + WAIT_US;
  gsize sent = 0;
  guint full = 0;

  /* Until even the client's own socket takes no more. */
  while (full < 3) {
    ssize_t n = send (client, piece, 4096, MSG_DONTWAIT | MSG_NOSIGNAL);
    sent += MAX (n, 0);
    full = n < 0 ? full + 1 : 0;
    iterate();
    g_assert_cmpuint (sent, <, 16 * 1024 * 1024);
  }
  while (got->len < sent && g_get_monotonic_time() < deadline) {
    g_assert_true (collect (fixture->guest, got));
    iterate();
  }
  g_assert_cmpuint (got->len, ==, sent);
  say (fixture->guest, "ok");
  expect (client, "ok");
}

/* The last words of a guest are in the log and reach its consoles. */
static void
test_finish (Fixture *fixture, gconstpointer data)
{
  g_auto (AutoFd) client = connect_client (fixture);
  g_autofree char *path = g_build_filename (fixture->directory, GUEST_FILE_LOG, NULL);
  g_autofree char *log = NULL;
  g_autoptr (GString) seen = g_string_new (NULL);

  iterate();
  say (fixture->guest, "Power down");
  fd_close (&fixture->guest);
  console_finish (fixture->console, 5000);
  g_assert_true (g_file_get_contents (path, &log, NULL, NULL));
  g_assert_cmpstr (log, ==, "Power down");
  g_assert_true (collect (client, seen));
  g_assert_cmpstr (seen->str, ==, "Power down");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/console/several", Fixture, NULL, set_up, test_several, tear_down);
  g_test_add ("/console/stuck-client", Fixture, NULL, set_up, test_stuck_client, tear_down);
  g_test_add ("/console/stuck-guest", Fixture, NULL, set_up, test_stuck_guest, tear_down);
  g_test_add ("/console/finish", Fixture, NULL, set_up, test_finish, tear_down);
  return g_test_run();
}
