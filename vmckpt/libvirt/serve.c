/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "serve.h"

#include "line-input.h"
#include "work.h"

#include <vmckpt/util/json.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WORKERS_MAX 64
#define FINISH_S 10 /* for what is under way when the asker is gone */

typedef struct {
  Host *host;
  int output;
  GMutex output_lock;
  GThreadPool *pool;
  LineInput input;

  GMutex lock; /* guards what follows */
  GCond idle;
  GHashTable *works; /* Work, not owned: under way */
} Server;

static void
say (JsonObject *line, gpointer user_data)
{
  Server *server = user_data;
  g_autofree char *text = json_to_line (line);
  g_autofree char *whole = g_strconcat (text, "\n", NULL);

  g_mutex_lock (&server->output_lock);
  /* Whoever does not listen is gone, which the input's end tells. */
  fd_write_full (server->output, whole, strlen (whole), NULL);
  g_mutex_unlock (&server->output_lock);
}

static void
run_in_pool (gpointer data, gpointer user_data)
{
  Server *server = user_data;
  Work *work = data;

  work_run (work);
  g_mutex_lock (&server->lock);
  g_hash_table_remove (server->works, work);
  g_cond_broadcast (&server->idle);
  g_mutex_unlock (&server->lock);
  work_free (work);
}

/* Cancels the request of that id, or all. */
static void
cancel (Server *server, gboolean all, guint64 id)
{
  g_autoptr (GPtrArray) chosen = g_ptr_array_new_with_free_func (g_object_unref);
  GHashTableIter iter;
  gpointer work;

  g_mutex_lock (&server->lock);
  g_hash_table_iter_init (&iter, server->works);
  while (g_hash_table_iter_next (&iter, &work, NULL))
    if (all || ((Work *)work)->request->id == id)
      g_ptr_array_add (chosen, g_object_ref (((Work *)work)->cancellable));
  g_mutex_unlock (&server->lock);
  for (guint i = 0; i < chosen->len; i++)
    g_cancellable_cancel (g_ptr_array_index (chosen, i));
}

static gboolean
begin (Server *server, const char *line, gsize len, GError **error)
{
  g_autoptr (Request) request = request_parse (line, len, error);

  if (request == NULL)
    return FALSE;
  if (g_str_equal (request->name, "cancel")) {
    cancel (server, FALSE, json_get_uint64_or (request->members, "of", 0));
    return TRUE;
  }
  Work *work = g_new0 (Work, 1);
  work->host = server->host;
  work->fd = request->fd ? line_input_take_fd (&server->input) : -1;
  work->request = g_steal_pointer (&request);
  work->say = say;
  work->user_data = server;
  work->cancellable = g_cancellable_new();
  g_mutex_lock (&server->lock);
  g_hash_table_add (server->works, work);
  g_mutex_unlock (&server->lock);
  g_thread_pool_push (server->pool, work, NULL);
  return TRUE;
}

/* Requests until the input ends (TRUE) or makes no sense. */
static gboolean
read_requests (Server *server, GError **error)
{
  g_autoptr (GError) cause = NULL;
  gboolean fine = TRUE;
  gsize len;
  char *line;

  while (fine && (line = line_input_next (&server->input, &len, &cause)) != NULL) {
    fine = begin (server, line, len, &cause);
    g_free (line);
  }
  if (cause == NULL)
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&cause));
  return FALSE;
}

static void
finish (Server *server)
{
  gint64 deadline_us = g_get_monotonic_time() + FINISH_S * G_USEC_PER_SEC;

  cancel (server, TRUE, 0);
  g_mutex_lock (&server->lock);
  while (g_hash_table_size (server->works) > 0 &&
         g_cond_wait_until (&server->idle, &server->lock, deadline_us))
    ;
  g_mutex_unlock (&server->lock);
}

int
serve (Host *host, int input, int output)
{
  Server server = { .host = host, .output = output };
  g_autoptr (GError) error = NULL;

  g_mutex_init (&server.output_lock);
  g_mutex_init (&server.lock);
  g_cond_init (&server.idle);
  server.works = g_hash_table_new (NULL, NULL);
  line_input_init (&server.input, input, LIBVIRT_LINE_MAX);
  server.pool = g_thread_pool_new (run_in_pool, &server, WORKERS_MAX, FALSE, NULL);
  gboolean ended = read_requests (&server, &error);
  if (!ended)
    fprintf (stderr, "vmckpt-libvirt: %s\n", error->message);
  finish (&server);
  /* Threads that libvirt still blocks go with the process. */
  _exit (ended ? 0 : 1);
}
