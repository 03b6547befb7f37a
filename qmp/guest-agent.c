/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * On the wire: one JSON object a line, each way. 0xff is in no JSON text: sent, it makes the agent
 * drop what it has half read; received, it says that the answer to guest-sync-delimited follows.
 *
 *   connect ─▶ 0xff sync ─▶ … 0xff {"return": id} ─▶ in step ──command──▶ answer ─▶ in step
 *                 ▲                                               │ none in time, or nonsense
 *                 └────────────── before the next command ◀───────┘
 */
#include <vmckpt/qmp/guest-agent.h>

#include <vmckpt/util/error.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/json.h>

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define SYNC_BYTE 0xff
#define MAX_DEPTH 16
#define CHUNK_BYTES 65536
#define POLL_FIRST_MS 20 /* between questions whether a command has ended: doubles up to… */
#define POLL_LAST_MS 500

struct _GuestAgent {
  AutoFd fd;
  GCancellable *cancellable; /* (nullable) */
  GByteArray *input;         /* read and not yet used */
  gboolean in_step;          /* whatever comes next answers what is sent next */
};

G_DEFINE_QUARK (vmckpt - guest - agent - error, guest_agent_error)

static gint64
deadline_in (int timeout_ms)
{
  return g_get_monotonic_time() + (gint64)timeout_ms * 1000;
}

/* Waits for @events on the socket. @cancellable: (nullable). */
static gboolean
wait_for (GuestAgent *agent, short events, gint64 deadline, GCancellable *cancellable,
          GError **error)
{
  GPollFD cancel = { .fd = -1 };
  gboolean cancels = cancellable != NULL && g_cancellable_make_pollfd (cancellable, &cancel);
  struct pollfd fds[] = { { .fd = agent->fd, .events = events },
                          { .fd = cancels ? cancel.fd : -1, .events = POLLIN } };
  int r;

  do {
    gint64 left = (deadline - g_get_monotonic_time() + 999) / 1000;
    r = poll (fds, G_N_ELEMENTS (fds), CLAMP (left, 0, G_MAXINT));
  } while (r < 0 && errno == EINTR);
  if (cancels)
    g_cancellable_release_fd (cancellable);
  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return FALSE;
  if (r > 0)
    return TRUE;
  g_set_error_literal (error, GUEST_AGENT_ERROR, GUEST_AGENT_ERROR_TIMEOUT,
                       "the guest agent does not answer in time");
  return FALSE;
}

