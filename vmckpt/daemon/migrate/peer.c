/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "peer.h"

#include "api-error.h"
#include "peer-tls.h"

#include <gio/gunixsocketaddress.h>
#include <libsoup/soup.h>
#include <string.h>
#include <sys/un.h>
#include <vmckpt/util/json.h>
#include <vmckpt/util/line-splitter.h>
#include <vmckpt/util/operation.h>

#define MAX_DEPTH 32
#define READ_SIZE (64 * 1024)
#define MAX_HOST 1024
#define NDJSON "application/x-ndjson"

struct _Peer {
  char *host;    /* as named */
  char *address; /* (nullable): of a host on a network */
  char *base;    /* "https://ADDRESS:PORT" */
  GMainContext *context;
  SoupSession *session;
  PeerTls *tls; /* (nullable) */
};

GQuark
peer_error_quark (void)
{
  return g_quark_from_static_string ("vmckpt-peer-error");
}

/* ---- Who it is ---- */

/* A socket of this machine, or NULL if @host names none. */
static char *
local_socket (const char *host)
{
  if (g_str_has_prefix (host, "unix:"))
    return g_strdup (host + strlen ("unix:"));
  return g_path_is_absolute (host) ? g_build_filename (host, "api.sock", NULL) : NULL;
}

static gboolean
set_local (Peer *peer, const char *socket, GError **error)
{
  if (!g_path_is_absolute (socket) ||
      strlen (socket) >= sizeof ((struct sockaddr_un *)NULL)->sun_path) {
    g_set_error (error, API_ERROR, API_USAGE,
                 "host %s: an absolute path, short enough for a socket, is wanted", peer->host);
    return FALSE;
  }
  g_autoptr (GSocketAddress) address = g_unix_socket_address_new (socket);
  peer->base = g_strdup ("http://localhost");
  peer->session = soup_session_new_with_options ("remote-connectable", address, NULL);
  return TRUE;
}

static gboolean
set_remote (Peer *peer, const char *tls, GError **error)
{
  g_autoptr (GError) cause = NULL;
  g_autoptr (GSocketConnectable) address = g_network_address_parse (peer->host, PEER_PORT, &cause);

  if (address == NULL || strpbrk (peer->host, "/@?# ") != NULL) {
    g_set_error (
        error, API_ERROR, API_USAGE,
        "host %s: HOST[:PORT], unix:SOCKET or the path of a runtime directory is wanted%s%s",
        peer->host, cause != NULL ? ": " : "", cause != NULL ? cause->message : "");
    return FALSE;
  }
  if (tls == NULL) {
    g_set_error (error, API_ERROR, API_NOT_POSSIBLE,
                 "host %s: this daemon has no certificates: give vmckptd --tls DIR, or make %s",
                 peer->host, PEER_TLS_DIRECTORY);
    return FALSE;
  }
  peer->tls = peer_tls_read (tls, PEER_TLS_CLIENT, error);
  if (peer->tls == NULL)
    return FALSE;
  GNetworkAddress *network = G_NETWORK_ADDRESS (address);
  const char *name = g_network_address_get_hostname (network);
  gboolean is_ipv6 = strchr (name, ':') != NULL;
  peer->address = g_strdup (name);
  peer->base = g_strdup_printf ("https://%s%s%s:%u", is_ipv6 ? "[" : "", name, is_ipv6 ? "]" : "",
                                g_network_address_get_port (network));
  /* No proxy: what is said is for that host. */
  peer->session = soup_session_new_with_options ("tls-database", peer->tls->authority,
                                                 "proxy-resolver", NULL, NULL);
  return TRUE;
}

Peer *
peer_new (const char *host, const char *tls, GError **error)
{
  g_autoptr (Peer) peer = NULL;
  g_autofree char *socket = NULL;

  if (*host == 0 || strlen (host) > MAX_HOST || !g_utf8_validate (host, -1, NULL)) {
    g_set_error_literal (error, API_ERROR, API_USAGE, "a host's name or address is wanted");
    return NULL;
  }
  peer = g_new0 (Peer, 1);
  peer->host = g_strdup (host);
  peer->context = g_main_context_new();
  g_main_context_push_thread_default (peer->context);
  socket = local_socket (host);
  gboolean good = socket != NULL ? set_local (peer, socket, error) : set_remote (peer, tls, error);
  g_main_context_pop_thread_default (peer->context);
  if (!good)
    return NULL;
  soup_session_remove_feature_by_type (peer->session, SOUP_TYPE_CONTENT_DECODER);
  return g_steal_pointer (&peer);
}

