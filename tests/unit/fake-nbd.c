/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The protocol is described in https://github.com/NetworkBlockDevice/nbd, doc/proto.md. */
#include "fake-nbd.h"

#include <vmckpt/util/fd.h>

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define OPTION_REPLY 0x3e889045565a9
#define REQUEST 0x25609513
#define REPLY 0x668e33ef
#define CONTEXT_ID 1
#define CONNECTIONS_MAX 8
#define PAYLOAD_MAX ((1 << 20) + 64)

enum { OPT_GO = 7, OPT_STRUCTURED = 8, OPT_SET_CONTEXT = 10 };
enum { REP_ACK = 1, REP_INFO = 3, REP_CONTEXT = 4 };
#define REP_UNSUPPORTED 0x80000001
enum { CMD_READ = 0, CMD_DISCONNECT = 2, CMD_STATUS = 7 };
enum { CHUNK_DATA = 1, CHUNK_STATUS = 5, CHUNK_ERROR = 32769 };

struct _FakeNbd {
  FakeNbdFault fault;
  char *dir, *socket;
  int listener;
  GThread *acceptor;
  GMutex lock;
  GCond changed;
  gboolean read_seen;
  int sockets[CONNECTIONS_MAX]; /* (lock) */
  guint count;                  /* (lock) */
};

typedef struct {
  FakeNbd *fake;
  int socket;
  GByteArray *out;
} Connection;

/* ---- Bytes ---- */

static void
put (Connection *connection, const void *data, gsize len)
{
  g_byte_array_append (connection->out, data, (guint)len);
}

static void
put16 (Connection *connection, guint16 value)
{
  put (connection, (guint16[]){ GUINT16_TO_BE (value) }, 2);
}

static void
put32 (Connection *connection, guint32 value)
{
  put (connection, (guint32[]){ GUINT32_TO_BE (value) }, 4);
}

static void
put64 (Connection *connection, guint64 value)
{
  put (connection, (guint64[]){ GUINT64_TO_BE (value) }, 8);
}

/* Sends what was put. */
static gboolean
flush (Connection *connection)
{
  gboolean sent = send (connection->socket, connection->out->data, connection->out->len,
                        MSG_NOSIGNAL) == (gssize)connection->out->len;
  g_byte_array_set_size (connection->out, 0);
  return sent;
}

static gboolean
get (Connection *connection, void *data, gsize len)
{
  return fd_read_full (connection->socket, data, len, NULL) == (gssize)len;
}

static guint32
get32 (const guint8 *bytes)
{
  guint32 value;
  memcpy (&value, bytes, 4);
  return GUINT32_FROM_BE (value);
}

/* ---- Negotiation ---- */

static void
put_option_reply (Connection *connection, guint32 option, guint32 type, guint32 len)
{
  put64 (connection, OPTION_REPLY);
  put32 (connection, option);
  put32 (connection, type);
  put32 (connection, len);
}

/* The one context that was asked for is known. */
static void
put_context (Connection *connection, const guint8 *data)
{
  const guint8 *query = data + 4 + get32 (data) + 4;
  guint32 len = get32 (query);

  put_option_reply (connection, OPT_SET_CONTEXT, REP_CONTEXT, 4 + len);
  put32 (connection, CONTEXT_ID);
  put (connection, query + 4, len);
  put_option_reply (connection, OPT_SET_CONTEXT, REP_ACK, 0);
}

static void
put_export (Connection *connection)
{
  put_option_reply (connection, OPT_GO, REP_INFO, 12);
  put16 (connection, 0);
  put64 (connection, FAKE_NBD_BYTES + (connection->fake->fault == FAKE_NBD_LARGER ? 4096 : 0));
  put16 (connection, 1);
  put_option_reply (connection, OPT_GO, REP_ACK, 0);
}

/* TRUE when transmission begins. */
static gboolean
negotiate (Connection *connection)
{
  guint8 head[16], data[1024];

  put (connection, "NBDMAGICIHAVEOPT", 16);
  put16 (connection, 3);
  if (!flush (connection) || !get (connection, head, 4))
    return FALSE;
  while (get (connection, head, sizeof head)) {
    guint32 option = get32 (head + 8), len = get32 (head + 12);
    if (len > sizeof data || !get (connection, data, len))
      return FALSE;
    if (option == OPT_STRUCTURED)
      put_option_reply (connection, option, REP_ACK, 0);
    else if (option == OPT_SET_CONTEXT)
      put_context (connection, data);
    else if (option == OPT_GO)
      put_export (connection);
    else
      put_option_reply (connection, option, REP_UNSUPPORTED, 0);
    if (!flush (connection))
      return FALSE;
    if (option == OPT_GO)
      return TRUE;
  }
  return FALSE;
}

/* ---- Transmission ---- */

static void
put_chunk (Connection *connection, guint16 type, const guint8 *cookie, guint32 len)
{
  put32 (connection, REPLY);
  put16 (connection, 1);
  put16 (connection, type);
  put (connection, cookie, 8);
  put32 (connection, len);
}

static void
put_data (Connection *connection, const guint8 *cookie, guint64 offset, guint32 len)
{
  g_autofree guint8 *data = g_malloc (len);

  memset (data, FAKE_NBD_BYTE, len);
  put_chunk (connection, CHUNK_DATA, cookie, 8 + len);
  put64 (connection, offset);
  put (connection, data, len);
}