static gboolean
send_bytes (GuestAgent *agent, const char *bytes, gsize len, gint64 deadline,
            GCancellable *cancellable, GError **error)
{
  while (len > 0) {
    if (!wait_for (agent, POLLOUT, deadline, cancellable, error))
      return FALSE;
    gssize n = send (agent->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
      continue;
    if (n < 0) {
      g_set_error (error, GUEST_AGENT_ERROR, GUEST_AGENT_ERROR_TIMEOUT,
                   "the guest agent's port is gone: %s", g_strerror (errno));
      return FALSE;
    }
    bytes += n;
    len -= n;
  }
  return TRUE;
}

/* More input. */
static gboolean
receive (GuestAgent *agent, gint64 deadline, GCancellable *cancellable, GError **error)
{
  guint8 chunk[CHUNK_BYTES];
  gssize n;

  do {
    if (!wait_for (agent, POLLIN, deadline, cancellable, error))
      return FALSE;
    n = recv (agent->fd, chunk, sizeof chunk, MSG_DONTWAIT);
  } while (n < 0 && (errno == EINTR || errno == EAGAIN));
  if (n <= 0) {
    g_set_error_literal (error, GUEST_AGENT_ERROR, GUEST_AGENT_ERROR_TIMEOUT,
                         "the guest agent's port was closed, or another client has it");
    return FALSE;
  }
  g_byte_array_append (agent->input, chunk, n);
  return TRUE;
}

/* The next line, without its end. */
static char *
receive_line (GuestAgent *agent, gint64 deadline, GCancellable *cancellable, GError **error)
{
  gsize searched = 0;
  const guint8 *end;

  while ((end = agent->input->len > searched
                    ? memchr (agent->input->data + searched, '\n', agent->input->len - searched)
                    : NULL) == NULL) {
    searched = agent->input->len;
    if (searched > GUEST_AGENT_MAX_LINE) {
      g_set_error (error, GUEST_AGENT_ERROR, GUEST_AGENT_ERROR_PROTOCOL,
                   "the guest agent's answer is longer than %d bytes", GUEST_AGENT_MAX_LINE);
      return NULL;
    }
    if (!receive (agent, deadline, cancellable, error))
      return NULL;
  }
  gsize len = end - agent->input->data;
  char *line = g_strndup ((const char *)agent->input->data, len);
  g_byte_array_remove_range (agent->input, 0, len + 1);
  return line;
}

/* ---- Being in step ---- */

/* Drops input up to the next SYNC_BYTE, and that. */
static gboolean
skip_to_sync_byte (GuestAgent *agent, gint64 deadline, GCancellable *cancellable, GError **error)
{
  const guint8 *found;

  while ((found = agent->input->len > 0 ? memchr (agent->input->data, SYNC_BYTE, agent->input->len)
                                        : NULL) == NULL) {
    g_byte_array_set_size (agent->input, 0);
    if (!receive (agent, deadline, cancellable, error))
      return FALSE;
  }
  g_byte_array_remove_range (agent->input, 0, found - agent->input->data + 1);
  return TRUE;
}

/* TRUE if @line answers the sync with @id; others may be of earlier clients. */
static gboolean
is_sync_answer (const char *line, guint32 id)
{
  g_autoptr (JsonObject) object =
      json_parse_bounded (line, strlen (line), GUEST_AGENT_MAX_LINE, MAX_DEPTH, NULL);
  guint64 value;

  return object != NULL && json_get_uint64 (object, "return", &value, NULL) && value == id;
}

static gboolean
sync_delimited (GuestAgent *agent, gint64 deadline, GCancellable *cancellable, GError **error)
{
  guint32 id = g_random_int();
  g_autofree char *request = g_strdup_printf (
      "\xff{\"execute\":\"guest-sync-delimited\",\"arguments\":{\"id\":%u}}\n", id);

  g_byte_array_set_size (agent->input, 0);
  if (!send_bytes (agent, request, strlen (request), deadline, cancellable, error))
    return FALSE;
  for (;;) {
    g_autofree char *line = NULL;
    if (!skip_to_sync_byte (agent, deadline, cancellable, error) ||
        (line = receive_line (agent, deadline, cancellable, error)) == NULL)
      return FALSE;
    if (is_sync_answer (line, id)) {
      agent->in_step = TRUE;
      return TRUE;
    }
  }
}

GuestAgent *
guest_agent_new_for_fd (int fd, int timeout_ms, GCancellable *cancellable, GError **error)
{
  g_autoptr (GuestAgent) agent = g_new0 (GuestAgent, 1);
  g_autoptr (GError) cause = NULL;

  agent->fd = fd;
  agent->input = g_byte_array_new();
  agent->cancellable = cancellable != NULL ? g_object_ref (cancellable) : NULL;
  if (sync_delimited (agent, deadline_in (timeout_ms), cancellable, &cause))
    return g_steal_pointer (&agent);
  if (g_error_matches (cause, GUEST_AGENT_ERROR, GUEST_AGENT_ERROR_TIMEOUT))
    g_set_error (error, GUEST_AGENT_ERROR, GUEST_AGENT_ERROR_ABSENT,
                 "no guest agent answers within %.1f s: is qemu-ga installed in the guest and "
                 "running, and does no other client hold its port?",
                 timeout_ms / 1000.0);
  else
    g_propagate_error (error, g_steal_pointer (&cause));
  return NULL;
}

GuestAgent *
guest_agent_connect (const char *path, int timeout_ms, GCancellable *cancellable, GError **error)
{
  g_autoptr (GError) cause = NULL;
  int fd = fd_connect_unix_within (path, timeout_ms, &cause);

  if (fd >= 0)
    return guest_agent_new_for_fd (fd, timeout_ms, cancellable, error);
  g_set_error (error, GUEST_AGENT_ERROR, GUEST_AGENT_ERROR_ABSENT,
               "the guest agent's port cannot be reached: %s", cause->message);
  return NULL;
}

void
guest_agent_free (GuestAgent *agent)
{
  if (agent == NULL)
    return;
  fd_close (&agent->fd);
  g_clear_object (&agent->cancellable);
  g_byte_array_unref (agent->input);
  g_free (agent);
}

/* ---- Commands ---- */

/* What an answer holds. */
static JsonNode *
take_answer (const char *line, GError **error)
{
  g_autoptr (JsonObject) object =
      json_parse_bounded (line, strlen (line), GUEST_AGENT_MAX_LINE, MAX_DEPTH, error);

  if (object == NULL) {
    if (error != NULL && *error != NULL) {
      (*error)->domain = GUEST_AGENT_ERROR;
      (*error)->code = GUEST_AGENT_ERROR_PROTOCOL;
      g_prefix_error (error, "the guest agent's answer is not understood: ");
    }
    return NULL;
  }
  if (json_object_has_member (object, "return"))
    return json_node_copy (json_object_get_member (object, "return"));
  JsonObject *refusal = json_get_object (object, "error", NULL);
  if (refusal != NULL)
    g_set_error_literal (error, GUEST_AGENT_ERROR, GUEST_AGENT_ERROR_COMMAND,
                         json_get_string_or (refusal, "desc", "it says no reason"));
  else
    g_set_error_literal (error, GUEST_AGENT_ERROR, GUEST_AGENT_ERROR_PROTOCOL,
                         "the guest agent's answer is neither a result nor an error");
  return NULL;
}

/* @arguments: (transfer full) (nullable). */
static JsonNode *
execute (GuestAgent *agent, const char *command, JsonObject *arguments, gint64 deadline,
         GCancellable *cancellable, GError **error)
{
  ERROR_PREFIX (error, "%s", command);
  g_autoptr (JsonObject) message = json_object_new();
  g_autofree char *line = NULL;
  g_autofree char *text = NULL;

  json_object_set_string_member (message, "execute", command);
  if (arguments != NULL)
    json_object_set_object_member (message, "arguments", arguments);
  text = json_to_line (message);
  g_autofree char *request = g_strconcat (text, "\n", NULL);
  if (!agent->in_step && !sync_delimited (agent, deadline, cancellable, error))
    return NULL;
  agent->in_step = FALSE;
  if (!send_bytes (agent, request, strlen (request), deadline, cancellable, error) ||
      (line = receive_line (agent, deadline, cancellable, error)) == NULL)
    return NULL;
  JsonNode *answer = NULL;
  g_autoptr (GError) cause = NULL;
  answer = take_answer (line, &cause);
  agent->in_step =
      answer != NULL || g_error_matches (cause, GUEST_AGENT_ERROR, GUEST_AGENT_ERROR_COMMAND);
  if (cause != NULL)
    g_propagate_error (error, g_steal_pointer (&cause));
  return answer;
}

/* The same, for an answer of one type; freed with it. */
static JsonNode *
execute_typed (GuestAgent *agent, const char *command, JsonObject *arguments, GType type,
               gint64 deadline, GCancellable *cancellable, GError **error)
{
  g_autoptr (JsonNode) answer = execute (agent, command, arguments, deadline, cancellable, error);
  gboolean right;

  if (answer == NULL)
    return NULL;
  right = type == JSON_TYPE_OBJECT
              ? JSON_NODE_HOLDS_OBJECT (answer)
              : JSON_NODE_HOLDS_VALUE (answer) && json_node_get_value_type (answer) == type;
  if (right)
    return g_steal_pointer (&answer);
  g_set_error (error, GUEST_AGENT_ERROR, GUEST_AGENT_ERROR_PROTOCOL,
               "%s: the guest agent's answer is of another type than it has to be", command);
  return NULL;
}

gboolean
guest_agent_ping (GuestAgent *agent, int timeout_ms, GError **error)
{
  g_autoptr (JsonNode) answer = execute_typed (agent, "guest-ping", NULL, JSON_TYPE_OBJECT,
                                               deadline_in (timeout_ms), agent->cancellable, error);
  return answer != NULL;
}

/* The answer is a number of file systems. */
static gboolean
count_file_systems (GuestAgent *agent, const char *command, int timeout_ms,
                    GCancellable *cancellable, guint *count, GError **error)
{
  g_autoptr (JsonNode) answer = execute_typed (agent, command, NULL, G_TYPE_INT64,
                                               deadline_in (timeout_ms), cancellable, error);

  if (answer == NULL)
    return FALSE;
  if (count != NULL)
    *count = CLAMP (json_node_get_int (answer), 0, G_MAXINT);
  return TRUE;
}

gboolean
guest_agent_freeze (GuestAgent *agent, int timeout_ms, guint *frozen, GError **error)
{
  return count_file_systems (agent, "guest-fsfreeze-freeze", timeout_ms, agent->cancellable, frozen,
                             error);
}

gboolean
guest_agent_thaw (GuestAgent *agent, int timeout_ms, guint *thawed, GError **error)
{
  return count_file_systems (agent, "guest-fsfreeze-thaw", timeout_ms, NULL, thawed, error);
}

gboolean
guest_agent_is_frozen (GuestAgent *agent, int timeout_ms, gboolean *frozen, GError **error)
{
  g_autoptr (JsonNode) answer = execute_typed (agent, "guest-fsfreeze-status", NULL, G_TYPE_STRING,
                                               deadline_in (timeout_ms), agent->cancellable, error);

  if (answer == NULL)
    return FALSE;
  *frozen = g_str_equal (json_node_get_string (answer), "frozen");
  return TRUE;
}

/* ---- Clock and power ---- */

gboolean
guest_agent_get_time (GuestAgent *agent, int timeout_ms, gint64 *us, GError **error)
{
  g_autoptr (JsonNode) answer = execute_typed (agent, "guest-get-time", NULL, G_TYPE_INT64,
                                               deadline_in (timeout_ms), agent->cancellable, error);

  if (answer == NULL)
    return FALSE;
  *us = json_node_get_int (answer) / 1000;
  return TRUE;
}

gboolean
guest_agent_set_time (GuestAgent *agent, int timeout_ms, gint64 us, GError **error)
{
  JsonObject *arguments = json_object_new();

  json_object_set_int_member (arguments, "time", us * 1000);
  g_autoptr (JsonNode) answer = execute_typed (agent, "guest-set-time", arguments, JSON_TYPE_OBJECT,
                                               deadline_in (timeout_ms), agent->cancellable, error);
  return answer != NULL;
}

gboolean
guest_agent_shut_down (GuestAgent *agent, int timeout_ms, GError **error)
{
  g_autoptr (GError) cause = NULL;
  g_autoptr (JsonNode) answer =
      execute (agent, "guest-shutdown", NULL, deadline_in (timeout_ms), agent->cancellable, &cause);

  if (answer != NULL || g_error_matches (cause, GUEST_AGENT_ERROR, GUEST_AGENT_ERROR_TIMEOUT))
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&cause));
  return FALSE;
}

