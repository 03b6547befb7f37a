/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bridge-client.h"

#include "line-input.h"

#include <vmckpt/util/json.h>

#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#define LINE_MAX_BYTES (16u << 20) /* as QMP's clients have it */
#define JSON_DEPTH 64
#define QUEUE_MAX 4096 /* lines that a client has not read */
#define SEND_TIMEOUT_S 30

struct _BridgeClients {
  GMutex lock;      /* guards what follows */
  GPtrArray *array; /* of Client, not owned: who gets events */
  GHashTable *fds;  /* name → Client that passed it to QEMU, not owned */
};

typedef struct {
  BridgeClients *clients;
  Monitor *monitor;
  int socket;
  GAsyncQueue *output; /* of char *: lines; "" ends the writer */
  gboolean negotiated;
} Client;

BridgeClients *
bridge_clients_new (void)
{
  BridgeClients *clients = g_new0 (BridgeClients, 1);

  g_mutex_init (&clients->lock);
  clients->array = g_ptr_array_new();
  clients->fds = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  return clients;
}

/* ---- Output ---- */

static void
send_object (Client *client, JsonObject *object)
{
  g_autofree char *text = json_to_line (object);

  /* One that does not read for so long is not going to. */
  if (g_async_queue_length (client->output) > QUEUE_MAX)
    shutdown (client->socket, SHUT_RDWR);
  else
    g_async_queue_push (client->output, g_strconcat (text, "\r\n", NULL));
}

static gpointer
write_lines (gpointer data)
{
  Client *client = data;

  for (gboolean writes = TRUE;;) {
    g_autofree char *line = g_async_queue_pop (client->output);
    if (*line == '\0')
      return NULL;
    if (writes && !fd_write_full (client->socket, line, strlen (line), NULL)) {
      shutdown (client->socket, SHUT_RDWR);
      writes = FALSE;
    }
  }
}

void
bridge_clients_event (JsonObject *event, gpointer user_data)
{
  BridgeClients *clients = user_data;
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&clients->lock);

  for (guint i = 0; i < clients->array->len; i++)
    send_object (g_ptr_array_index (clients->array, i), event);
}

/* ---- Answers ---- */

static JsonObject *
make_failure (const char *class_name, const char *text)
{
  JsonObject *answer = json_object_new();
  JsonObject *error = json_object_new();

  json_object_set_string_member (error, "class", class_name);
  json_object_set_string_member (error, "desc", text);
  json_object_set_object_member (answer, "error", error);
  return answer;
}

static JsonObject *
make_success (void)
{
  JsonObject *answer = json_object_new();

  json_object_set_object_member (answer, "return", json_object_new());
  return answer;
}

/* ---- Descriptors that QEMU keeps until they are used ---- */

static const char *
fd_name (JsonObject *command)
{
  JsonObject *arguments = json_get_object (command, "arguments", NULL);

  return arguments != NULL ? json_get_string_or (arguments, "fdname", NULL) : NULL;
}

static void
note_fd (Client *client, const char *execute, JsonObject *command)
{
  const char *name = fd_name (command);
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&client->clients->lock);

  if (name != NULL && g_str_equal (execute, "getfd"))
    g_hash_table_insert (client->clients->fds, g_strdup (name), client);
  else if (name != NULL && g_str_equal (execute, "closefd"))
    g_hash_table_remove (client->clients->fds, name);
}

/* A monitor of QEMU's own that is closed forgets what it was passed; libvirt's stays open. What
 * QEMU has used since is there no more, which is as well. */
static void
close_left_fds (Client *client)
{
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);
  GHashTableIter iter;
  gpointer name, owner;

  g_mutex_lock (&client->clients->lock);
  g_hash_table_iter_init (&iter, client->clients->fds);
  while (g_hash_table_iter_next (&iter, &name, &owner))
    if (owner == client) {
      g_ptr_array_add (names, g_strdup (name));
      g_hash_table_iter_remove (&iter);
    }
  g_mutex_unlock (&client->clients->lock);
  for (guint i = 0; i < names->len; i++) {
    g_autoptr (JsonObject) command = json_object_new();
    JsonObject *arguments = json_object_new();
    json_object_set_string_member (command, "execute", "closefd");
    json_object_set_object_member (command, "arguments", arguments);
    json_object_set_string_member (arguments, "fdname", g_ptr_array_index (names, i));
    g_autofree char *line = json_to_line (command);
    g_autoptr (JsonObject) answer = monitor_execute (client->monitor, line, -1, NULL);
  }
}

