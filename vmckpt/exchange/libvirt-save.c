/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/exchange/libvirt-save.h>

#include "libvirt-image.h"

#include <vmckpt/ram/stream-compose.h>
#include <vmckpt/util/json.h>

#include <string.h>

/* `virsh save-image-edit` writes a longer description over the old one. */
#define ROOM_TO_EDIT 65536
#define FIRST_BYTES 4096

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

/* Where the image goes, and how much of the checkpoint is in it. */
typedef struct {
  const ExportSink *sink;
  GByteArray *head; /* until it is written */
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

/*
 * The head goes out with the first bytes of the stream, in one piece: a QEMU whose stream ends
 * before its first byte waits for that byte for ever (QEMU: fd_accept_incoming_migration(), which
 * is told of input, not of an end), and libvirt with it. An image that is cut before that has no
 * head, or not all of it, which libvirt itself refuses.
 */
static gboolean
write_first (Saving *saving, const guint8 *data, gsize len, GError **error)
{
  g_autoptr (GByteArray) head = g_steal_pointer (&saving->head);

  g_byte_array_append (head, data, len);
  return saving->sink->write (head->data, head->len, saving->sink->user_data, error);
}

/* A StreamWriterFunc. */
static gboolean
write_piece (gconstpointer data, gsize len, gpointer user_data, GError **error)
{
  Saving *saving = user_data;
  const ExportSink *sink = saving->sink;
  const gsize first = saving->head != NULL ? MIN (len, FIRST_BYTES) : 0;

  return (first == 0 || write_first (saving, data, first, error)) &&
         (len == first ||
          sink->write ((const guint8 *)data + first, len - first, sink->user_data, error)) &&
         (sink->progress == NULL ||
          sink->progress (saving->done, saving->total, sink->user_data, error));
}

static GByteArray *
make_head (const SavedDomain *domain, GError **error)
{
  static const guint8 room[ROOM_TO_EDIT];
  const gsize xml = strlen (domain->xml) + 1;
  const gsize cookie = domain->cookie != NULL ? strlen (domain->cookie) + 1 : 0;
  const LibvirtHeader header = { .data_len = xml + cookie + ROOM_TO_EDIT,
                                 .was_running = domain->was_running,
                                 .cookie_offset = cookie > 0 ? xml : 0 };
  guint8 bytes[LIBVIRT_HEADER_BYTES];
  GByteArray *head;

  if (xml + cookie > LIBVIRT_XML_MAX - ROOM_TO_EDIT) {
    g_set_error_literal (error, EXCHANGE_ERROR, EXCHANGE_ERROR_UNSUPPORTED,
                         "the domain's description is too long");
    return NULL;
  }
  libvirt_header_build (&header, bytes);
  head = g_byte_array_new();
  g_byte_array_append (head, bytes, sizeof bytes);
  g_byte_array_append (head, (const guint8 *)domain->xml, xml);
  if (cookie > 0)
    g_byte_array_append (head, (const guint8 *)domain->cookie, cookie);
  return g_byte_array_append (head, room, sizeof room);
}

gboolean
libvirt_save_write (Store *store, const Manifest *manifest, const SavedDomain *domain,
                    const StreamOmission *omission, const ExportSink *sink, GError **error)
{
  Saving saving = { .sink = sink, .head = make_head (domain, error) };
  const Progress progress = { note_progress, &saving };
  g_autoptr (StreamWriter) stream = stream_writer_new_for_func (write_piece, &saving);
  gboolean whole = saving.head != NULL && stream_compose (stream, store, manifest, omission,
                                                          &progress, sink->cancellable, error);

  g_clear_pointer (&saving.head, g_byte_array_unref);
  return whole;
}
