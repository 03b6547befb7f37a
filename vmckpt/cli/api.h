/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The daemon's REST API (docs/api.md) over the UNIX socket of a runtime directory. All calls block
 * the caller while the default main context runs; they belong to one thread. Errors are CLI_ERROR.
 * A daemon that says nothing for the deadline is an error; a cancelled call closes its connection,
 * which makes the daemon undo what it began.
 */
#pragma once

#include <libsoup/soup.h>
#include <vmckpt/util/json.h>
#include <vmckpt/util/key-material.h>

#define API_DEADLINE_MS 30000
/* An upload has no end that could be foreseen, and its last step makes all of it durable. */
#define API_UPLOAD_PATIENCE_MS 300000
/* The most that is read of an answer, and of one line of a stream. */
#define API_MAX_ANSWER (64 * 1024 * 1024)
#define API_MAX_LINE (16 * 1024 * 1024)

/* Starts a daemon for @runtime because none answers. FALSE with @error if that fails. */
typedef gboolean (*ApiStartFunc) (const char *runtime, GCancellable *cancellable, GError **error);

typedef struct Api Api;

/**
 * api_new:
 * @runtime: absolute name of the runtime directory
 * @start: (nullable): how to start a daemon when none answers
 * @cancellable: cancels every call
 *
 * Returns: NULL with @error (CLI_ERROR_USAGE) if the socket's name is too long for the system.
 */
Api *api_new (const char *runtime, ApiStartFunc start, GCancellable *cancellable, GError **error);
void api_free (Api *api);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Api, api_free)

/* Gives the key of the store that calls name, the first time with @refused FALSE (NULL without
 * @error: none), and if the store then wants one with TRUE: somebody may be asked. */
typedef KeyMaterial *(*ApiKeyFunc) (gpointer user_data, gboolean refused, GError **error);
void api_set_key_func (Api *api, ApiKeyFunc func, gpointer user_data);

/* The key to send (nullable; copied): no function is asked any more. */
void api_set_key (Api *api, const KeyMaterial *key);
/* The key that the next calls give the store (nullable; copied). */
void api_set_new_key (Api *api, const KeyMaterial *key);

/* The key of the second store of the next calls, which their body names (nullable; copied). */
void api_set_other_key (Api *api, const KeyMaterial *key);

/* Another deadline than API_DEADLINE_MS. */
void api_set_deadline (Api *api, guint deadline_ms);

/* "/v1/SEGMENT/…", each segment percent-encoded; NULL ends them. */
GString *api_path (const char *segment, ...) G_GNUC_NULL_TERMINATED;

/* Adds "?KEY=VALUE" or "&KEY=VALUE", percent-encoded. */
void api_path_add (GString *path, const char *key, const char *value);

/**
 * api_call:
 * @method: "GET", "POST" or "DELETE"
 * @path: path and query
 * @body: (nullable): the request's body
 *
 * Makes a short call.
 *
 * Returns: (transfer full): the answer, or NULL with @error.
 */
JsonObject *api_call (Api *api, const char *method, const GString *path, JsonObject *body,
                      GError **error);

/* Receives the lines of a long call before its last; @type is "status", "message", "checkpoint",
 * "guest" or "serving".
 */
typedef void (*ApiLineFunc) (JsonObject *line, const char *type, gpointer user_data);

/**
 * api_call_long:
 * @func: called for each line but the last
 *
 * Makes a long call (POST). The daemon sends a line at least every second, so the deadline is for
 * each line.
 *
 * Returns: (transfer full): the result line, or NULL with @error.
 */
JsonObject *api_call_long (Api *api, const GString *path, JsonObject *body, ApiLineFunc func,
                           gpointer user_data, GError **error);

/* Receives the next piece of a text; FALSE stops the transfer. */
typedef gboolean (*ApiTextFunc) (gconstpointer data, gsize len, gpointer user_data);

/**
 * api_copy_text:
 * @endless: TRUE if the text may pause for any time
 * @func: called for each piece
 *
 * Copies a text (GET) piece by piece to its end.
 */
gboolean api_copy_text (Api *api, const GString *path, gboolean endless, ApiTextFunc func,
                        gpointer user_data, GError **error);

/* Opens a WebSocket of @protocol. Returns: (transfer full): it, or NULL with @error. */
SoupWebsocketConnection *
api_open_websocket (Api *api, const GString *path, const char *protocol,
                    GError **error); /**
                                      * api_download:
                                      * @accept: the media type that is asked for
                                      * @func: gets the body as it comes; FALSE ends it, without an
                                      * error of api_download()'s own
                                      *
                                      * A GET whose answer may be of any length.
                                      */
gboolean api_download (Api *api, const GString *path, const char *accept, ApiTextFunc func,
                       gpointer user_data, GError **error);

/* Told of the bytes that were sent so far. */
typedef void (*ApiSentFunc) (guint64 sent, gpointer user_data);

/**
 * api_upload:
 * @probe: a GET on the same store that is made first
 * @body: read to its end and sent while it is read
 * @length: bytes it has, or -1
 *
 * A POST whose body may be of any length, and whose work goes on when all is sent: @line_func is
 * then told as by api_call_long(). A daemon that takes nothing for API_UPLOAD_PATIENCE_MS is an
 * error, and one that says nothing afterwards.
 *
 * Returns: (transfer full): the answer, or NULL with @error.
 */
JsonObject *api_upload (Api *api, const GString *probe, const GString *path, GInputStream *body,
                        gint64 length, ApiSentFunc func, ApiLineFunc line_func, gpointer user_data,
                        GError **error);