/* ---- Running a command ---- */

void
guest_agent_result_clear (GuestAgentResult *result)
{
  g_clear_pointer (&result->out, g_bytes_unref);
  g_clear_pointer (&result->err, g_bytes_unref);
  *result = (GuestAgentResult){ 0 };
}

static JsonObject *
exec_arguments (const char *const *argv)
{
  JsonObject *arguments = json_object_new();
  JsonArray *words = json_array_new();

  for (guint i = 1; argv[i] != NULL; i++)
    json_array_add_string_element (words, argv[i]);
  json_object_set_string_member (arguments, "path", argv[0]);
  json_object_set_array_member (arguments, "arg", words);
  json_object_set_boolean_member (arguments, "capture-output", TRUE);
  return arguments;
}

/* Output of the command, of which GUEST_AGENT_MAX_OUTPUT bytes are kept. */
static GBytes *
take_output (JsonObject *status, const char *member, const char *truncated,
             GuestAgentResult *result)
{
  gsize len = 0;
  guchar *bytes = g_base64_decode (json_get_string_or (status, member, ""), &len);

  if (len > GUEST_AGENT_MAX_OUTPUT || json_get_bool_or (status, truncated, FALSE))
    result->truncated = TRUE;
  return g_bytes_new_take (bytes, MIN (len, GUEST_AGENT_MAX_OUTPUT));
}