/* What closing connections leaves to be done. */
static void
settle (GMainContext *context)
{
  while (g_main_context_iteration (context, FALSE))
    ;
}

void
peer_free (Peer *peer)
{
  if (peer == NULL)
    return;
  g_main_context_push_thread_default (peer->context);
  if (peer->session != NULL)
    soup_session_abort (peer->session);
  g_clear_object (&peer->session);
  settle (peer->context);
  g_main_context_pop_thread_default (peer->context);
  g_main_context_unref (peer->context);
  peer_tls_free (peer->tls);
  g_free (peer->host);
  g_free (peer->address);
  g_free (peer->base);
  g_free (peer);
}

const char *
peer_host (const Peer *peer)
{
  return peer->host;
}

const char *
peer_address (const Peer *peer)
{
  return peer->address;
}

/* ---- One call ---- */

typedef struct {
  Peer *peer;
  const PeerListener *listener;
  Operation op;
  SoupMessage *message;
  GInputStream *stream;          /* (nullable): of the answer */
  gboolean sent;                 /* the other side may have the request */
  GTlsCertificateFlags distrust; /* what is wrong with the other side's certificate */
} PeerCall;

static void
peer_call_clear (PeerCall *call)
{
  operation_clear (&call->op);
  if (call->message != NULL)
    g_signal_handlers_disconnect_by_data (call->message, call);
  g_clear_object (&call->message);
  /* A stream that was not read to its end closes its connection. */
  g_clear_object (&call->stream);
  settle (call->peer->context);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (PeerCall, peer_call_clear)

static gboolean
on_certificate (SoupMessage *message, GTlsCertificate *certificate, GTlsCertificateFlags flags,
                gpointer user_data)
{
  ((PeerCall *)user_data)->distrust = flags;
  return FALSE;
}

static void
on_wrote_headers (SoupMessage *message, gpointer user_data)
{
  ((PeerCall *)user_data)->sent = TRUE;
}

/* The other side may also find out only after our side of the handshake was done. */
static gboolean
is_about_trust (const GError *error)
{
  return error->domain == G_TLS_ERROR && !g_error_matches (error, G_TLS_ERROR, G_TLS_ERROR_EOF);
}

static gboolean
is_about_reaching (const PeerCall *call, const GError *error)
{
  return !call->sent || error->domain == G_RESOLVER_ERROR ||
         g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CONNECTION_REFUSED) ||
         g_error_matches (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND) ||
         g_error_matches (error, G_IO_ERROR, G_IO_ERROR_HOST_UNREACHABLE) ||
         g_error_matches (error, G_IO_ERROR, G_IO_ERROR_NETWORK_UNREACHABLE);
}

static void
explain_trust (const PeerCall *call, const GError *cause, GError **error)
{
  g_autofree char *text = call->distrust != 0 ? peer_tls_describe (call->distrust) : NULL;

  if (text != NULL)
    g_set_error (error, PEER_ERROR, PEER_ERROR_TRUST, "its certificate %s", text);
  else
    g_set_error (
        error, PEER_ERROR, PEER_ERROR_TRUST,
        "no trust between the two: it may not accept %s/client-cert.pem (its vmckptd's log "
        "says why): %s",
        call->peer->tls->directory, cause->message);
}

