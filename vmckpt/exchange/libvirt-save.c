/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/exchange/libvirt-save.h>

#include "libvirt-image.h"

#include <vmckpt/ram/stream-compose.h>
#include <vmckpt/util/json.h>

#include <string.h>

/* `virsh save-image-edit` writes a longer description over the old one. */
#define ROOM_TO_EDIT 65536

gboolean
saved_domain_of (const Manifest *manifest, SavedDomain *domain, GError **error)
{
  JsonObject *record = json_get_object (manifest->machine, "libvirt", NULL);
  const char *xml = record != NULL ? json_get_string_or (record, "xml", NULL) : NULL;

  if (xml == NULL) {
    g_set_error_literal (error, EXCHANGE_ERROR, EXCHANGE_ERROR_UNSUPPORTED,
                         "it is not of a libvirt domain: libvirt would build another machine than "
                         "the one that was saved, with devices at other addresses");
    return FALSE;
  }
  *domain = (SavedDomain){ .xml = xml,
                           .cookie = json_get_string_or (record, "cookie", NULL),
                           .was_running = json_get_bool_or (record, "was_running", TRUE) };
  return TRUE;
}

/* Where the stream goes, and how much of the checkpoint is in it. */
typedef struct {
  const ExportSink *sink;
  guint64 done, total;
} Saving;

/* A ProgressFunc. */
static void
note_progress (Phase phase, guint64 done, guint64 total, gpointer user_data)
{
  Saving *saving = user_data;

  saving->done = done;
  saving->total = total;
}

/* A StreamWriterFunc. */
static gboolean
write_piece (gconstpointer data, gsize len, gpointer user_data, GError **error)
{
  const Saving *saving = user_data;
  const ExportSink *sink = saving->sink;

  return sink->write (data, len, sink->user_data, error) &&
         (sink->progress == NULL ||
          sink->progress (saving->done, saving->total, sink->user_data, error));
}

static gboolean
write_head (const SavedDomain *domain, const ExportSink *sink, GError **error)
{
  const gsize xml = strlen (domain->xml) + 1;
  const gsize cookie = domain->cookie != NULL ? strlen (domain->cookie) + 1 : 0;
  const LibvirtHeader header = { .data_len = xml + cookie + ROOM_TO_EDIT,
                                 .was_running = domain->was_running,
                                 .cookie_offset = cookie > 0 ? xml : 0 };
  guint8 head[LIBVIRT_HEADER_BYTES];

  if (xml + cookie > LIBVIRT_XML_MAX - ROOM_TO_EDIT) {
    g_set_error_literal (error, EXCHANGE_ERROR, EXCHANGE_ERROR_UNSUPPORTED,
                         "the domain's description is too long");
    return FALSE;
  }
  libvirt_header_build (&header, head);
  return sink->write (head, sizeof head, sink->user_data, error) &&
         sink->write (domain->xml, xml, sink->user_data, error) &&
         (cookie == 0 || sink->write (domain->cookie, cookie, sink->user_data, error)) &&
         sink->zeros (ROOM_TO_EDIT, sink->user_data, error);
}

gboolean
libvirt_save_write (Store *store, const Manifest *manifest, const SavedDomain *domain,
                    const ExportSink *sink, GError **error)
{
  Saving saving = { .sink = sink };
  const Progress progress = { note_progress, &saving };
  g_autoptr (StreamWriter) stream = stream_writer_new_for_func (write_piece, &saving);

  return write_head (domain, sink, error) &&
         stream_compose (stream, store, manifest, NULL, &progress, sink->cancellable, error);
}
