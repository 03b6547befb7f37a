/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "export-frames.h"

#include <vmckpt/util/bytes.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/json.h>

#include <string.h>

#define PIECE (64 * 1024)
#define DATA_MAX (1u << 20) /* in a frame */
#define STATUS_INTERVAL_US 200000

struct _ExportFrames {
  int fd;
  gboolean framed;
  GCancellable *cancellable;
  GByteArray *data; /* not written yet */
  guint64 zeros;    /* behind it, not written yet */
  guint64 bytes;
  gboolean begun;
  gint64 began_us, last_status_us;
};

ExportFrames *
export_frames_new (int fd, gboolean framed, GCancellable *cancellable)
{
  ExportFrames *frames = g_new0 (ExportFrames, 1);

  frames->fd = fd;
  frames->framed = framed;
  frames->cancellable = cancellable;
  frames->data = g_byte_array_sized_new (PIECE);
  frames->began_us = frames->last_status_us = g_get_monotonic_time();
  return frames;
}

void
export_frames_free (ExportFrames *frames)
{
  g_byte_array_unref (frames->data);
  g_free (frames);
}

guint64
export_frames_bytes (const ExportFrames *frames)
{
  return frames->bytes;
}

gboolean
export_frames_begun (const ExportFrames *frames)
{
  return frames->begun;
}

static gboolean
put (ExportFrames *frames, char type, const guint8 *data, gsize len, GError **error)
{
  g_autoptr (GByteArray) head = g_byte_array_new();

  if (g_cancellable_set_error_if_cancelled (frames->cancellable, error))
    return FALSE;
  frames->begun = TRUE;
  bytes_add_u8 (head, type);
  bytes_add_le32 (head, len);
  return (!frames->framed || fd_write_full (frames->fd, head->data, head->len, error)) &&
         fd_write_full (frames->fd, data, len, error);
}

/* A frame has a bound, what is written at once has none. */
static gboolean
flush_data (ExportFrames *frames, GError **error)
{
  gboolean done = TRUE;
  gsize len = 0;

  for (gsize at = 0; done && at < frames->data->len; at += len) {
    len = MIN (DATA_MAX, frames->data->len - at);
    done = put (frames, 'D', frames->data->data + at, len, error);
  }
  g_byte_array_set_size (frames->data, 0);
  return done;
}

static gboolean
flush_zeros (ExportFrames *frames, GError **error)
{
  static const guint8 nothing[PIECE];
  g_autoptr (GByteArray) count = g_byte_array_new();
  guint64 left = frames->zeros;

  frames->zeros = 0;
  if (left > 0 && frames->framed) {
    bytes_add_le64 (count, left);
    return put (frames, 'Z', count->data, count->len, error);
  }
  for (; left > 0; left -= MIN (left, PIECE))
    if (!put (frames, 'D', nothing, MIN (left, PIECE), error))
      return FALSE;
  return TRUE;
}

static gboolean
on_write (gconstpointer data, gsize len, gpointer user_data, GError **error)
{
  ExportFrames *frames = user_data;

  if (frames->zeros > 0 && !flush_zeros (frames, error))
    return FALSE;
  frames->bytes += len;
  g_byte_array_append (frames->data, data, len);
  return frames->data->len < PIECE || flush_data (frames, error);
}

static gboolean
on_zeros (guint64 len, gpointer user_data, GError **error)
{
  ExportFrames *frames = user_data;

  if (!flush_data (frames, error))
    return FALSE;
  frames->bytes += len;
  frames->zeros += len;
  return TRUE;
}

static gboolean
put_json (ExportFrames *frames, JsonObject *object, GError **error)
{
  g_autofree char *text = json_to_line (object);
  return put (frames, 'J', (const guint8 *)text, strlen (text), error);
}

static gboolean
on_progress (guint64 done, guint64 total, gpointer user_data, GError **error)
{
  ExportFrames *frames = user_data;
  gint64 now = g_get_monotonic_time();
  g_autoptr (JsonObject) status = NULL;

  if (!frames->framed || now - frames->last_status_us < STATUS_INTERVAL_US)
    return !g_cancellable_set_error_if_cancelled (frames->cancellable, error);
  frames->last_status_us = now;
  status = json_object_new();
  json_object_set_string_member (status, "type", "status");
  json_object_set_string_member (status, "phase", "read");
  json_object_set_double_member (status, "seconds_elapsed", (now - frames->began_us) / 1e6);
  json_object_set_int_member (status, "bytes_done", done);
  json_object_set_int_member (status, "total_bytes", total);
  if (total > 0)
    json_object_set_double_member (status, "percent_done", MIN (1, (double)done / total));
  return put_json (frames, status, error);
}

ExportSink
export_frames_sink (ExportFrames *frames)
{
  return (ExportSink){ .write = on_write,
                       .zeros = on_zeros,
                       .progress = on_progress,
                       .user_data = frames,
                       .cancellable = frames->cancellable };
}

gboolean
export_frames_object (ExportFrames *frames, JsonObject *object, GError **error)
{
  return !frames->framed || (flush_data (frames, error) && flush_zeros (frames, error) &&
                             put_json (frames, object, error));
}

gboolean
export_frames_end (ExportFrames *frames, JsonObject *last, GError **error)
{
  return flush_data (frames, error) && flush_zeros (frames, error) &&
         (!frames->framed || put_json (frames, last, error));
}