/* ---- Commands ---- */

static JsonObject *
pass_on (Client *client, const char *execute, JsonObject *command, int fd)
{
  g_autoptr (JsonObject) passed = json_object_new();
  g_autoptr (GError) error = NULL;
  JsonObject *answer;

  json_object_set_string_member (passed, "execute", execute);
  if (json_object_has_member (command, "arguments"))
    json_object_set_member (passed, "arguments", json_object_dup_member (command, "arguments"));
  g_autofree char *line = json_to_line (passed);
  answer = monitor_execute (client->monitor, line, fd, &error);
  if (answer == NULL)
    return make_failure ("GenericError", error->message);
  if (json_object_has_member (answer, "return"))
    note_fd (client, execute, command);
  return answer;
}

static void
begin_events (Client *client)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&client->clients->lock);

  client->negotiated = TRUE;
  g_ptr_array_add (client->clients->array, client);
}

static JsonObject *
carry_out (Client *client, JsonObject *command, int fd)
{
  const char *execute = json_get_string_or (command, "execute", NULL);

  if (execute == NULL && json_object_has_member (command, "exec-oob"))
    return make_failure ("GenericError", "out-of-band commands were not offered");
  if (execute == NULL)
    return make_failure ("GenericError", "QMP input lacks member 'execute'");
  if (g_str_equal (execute, "qmp_capabilities") && !client->negotiated) {
    begin_events (client);
    return make_success();
  }
  if (!client->negotiated)
    return make_failure ("CommandNotFound",
                         "Expecting capabilities negotiation with 'qmp_capabilities'");
  if (g_str_equal (execute, "qmp_capabilities"))
    return make_failure ("CommandNotFound", "Capabilities negotiation is already complete");
  return pass_on (client, execute, command, fd);
}

static void
answer_line (Client *client, const char *line, gsize len, LineInput *input)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) command =
      json_parse_bounded (line, len, LINE_MAX_BYTES, JSON_DEPTH, &error);
  g_autoptr (JsonObject) answer = NULL;
  g_auto (AutoFd) fd = line_input_take_fd (input);

  if (command == NULL)
    answer = make_failure ("GenericError", error->message);
  else
    answer = carry_out (client, command, fd);
  json_object_remove_member (answer, "id"); /* libvirt's */
  if (command != NULL && json_object_has_member (command, "id"))
    json_object_set_member (answer, "id", json_object_dup_member (command, "id"));
  send_object (client, answer);
}

static gboolean
greet (Client *client)
{
  g_autoptr (JsonObject) answer =
      monitor_execute (client->monitor, "{\"execute\":\"query-version\"}", -1, NULL);
  JsonObject *version = answer != NULL ? json_get_object (answer, "return", NULL) : NULL;
  g_autoptr (JsonObject) greeting = json_object_new();
  JsonObject *qmp = json_object_new();

  json_object_set_object_member (greeting, "QMP", qmp);
  if (version != NULL)
    json_object_set_object_member (qmp, "version", json_object_ref (version));
  json_object_set_array_member (qmp, "capabilities", json_array_new());
  if (version != NULL)
    send_object (client, greeting);
  return version != NULL;
}

void
bridge_client_serve (BridgeClients *clients, Monitor *monitor, int socket)
{
  const struct timeval timeout = { .tv_sec = SEND_TIMEOUT_S };
  Client client = { clients, monitor, socket, g_async_queue_new_full (g_free), FALSE };
  GThread *writer = g_thread_new ("qmp-writer", write_lines, &client);
  g_auto (LineInput) input = { 0 };
  gsize len;
  char *line;

  setsockopt (socket, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
  line_input_init (&input, socket, LINE_MAX_BYTES);
  if (greet (&client))
    while ((line = line_input_next (&input, &len, NULL)) != NULL) {
      answer_line (&client, line, len, &input);
      g_free (line);
    }
  g_mutex_lock (&clients->lock);
  g_ptr_array_remove (clients->array, &client);
  g_mutex_unlock (&clients->lock);
  close_left_fds (&client);
  g_async_queue_push (client.output, g_strdup (""));
  g_thread_join (writer);
  g_async_queue_unref (client.output);
  fd_close (&client.socket);
}