/* What came in the way, as one of PEER_ERROR; answers and cancellation pass. */
static void
explain (const PeerCall *call, GError *cause, GError **error)
{
  g_autoptr (GError) owned = cause;

  if (cause->domain == API_ERROR || cause->domain == PEER_ERROR)
    g_propagate_error (error, g_steal_pointer (&owned));
  else if (call->op.late)
    g_set_error (error, PEER_ERROR, call->sent ? PEER_ERROR_LOST : PEER_ERROR_UNREACHABLE,
                 "it does not answer");
  else if (g_cancellable_is_cancelled (call->op.outer))
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_CANCELLED, "interrupted");
  else if (call->peer->tls != NULL && (call->distrust != 0 || is_about_trust (cause)))
    explain_trust (call, cause, error);
  else if (is_about_reaching (call, cause))
    g_set_error (error, PEER_ERROR, PEER_ERROR_UNREACHABLE, "no vmckptd can be reached there: %s",
                 cause->message);
  else
    g_set_error (error, PEER_ERROR, PEER_ERROR_LOST, "the connection is lost: %s", cause->message);
  g_prefix_error (error, "host %s: ", call->peer->host);
}

static guint
silence_ms (const PeerCall *call)
{
  return call->listener->silence_ms != 0 ? call->listener->silence_ms : PEER_DEADLINE_MS;
}

/* Reads at most READ_SIZE bytes; empty at the end. */
static GBytes *
read_some (PeerCall *call, GError **error)
{
  g_input_stream_read_bytes_async (call->stream, READ_SIZE, G_PRIORITY_DEFAULT, call->op.steps,
                                   operation_on_ready, &call->op);
  return g_input_stream_read_bytes_finish (call->stream,
                                           operation_wait (&call->op, silence_ms (call)), error);
}

static JsonObject *
read_whole (PeerCall *call, GError **error)
{
  g_autoptr (GByteArray) text = g_byte_array_new();
  g_autoptr (GError) cause = NULL;
  JsonObject *answer;

  while (TRUE) {
    g_autoptr (GBytes) piece = read_some (call, error);
    if (piece == NULL)
      return NULL;
    if (g_bytes_get_size (piece) == 0 || text->len > PEER_MAX_ANSWER)
      break;
    g_byte_array_append (text, g_bytes_get_data (piece, NULL), g_bytes_get_size (piece));
  }
  answer =
      json_parse_bounded ((const char *)text->data, text->len, PEER_MAX_ANSWER, MAX_DEPTH, &cause);
  if (answer == NULL)
    g_set_error (error, PEER_ERROR, PEER_ERROR_ANSWER, "its answer: %s", cause->message);
  return answer;
}

/* An error as the other side said it, of the same kind. */
static void
set_error_from_json (JsonObject *object, GError **error)
{
  const char *kind = json_get_string_or (object, "kind", "");
  ApiKind found = API_FAILED;

  for (guint i = 0; i < API_KIND_COUNT; i++)
    if (g_str_equal (api_kind_name (i), kind))
      found = i;
  g_set_error_literal (error, API_ERROR, found,
                       json_get_string_or (object, "message", "it gave no reason"));
}

/* One line of a long answer: the result if that is what it is; NULL with @error if it is an error.
 */
static JsonObject *
take_line (PeerCall *call, const char *text, GError **error)
{
  g_autoptr (GError) cause = NULL;
  g_autoptr (JsonObject) line =
      json_parse_bounded (text, strlen (text), PEER_MAX_LINE, MAX_DEPTH, &cause);
  const char *type = line != NULL ? json_get_string (line, "type", &cause) : NULL;

  if (type == NULL)
    g_set_error (error, PEER_ERROR, PEER_ERROR_ANSWER, "its answer: %s", cause->message);
  else if (g_str_equal (type, "result"))
    return g_steal_pointer (&line);
  else if (g_str_equal (type, "error"))
    set_error_from_json (line, error);
  else
    call->listener->line (line, type, call->listener->user_data);
  return NULL;
}

static JsonObject *
read_lines (PeerCall *call, GError **error)
{
  g_autoptr (LineSplitter) lines = line_splitter_new (PEER_MAX_LINE);
  g_autoptr (GError) cause = NULL;
  JsonObject *result = NULL;

  while (result == NULL && cause == NULL) {
    g_autofree char *line = NULL;
    if (!line_splitter_next (lines, &line, NULL)) {
      g_set_error (&cause, PEER_ERROR, PEER_ERROR_ANSWER,
                   "its answer: a line of more than %u bytes", PEER_MAX_LINE);
      break;
    }
    if (line != NULL) {
      result = take_line (call, line, &cause);
      continue;
    }
    g_autoptr (GBytes) piece = read_some (call, &cause);
    if (piece == NULL)
      break;
    if (g_bytes_get_size (piece) == 0)
      g_set_error_literal (&cause, PEER_ERROR, PEER_ERROR_LOST,
                           "its daemon ended before the work was done");
    else
      line_splitter_add (lines, g_bytes_get_data (piece, NULL), g_bytes_get_size (piece));
  }
  if (cause != NULL)
    g_propagate_error (error, g_steal_pointer (&cause));
  return result;
}