/* TRUE if @status says that the command has ended; @result is then filled in. */
static gboolean
take_status (JsonObject *status, GuestAgentResult *result)
{
  if (!json_get_bool_or (status, "exited", FALSE))
    return FALSE;
  guest_agent_result_clear (result);
  result->exited = !json_object_has_member (status, "signal");
  result->status = MIN (json_get_uint64_or (status, result->exited ? "exitcode" : "signal", 0),
                        (guint64)G_MAXINT);
  result->out = take_output (status, "out-data", "out-truncated", result);
  result->err = take_output (status, "err-data", "err-truncated", result);
  return TRUE;
}

/* Sleeps, but not beyond @deadline. FALSE when that has passed, or the work is cancelled. */
static gboolean
pause_until_next (GuestAgent *agent, int *interval_ms, gint64 deadline, GError **error)
{
  gint64 now = g_get_monotonic_time();

  if (g_cancellable_set_error_if_cancelled (agent->cancellable, error))
    return FALSE;
  if (now >= deadline) {
    g_set_error_literal (error, GUEST_AGENT_ERROR, GUEST_AGENT_ERROR_TIMEOUT,
                         "the command has not ended in time");
    return FALSE;
  }
  g_usleep (MIN (*interval_ms * G_TIME_SPAN_MILLISECOND, deadline - now));
  *interval_ms = MIN (*interval_ms * 2, POLL_LAST_MS);
  return TRUE;
}

