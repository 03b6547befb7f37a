/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake-peer.h"

#include <errno.h>
#include <semaphore.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

struct _FakePeer {
  AutoFd fd;
  AutoFd passed;
  GThread *thread;
  FakeScript script;
  gpointer data;
  GString *input;
  /* A semaphore, because the thread sanitizer knows POSIX's and not GLib's. */
  sem_t steps;
};

static gpointer
run_script (gpointer data)
{
  FakePeer *peer = data;

  peer->script (peer, peer->data);
  fd_close (&peer->fd);
  return NULL;
}

FakePeer *
fake_peer_start (FakeScript script, gpointer data, int *client_fd)
{
  FakePeer *peer = g_new0 (FakePeer, 1);
  struct timeval limit = { .tv_sec = 30 };
  int fds[2];

  g_assert_no_errno (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
  g_assert_no_errno (setsockopt (fds[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
  *client_fd = fds[1];
  peer->fd = fds[0];
  peer->passed = -1;
  peer->script = script;
  peer->data = data;
  peer->input = g_string_new (NULL);
  g_assert_no_errno (sem_init (&peer->steps, 0, 0));
  peer->thread = g_thread_new ("peer", run_script, peer);
  return peer;
}

void
fake_peer_join (FakePeer *peer)
{
  g_thread_join (peer->thread);
  fd_close (&peer->fd);
  fd_close (&peer->passed);
  g_string_free (peer->input, TRUE);
  sem_destroy (&peer->steps);
  g_free (peer);
}

void
fake_peer_send_bytes (FakePeer *peer, const void *data, gsize len)
{
  /* The client may have hung up: then there is nobody to tell. */
  fd_send (peer->fd, data, len, -1, NULL);
}

void
fake_peer_send (FakePeer *peer, const char *text)
{
  fake_peer_send_bytes (peer, text, strlen (text));
}

JsonObject *
fake_peer_read (FakePeer *peer)
{
  char chunk[65536];
  gsize searched = 0;
  char *end;

  while ((end = strchr (peer->input->str + searched, '\n')) == NULL) {
    searched = peer->input->len;
    g_auto (AutoFd) passed = -1;
    g_autoptr (GError) error = NULL;
    gssize n = fd_receive (peer->fd, chunk, sizeof chunk, &passed, &error);
    if (n < 0 && g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CONNECTION_CLOSED))
      n = 0;
    g_assert_cmpint (n, >=, 0);
    if (n == 0)
      return NULL;
    /* A descriptor is sent once, with the first byte of its command. */
    g_assert_true (passed < 0 || peer->passed < 0);
    if (passed >= 0)
      peer->passed = fd_steal (&passed);
    g_string_append_len (peer->input, chunk, n);
  }
  g_autoptr (JsonParser) parser = json_parser_new();
  g_autoptr (GError) error = NULL;
  /* A guest agent's client makes its peer forget what it has half read. */
  const char *line = peer->input->str + (peer->input->str[0] == '\xff' ? 1 : 0);
  json_parser_load_from_data (parser, line, end - line, &error);
  g_assert_no_error (error);
  g_string_erase (peer->input, 0, end + 1 - peer->input->str);
  return json_object_ref (json_node_get_object (json_parser_get_root (parser)));
}

gint64
fake_peer_expect (FakePeer *peer, const char *command)
{
  g_autoptr (JsonObject) message = fake_peer_read (peer);

  g_assert_nonnull (message);
  g_assert_cmpstr (json_object_get_string_member (message, "execute"), ==, command);
  return json_object_get_int_member (message, "id");
}

void
fake_peer_answer (FakePeer *peer, gint64 id, const char *value)
{
  g_autofree char *line =
      g_strdup_printf ("{\"return\": %s, \"id\": %" G_GINT64_FORMAT "}\r\n", value, id);
  fake_peer_send (peer, line);
}

void
fake_peer_greet (FakePeer *peer, gboolean oob)
{
  fake_peer_send (peer,
                  oob ? "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 3, \"minor\": 2, "
                        "\"major\": 1}, \"package\": \"p\"}, \"capabilities\": [\"oob\"]}}\r\n"
                      : "{\"QMP\": {}}\n");
  fake_peer_answer (peer, fake_peer_expect (peer, "qmp_capabilities"), "{}");
}

void
fake_peer_wait_closed (FakePeer *peer)
{
  for (;;) {
    g_autoptr (JsonObject) message = fake_peer_read (peer);
    if (message == NULL)
      break;
  }
}

int
fake_peer_take_fd (FakePeer *peer)
{
  return fd_steal (&peer->passed);
}

void
fake_peer_signal (FakePeer *peer)
{
  sem_post (&peer->steps);
}

void
fake_peer_wait_signal (FakePeer *peer)
{
  struct timespec limit;

  g_assert_no_errno (clock_gettime (CLOCK_REALTIME, &limit));
  limit.tv_sec += 30;
  while (sem_timedwait (&peer->steps, &limit) < 0)
    g_assert_cmpint (errno, ==, EINTR);
}
