/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /v1/checkpoints/REF/…: what is on a checkpoint's disks. */
#include "api-error.h"
#include "body.h"
#include "file-diff.h"
#include "looks.h"
#include "router.h"

#include <vmckpt/util/bytes.h>
#include <vmckpt/util/json.h>

#define CHANGES 500 /* in a line */

/* A request's checkpoint, and how its look is listened to. */
typedef struct {
  Request *request;
  Store *store;
  Manifest *manifest;
} Wish;

static void
wish_clear (Wish *wish)
{
  g_clear_pointer (&wish->store, store_unref);
  g_clear_pointer (&wish->manifest, manifest_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Wish, wish_clear)

static gboolean
find (Request *request, guint param, Wish *wish, GError **error)
{
  wish->request = request;
  wish->store = request_store (request, error);
  wish->manifest =
      wish->store != NULL ? store_manifest_find (wish->store, request->params[param], error) : NULL;
  return wish->manifest != NULL;
}

static void
send_line (Request *request, JsonObject *line)
{
  if (request->send_line != NULL)
    request->send_line (json_get_string_or (line, "type", "?"), json_object_ref (line),
                        request->watcher.user_data);
}

/* The appliance's progress becomes the call's, its files become lines. */
static gboolean
on_frame (char type, const guint8 *data, gsize len, JsonObject *object, gpointer user_data,
          GError **error)
{
  Request *request = user_data;
  const char *kind = object != NULL ? json_get_string_or (object, "type", "") : "";

  if (g_str_equal (kind, "files"))
    send_line (request, object);
  else if (g_str_equal (kind, "message") && request->watcher.message != NULL)
    request->watcher.message (json_get_string_or (object, "text", ""), request->watcher.user_data);
  else if (g_str_equal (kind, "status"))
    progress_report (&request->progress, PHASE_READ, 0, 0);
  return TRUE;
}

static JsonObject *
run (const Wish *wish, JsonObject *command, gboolean last, InspectorFrameFunc func, gpointer data,
     GError **error)
{
  Request *request = wish->request;
  LookTarget target = { request_query (request, "store"), wish->store, wish->manifest,
                        request->key };
  LookWatcher watcher = { .frame = func,
                          .user_data = data,
                          .message = request->watcher.message,
                          .message_data = request->watcher.user_data,
                          .cancellable = request->cancellable };
  return looks_run (request->daemon->looks, &target, command, last, &watcher, error);
}

static JsonObject *
finish (const Wish *wish, JsonObject *result)
{
  if (result != NULL)
    json_object_set_string_member (result, "id", wish->manifest->id);
  return result;
}

/* ---- inspect, fsck ---- */

static JsonObject *
run_plain (Request *request, const char *name, gboolean last, GError **error)
{
  g_auto (Wish) wish = { 0 };
  g_autoptr (JsonObject) command = json_object_new();

  json_object_set_string_member (command, "command", name);
  if (!request_expect (request, error, NULL) || !find (request, 0, &wish, error))
    return NULL;
  return finish (&wish, run (&wish, command, last, on_frame, request, error));
}

static JsonObject *
inspect_checkpoint (Request *request, GError **error)
{
  return run_plain (request, "inspect", FALSE, error);
}

/* What a check has put right is on the layers above the disks: later looks must not see it. */
static JsonObject *
check_file_systems (Request *request, GError **error)
{
  return run_plain (request, "fsck", TRUE, error);
}

/* ---- files ---- */

/* The members that say which files; FALSE with API_USAGE. */
static gboolean
take_place (Request *request, JsonObject *command, GError **error)
{
  static const char *const members[] = { "path", "path_bytes", "volume" };

  for (guint i = 0; i < G_N_ELEMENTS (members); i++) {
    const char *text = NULL;
    if (!request_string (request, members[i], &text, error))
      return FALSE;
    if (text != NULL)
      json_object_set_string_member (command, members[i], text);
  }
  return TRUE;
}

static JsonObject *
list_files (Request *request, GError **error)
{
  g_auto (Wish) wish = { 0 };
  g_autoptr (JsonObject) command = json_object_new();
  gboolean recursive = FALSE, checksums = FALSE;

  if (!request_expect (request, error, "path", "path_bytes", "volume", "recursive", "checksums",
                       NULL) ||
      !take_place (request, command, error) ||
      !request_bool (request, "recursive", &recursive, error) ||
      !request_bool (request, "checksums", &checksums, error))
    return NULL;
  if (checksums && !recursive) {
    g_set_error (error, API_ERROR, API_USAGE, "checksums are of recursive lists");
    return NULL;
  }
  json_object_set_string_member (command, "command", recursive ? "files" : "ls");
  json_object_set_boolean_member (command, "checksums", checksums);
  if (!find (request, 0, &wish, error))
    return NULL;
  return finish (&wish, run (&wish, command, FALSE, on_frame, request, error));
}

/* ---- diff ---- */

typedef struct {
  Request *request;
  FileDiff *diff;
  gboolean second;
  JsonArray *changes; /* not sent yet */
  guint counts[3];    /* added, changed, removed */
} Comparison;

static void
send_changes (Comparison *comparison)
{
  g_autoptr (JsonObject) line = json_object_new();

  json_object_set_string_member (line, "type", "changes");
  json_object_set_array_member (line, "changes", comparison->changes);
  comparison->changes = json_array_new();
  send_line (comparison->request, line);
}

/* Takes @change. */
static void
add_change (Comparison *comparison, JsonObject *change)
{
  const char *kind = json_get_string_or (change, "change", "");

  comparison->counts[g_str_equal (kind, "added") ? 0 : g_str_equal (kind, "changed") ? 1 : 2]++;
  json_array_add_object_element (comparison->changes, change);
  if (json_array_get_length (comparison->changes) >= CHANGES)
    send_changes (comparison);
}

static gboolean
compare_files (Comparison *comparison, JsonArray *files, GError **error)
{
  for (guint i = 0; i < json_array_get_length (files); i++) {
    JsonNode *node = json_array_get_element (files, i);
    if (!JSON_NODE_HOLDS_OBJECT (node))
      continue;
    if (!comparison->second) {
      if (!file_diff_add_old (comparison->diff, json_node_get_object (node), error))
        return FALSE;
      continue;
    }
    JsonObject *change = file_diff_add_new (comparison->diff, json_node_get_object (node));
    if (change != NULL)
      add_change (comparison, change);
  }
  return TRUE;
}

static gboolean
on_compared_frame (char type, const guint8 *data, gsize len, JsonObject *object, gpointer user_data,
                   GError **error)
{
  Comparison *comparison = user_data;
  JsonArray *files =
      object != NULL && g_str_equal (json_get_string_or (object, "type", ""), "files")
          ? json_get_array (object, "files", NULL)
          : NULL;

  return files != NULL ? compare_files (comparison, files, error)
                       : on_frame (type, data, len, object, comparison->request, error);
}

static gboolean
compare_disks (Comparison *comparison, const Wish *a, const Wish *b, JsonObject *command,
               GError **error)
{
  const Wish *wishes[] = { a, b };

  for (guint i = 0; i < G_N_ELEMENTS (wishes); i++) {
    g_autoptr (JsonObject) result = NULL;
    comparison->second = i > 0;
    result = run (wishes[i], command, FALSE, on_compared_frame, comparison, error);
    if (result == NULL)
      return FALSE;
  }
  g_autoptr (GPtrArray) removed = file_diff_removed (comparison->diff);
  for (guint i = 0; i < removed->len; i++)
    add_change (comparison, json_object_ref (removed->pdata[i]));
  return TRUE;
}

static JsonObject *
describe_comparison (const Comparison *comparison, const Wish *a, const Wish *b)
{
  JsonObject *result = json_object_new();

  json_object_set_string_member (result, "a", a->manifest->id);
  json_object_set_string_member (result, "b", b->manifest->id);
  json_object_set_int_member (result, "added", comparison->counts[0]);
  json_object_set_int_member (result, "changed", comparison->counts[1]);
  json_object_set_int_member (result, "removed", comparison->counts[2]);
  return result;
}

static JsonObject *
diff_files (Request *request, GError **error)
{
  g_auto (Wish) a = { 0 };
  g_auto (Wish) b = { 0 };
  g_autoptr (JsonObject) command = json_object_new();
  gboolean checksums = FALSE;

  json_object_set_string_member (command, "command", "files");
  if (!request_expect (request, error, "path", "path_bytes", "volume", "checksums", NULL) ||
      !take_place (request, command, error) ||
      !request_bool (request, "checksums", &checksums, error) || !find (request, 0, &a, error) ||
      !find (request, 1, &b, error))
    return NULL;
  json_object_set_boolean_member (command, "checksums", checksums);
  g_autoptr (FileDiff) diff = file_diff_new();
  Comparison comparison = { .request = request, .diff = diff, .changes = json_array_new() };
  gboolean done = looks_same_disks (a.manifest, b.manifest) ||
                  compare_disks (&comparison, &a, &b, command, error);
  if (done)
    send_changes (&comparison);
  json_array_unref (comparison.changes);
  return done ? describe_comparison (&comparison, &a, &b) : NULL;
}

/* ---- content ---- */

typedef struct {
  Request *request;
  ExportFrames *frames;
} Content;

static gboolean
on_content_frame (char type, const guint8 *data, gsize len, JsonObject *object, gpointer user_data,
                  GError **error)
{
  Content *content = user_data;
  ExportSink sink = export_frames_sink (content->frames);
  ByteReader reader = BYTE_READER (data, len);

  switch (type) {
  case 'D':
    return sink.write (data, len, sink.user_data, error);
  case 'Z':
    return sink.zeros (byte_reader_le64 (&reader), sink.user_data, error);
  default:
    return export_frames_object (content->frames, object, error);
  }
}

/* BodyFunc. */
static gboolean
write_content (Request *request, ExportFrames *frames, GError **error)
{
  g_auto (Wish) wish = { 0 };
  g_autoptr (JsonObject) command = json_object_new();
  static const char *const members[] = { "path", "path_bytes", "volume" };
  Content content = { request, frames };

  json_object_set_string_member (command, "command", "copy");
  json_object_set_boolean_member (command, "file_only", request_query_bool (request, "file_only"));
  for (guint i = 0; i < G_N_ELEMENTS (members); i++) {
    const char *text = request_query (request, members[i]);
    if (text != NULL && g_utf8_validate (text, -1, NULL))
      json_object_set_string_member (command, members[i], text);
  }
  if (!find (request, 0, &wish, error))
    return FALSE;
  g_autoptr (JsonObject) result =
      finish (&wish, run (&wish, command, FALSE, on_content_frame, &content, error));
  if (result == NULL)
    return FALSE;
  json_object_set_string_member (result, "type", "result");
  return export_frames_end (frames, result, error);
}

static void
content_serve (Daemon *daemon, SoupServerMessage *message, Request *request)
{
  body_serve (daemon, message, request, write_content);
}

const Route look_routes[] = {
  { "POST", "/v1/checkpoints/:ref/inspect", inspect_checkpoint, NULL, TRUE },
  { "POST", "/v1/checkpoints/:ref/fsck", check_file_systems, NULL, TRUE },
  { "POST", "/v1/checkpoints/:ref/files", list_files, NULL, TRUE },
  { "GET", "/v1/checkpoints/:ref/content", NULL, content_serve, FALSE },
  { "POST", "/v1/checkpoints/:ref/diff/:other/files", diff_files, NULL, TRUE },
  { NULL },
};
