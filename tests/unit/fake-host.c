/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake-host.h"

#include <vmckpt/util/fd.h>

#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct _FakeHost {
  char *directory, *socket, *name;
  FakeHostFunc func;
  gpointer data;
  AutoFd listener;
  GThread *thread;
  guint requests; /* atomic */
  GMutex lock;
  int connection; /* (lock): -1: none */
  gboolean ended; /* (lock) */
};

/* Where a request's head ends, and how long it is with its body; 0 while it is not whole. */
static gsize
measure (const GString *input, const char **body)
{
  const char *end = strstr (input->str, "\r\n\r\n");
  const char *length = end != NULL ? strcasestr (input->str, "\r\nContent-Length:") : NULL;
  gsize whole;

  if (end == NULL)
    return 0;
  *body = end + 4;
  whole = (gsize)(*body - input->str);
  if (length != NULL && length < end)
    whole += strtoul (length + strlen ("\r\nContent-Length:"), NULL, 10);
  return input->len >= whole ? whole : 0;
}

/* One request; FALSE when the client has gone, or is to go. */
static gboolean
serve_one (FakeHost *host, GString *input)
{
  char chunk[4096];
  const char *text;
  gsize whole;

  while ((whole = measure (input, &text)) == 0) {
    gssize n = recv (host->connection, chunk, sizeof chunk, 0);
    if (n <= 0)
      return FALSE;
    g_string_append_len (input, chunk, n);
  }
  const char *version = strstr (input->str, " HTTP/");
  g_autofree char *request = g_strndup (input->str, (gsize)(version - input->str));
  g_autofree char *body = g_strndup (text, whole - (gsize)(text - input->str));
  g_string_erase (input, 0, (gssize)whole);
  g_atomic_int_inc (&host->requests);
  return host->func (host, request, body, host->data);
}

/* FALSE at the end. */
static gboolean
set_connection (FakeHost *host, int connection)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&host->lock);

  if (connection < 0)
    close (host->connection);
  host->connection = connection;
  if (host->ended && connection >= 0)
    shutdown (connection, SHUT_RDWR);
  return !host->ended;
}

static gpointer
run (gpointer data)
{
  FakeHost *host = data;
  gboolean goes_on = TRUE;

  while (goes_on) {
    g_autoptr (GString) input = g_string_new (NULL);
    int connection = accept4 (host->listener, NULL, NULL, SOCK_CLOEXEC);
    if (connection < 0)
      return NULL;
    set_connection (host, connection);
    while (serve_one (host, input))
      ;
    goes_on = set_connection (host, -1);
  }
  return NULL;
}

FakeHost *
fake_host_start (FakeHostFunc func, gpointer data)
{
  FakeHost *host = g_new0 (FakeHost, 1);
  g_autoptr (GError) error = NULL;

  host->directory = g_dir_make_tmp ("vmckpt-XXXXXX", NULL);
  host->socket = g_build_filename (host->directory, "api.sock", NULL);
  host->name = g_strconcat ("unix:", host->socket, NULL);
  host->listener = fd_listen_unix (host->socket, &error);
  g_assert_no_error (error);
  host->func = func;
  host->data = data;
  host->connection = -1;
  g_mutex_init (&host->lock);
  host->thread = g_thread_new ("fake-host", run, host);
  return host;
}

void
fake_host_end (FakeHost *host)
{
  g_mutex_lock (&host->lock);
  host->ended = TRUE;
  shutdown (host->listener, SHUT_RDWR);
  if (host->connection >= 0)
    shutdown (host->connection, SHUT_RDWR);
  g_mutex_unlock (&host->lock);
  g_thread_join (host->thread);
  fd_close (&host->listener);
  g_unlink (host->socket);
  g_rmdir (host->directory);
  g_mutex_clear (&host->lock);
  g_free (host->directory);
  g_free (host->socket);
  g_free (host->name);
  g_free (host);
}

const char *
fake_host_name (const FakeHost *host)
{
  return host->name;
}

guint
fake_host_requests (FakeHost *host)
{
  return g_atomic_int_get (&host->requests);
}

gboolean
fake_host_send (FakeHost *host, const char *text)
{
  return fd_send (host->connection, text, strlen (text), -1, NULL);
}

void
fake_host_answer (FakeHost *host, guint status, const char *type, const char *body)
{
  g_autofree char *text = g_strdup_printf (
      "HTTP/1.1 %u Whatever\r\nContent-Type: %s\r\nContent-Length: %" G_GSIZE_FORMAT
      "\r\nConnection: close\r\n\r\n%s",
      status, type, strlen (body), body);
  fake_host_send (host, text);
}

void
fake_host_begin_lines (FakeHost *host)
{
  fake_host_send (host, "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
                        "Connection: close\r\n\r\n");
}

void
fake_host_wait_closed (FakeHost *host)
{
  char byte;

  while (recv (host->connection, &byte, 1, 0) > 0)
    ;
}