/* FALSE: the connection is to be closed. */
static gboolean
answer_read (Connection *connection, const guint8 *cookie, guint64 offset, guint32 len)
{
  FakeNbd *fake = connection->fake;

  g_mutex_lock (&fake->lock);
  fake->read_seen = TRUE;
  g_cond_broadcast (&fake->changed);
  g_mutex_unlock (&fake->lock);
  switch (fake->fault) {
  case FAKE_NBD_HANG:
    return TRUE;
  case FAKE_NBD_DIE:
    return FALSE;
  case FAKE_NBD_GARBAGE:
    put (connection, "what a wonderful world of nothing", 33);
    break;
  case FAKE_NBD_DENY:
    put_chunk (connection, CHUNK_ERROR, cookie, 6);
    put32 (connection, EINVAL);
    put16 (connection, 0);
    break;
  case FAKE_NBD_HALF:
    put_data (connection, cookie, offset, len / 2);
    break;
  case FAKE_NBD_ELSEWHERE:
    put_data (connection, cookie, offset + 65536, len);
    break;
  default:
    put_data (connection, cookie, offset, len);
  }
  return flush (connection);
}

static gboolean
answer_status (Connection *connection, const guint8 *cookie, guint32 len)
{
  FakeNbdFault fault = connection->fake->fault;

  put_chunk (connection, CHUNK_STATUS, cookie, 12);
  put32 (connection, CONTEXT_ID);
  put32 (connection, fault == FAKE_NBD_NO_LENGTH     ? 0
                     : fault == FAKE_NBD_LONG_EXTENT ? G_MAXUINT32 - 4095
                                                     : len);
  put32 (connection, 0);
  return flush (connection);
}

static gpointer
serve (gpointer data)
{
  Connection *connection = data;
  guint8 request[28];

  if (connection->fake->fault == FAKE_NBD_SILENT)
    get (connection, request, 1);
  else if (negotiate (connection)) {
    gboolean going_on = TRUE;
    while (going_on && get (connection, request, sizeof request)) {
      guint16 type = request[6] << 8 | request[7];
      guint64 offset = (guint64)get32 (request + 16) << 32 | get32 (request + 20);
      if (type == CMD_READ)
        going_on = answer_read (connection, request + 8, offset, get32 (request + 24));
      else if (type == CMD_STATUS)
        going_on = answer_status (connection, request + 8, get32 (request + 24));
      else
        going_on = FALSE;
    }
  }
  shutdown (connection->socket, SHUT_RDWR);
  g_byte_array_unref (connection->out);
  g_free (connection);
  return NULL;
}

/* ---- Threads ---- */

static gpointer
accept_all (gpointer data)
{
  FakeNbd *fake = data;
  GThread *threads[CONNECTIONS_MAX];
  guint count = 0;
  int socket;

  while (count < CONNECTIONS_MAX && (socket = accept (fake->listener, NULL, NULL)) >= 0) {
    Connection *connection = g_new0 (Connection, 1);
    *connection = (Connection){ fake, socket, g_byte_array_new() };
    g_mutex_lock (&fake->lock);
    fake->sockets[fake->count++] = socket;
    g_mutex_unlock (&fake->lock);
    threads[count++] = g_thread_new ("fake-nbd", serve, connection);
  }
  for (guint i = 0; i < count; i++)
    g_thread_join (threads[i]);
  return NULL;
}

FakeNbd *
fake_nbd_start (FakeNbdFault fault)
{
  g_autoptr (GError) error = NULL;
  FakeNbd *fake = g_new0 (FakeNbd, 1);

  fake->fault = fault;
  g_mutex_init (&fake->lock);
  g_cond_init (&fake->changed);
  fake->dir = g_dir_make_tmp ("vmckpt-test-XXXXXX", &error);
  g_assert_no_error (error);
  fake->socket = g_build_filename (fake->dir, "nbd", NULL);
  fake->listener = fd_listen_unix (fake->socket, &error);
  g_assert_no_error (error);
  fake->acceptor = g_thread_new ("fake-nbd-accept", accept_all, fake);
  return fake;
}

void
fake_nbd_end (FakeNbd *fake)
{
  shutdown (fake->listener, SHUT_RDWR); /* ends accept() */
  g_mutex_lock (&fake->lock);
  for (guint i = 0; i < fake->count; i++)
    shutdown (fake->sockets[i], SHUT_RDWR);
  g_mutex_unlock (&fake->lock);
  g_thread_join (fake->acceptor);
  for (guint i = 0; i < fake->count; i++)
    close (fake->sockets[i]);
  close (fake->listener);
  g_unlink (fake->socket);
  g_rmdir (fake->dir);
  g_mutex_clear (&fake->lock);
  g_cond_clear (&fake->changed);
  g_free (fake->dir);
  g_free (fake->socket);
  g_free (fake);
}

const char *
fake_nbd_socket (const FakeNbd *fake)
{
  return fake->socket;
}

void
fake_nbd_wait_read (FakeNbd *fake)
{
  g_mutex_lock (&fake->lock);
  while (!fake->read_seen)
    g_cond_wait (&fake->changed, &fake->lock);
  g_mutex_unlock (&fake->lock);
}