gboolean
guest_agent_run (GuestAgent *agent, const char *const *argv, int timeout_ms,
                 GuestAgentResult *result, GError **error)
{
  ERROR_PREFIX (error, "running '%s' in the guest", argv[0]);
  gint64 deadline = deadline_in (timeout_ms);
  int interval_ms = POLL_FIRST_MS;
  guint64 pid;
  g_autoptr (JsonNode) started =
      execute_typed (agent, "guest-exec", exec_arguments (argv), JSON_TYPE_OBJECT, deadline,
                     agent->cancellable, error);

  *result = (GuestAgentResult){ 0 };
  if (started == NULL)
    return FALSE;
  if (!json_get_uint64 (json_node_get_object (started), "pid", &pid, NULL)) {
    g_set_error_literal (error, GUEST_AGENT_ERROR, GUEST_AGENT_ERROR_PROTOCOL,
                         "the guest agent names no process");
    return FALSE;
  }
  for (;;) {
    JsonObject *arguments = json_object_new();
    json_object_set_int_member (arguments, "pid", pid);
    g_autoptr (JsonNode) status =
        execute_typed (agent, "guest-exec-status", arguments, JSON_TYPE_OBJECT, deadline,
                       agent->cancellable, error);
    if (status == NULL)
      return FALSE;
    if (take_status (json_node_get_object (status), result))
      return TRUE;
    if (!pause_until_next (agent, &interval_ms, deadline, error))
      return FALSE;
  }
}