/* An answer with a status of failure. */
static void
read_refusal (PeerCall *call, GError **error)
{
  g_autoptr (JsonObject) answer = read_whole (call, NULL);
  JsonObject *refusal = answer != NULL ? json_get_object (answer, "error", NULL) : NULL;

  if (refusal != NULL)
    set_error_from_json (refusal, error);
  else
    g_set_error (error, PEER_ERROR, PEER_ERROR_ANSWER, "it answered HTTP status %u",
                 soup_message_get_status (call->message));
}

static JsonObject *
read_answer (PeerCall *call, GError **error)
{
  SoupMessageHeaders *headers = soup_message_get_response_headers (call->message);

  if (!SOUP_STATUS_IS_SUCCESSFUL (soup_message_get_status (call->message))) {
    read_refusal (call, error);
    return NULL;
  }
  return g_strcmp0 (soup_message_headers_get_content_type (headers, NULL), NDJSON) == 0 &&
                 call->listener->line != NULL
             ? read_lines (call, error)
             : read_whole (call, error);
}

static void
make_message (PeerCall *call, const char *method, const char *path, JsonObject *body)
{
  g_autofree char *uri = g_strconcat (call->peer->base, path, NULL);
  SoupMessage *message = soup_message_new (method, uri);

  call->message = message;
  soup_message_add_flags (message, SOUP_MESSAGE_NO_REDIRECT);
  if (call->peer->tls != NULL)
    soup_message_set_tls_client_certificate (message, call->peer->tls->certificate);
  g_signal_connect (message, "accept-certificate", G_CALLBACK (on_certificate), call);
  g_signal_connect (message, "wrote-headers", G_CALLBACK (on_wrote_headers), call);
  if (call->listener->line != NULL)
    soup_message_headers_replace (soup_message_get_request_headers (message), "Accept", NDJSON);
  if (body == NULL)
    return;
  char *text = json_to_line (body);
  g_autoptr (GBytes) bytes = g_bytes_new_take (text, strlen (text));
  soup_message_set_request_body_from_bytes (message, "application/json", bytes);
}

static JsonObject *
exchange (PeerCall *call, GError **error)
{
  soup_session_send_async (call->peer->session, call->message, G_PRIORITY_DEFAULT, call->op.steps,
                           operation_on_ready, &call->op);
  call->stream = soup_session_send_finish (call->peer->session,
                                           operation_wait (&call->op, silence_ms (call)), error);
  return call->stream != NULL ? read_answer (call, error) : NULL;
}

JsonObject *
peer_call (Peer *peer, const char *method, const char *path, JsonObject *body,
           const PeerListener *listener, GError **error)
{
  static const PeerListener nobody = { 0 };
  g_autoptr (GCancellable) never = g_cancellable_new();
  g_autoptr (GError) cause = NULL;
  JsonObject *answer = NULL;

  g_main_context_push_thread_default (peer->context);
  {
    g_auto (PeerCall) call = { .peer = peer, .listener = listener != NULL ? listener : &nobody };
    operation_begin (&call.op,
                     call.listener->cancellable != NULL ? call.listener->cancellable : never);
    make_message (&call, method, path, body);
    answer = exchange (&call, &cause);
    if (answer == NULL)
      explain (&call, g_steal_pointer (&cause), error);
  }
  g_main_context_pop_thread_default (peer->context);
  return answer;
}

gboolean
peer_call_was_refused (const GError *error)
{
  return error->domain == API_ERROR ||
         g_error_matches (error, PEER_ERROR, PEER_ERROR_UNREACHABLE) ||
         g_error_matches (error, PEER_ERROR, PEER_ERROR_TRUST);
}
