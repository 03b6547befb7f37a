/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "export.h"

#include "api-error.h"
#include "body.h"

#include <vmckpt/exchange/export.h>
#include <vmckpt/store/key.h>

/* What was asked for. Formats other than ram and disk have no parts. */
static gboolean
parse_wish (Request *request, ExportFormat *format, ExportOptions *options, GError **error)
{
  const char *text = request_query (request, "format");
  guint index = EXPORT_ARCHIVE;

  if (text != NULL && !request_choice ("format", text, export_format_names, &index, error))
    return FALSE;
  *format = index;
  *options = (ExportOptions){ .part = request_query (request, "part"),
                              .physical = request_query_bool (request, "physical") };
  if ((options->part != NULL && *format != EXPORT_RAM && *format != EXPORT_DISK) ||
      (options->physical && (*format != EXPORT_RAM || options->part != NULL))) {
    g_set_error (error, API_ERROR, API_USAGE,
                 "part is for the formats ram and disk, physical for ram without a part");
    return FALSE;
  }
  return TRUE;
}

static JsonObject *
describe (Store *store, const Manifest *manifest, ExportFormat format, const ExportFrames *frames)
{
  JsonObject *last = json_object_new();

  json_object_set_string_member (last, "type", "result");
  json_object_set_string_member (last, "id", manifest->id);
  json_object_set_string_member (last, "guest", manifest->guest);
  json_object_set_string_member (last, "format", export_format_names[format]);
  json_object_set_int_member (last, "bytes", export_frames_bytes (frames));
  json_object_set_boolean_member (last, "decrypted", store_is_encrypted (store));
  return last;
}

static gboolean
write_all (Request *request, ExportFrames *frames, GError **error)
{
  g_autoptr (Store) store = request_store (request, error);
  g_autoptr (Manifest) manifest = NULL;
  ExportFormat format;
  ExportOptions options;
  ExportSink sink = export_frames_sink (frames);

  if (store == NULL || !parse_wish (request, &format, &options, error) ||
      (manifest = store_manifest_find (store, request->params[0], error)) == NULL ||
      !export_check (store, manifest, format, &options, error) ||
      !export_checkpoint (store, manifest, format, &options, &sink, error))
    return FALSE;
  g_autoptr (JsonObject) last = describe (store, manifest, format, frames);
  return export_frames_end (frames, last, error);
}

void
export_serve (Daemon *daemon, SoupServerMessage *message, Request *request)
{
  body_serve (daemon, message, request, write_all);
}
