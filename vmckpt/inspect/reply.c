/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "reply.h"

#include <vmckpt/inspect/inspector.h>
#include <vmckpt/util/bytes.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/json.h>

#include <stdarg.h>
#include <string.h>

#define DATA_MAX (1u << 20) /* in a frame */
#define ZEROS_MIN 4096      /* worth a frame of their own */

void
reply_init (Reply *reply, int fd)
{
  *reply = (Reply){ .fd = fd };
  g_mutex_init (&reply->lock);
}

static gboolean
put (Reply *reply, char type, const guint8 *data, gsize len)
{
  g_autoptr (GByteArray) head = g_byte_array_new();
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&reply->lock);

  bytes_add_u8 (head, type);
  bytes_add_le32 (head, len);
  return reply->fault == NULL && fd_write_full (reply->fd, head->data, head->len, &reply->fault) &&
         fd_write_full (reply->fd, data, len, &reply->fault);
}

static gboolean
is_zero (const guint8 *data, gsize len)
{
  return len > 0 && data[0] == 0 && memcmp (data, data + 1, len - 1) == 0;
}

static gboolean
put_zeros (Reply *reply, guint64 len)
{
  g_autoptr (GByteArray) count = g_byte_array_new();

  bytes_add_le64 (count, len);
  return put (reply, 'Z', count->data, count->len);
}

gboolean
reply_data (Reply *reply, const guint8 *data, gsize len)
{
  reply->bytes += len;
  while (len > 0) {
    gsize n = MIN (len, DATA_MAX);
    if (!(n >= ZEROS_MIN && is_zero (data, n) ? put_zeros (reply, n) : put (reply, 'D', data, n)))
      return FALSE;
    data += n;
    len -= n;
  }
  return TRUE;
}

gboolean
reply_object (Reply *reply, const char *type, JsonObject *object)
{
  g_autoptr (JsonObject) owned = object != NULL ? object : json_object_new();

  json_object_set_string_member (owned, "type", type);
  g_autofree char *line = json_to_line (owned);
  return put (reply, 'J', (const guint8 *)line, strlen (line));
}

void
reply_message (Reply *reply, const char *format, ...)
{
  JsonObject *object = json_object_new();
  va_list args;

  va_start (args, format);
  g_autofree char *text = g_strdup_vprintf (format, args);
  va_end (args);
  g_autofree char *valid = g_utf8_make_valid (text, -1);
  json_object_set_string_member (object, "text", valid);
  reply_object (reply, "message", object);
}

void
reply_status (Reply *reply, const char *phase, double done)
{
  JsonObject *object = json_object_new();

  json_object_set_string_member (object, "phase", phase);
  if (done >= 0)
    json_object_set_double_member (object, "percent_done", MIN (done, 1));
  reply_object (reply, "status", object);
}

void
reply_error (Reply *reply, const GError *error)
{
  JsonObject *object = json_object_new();
  int code = error->domain == INSPECT_ERROR ? error->code : INSPECT_ERROR_FAILED;
  g_autofree char *text = g_utf8_make_valid (error->message, -1);

  json_object_set_int_member (object, "code", code);
  json_object_set_string_member (object, "message", text);
  reply_object (reply, "error", object);
}

void
reply_set_bytes (JsonObject *object, const char *member, const char *bytes)
{
  if (bytes == NULL || g_utf8_validate (bytes, -1, NULL)) {
    json_set_string_or_null (object, member, bytes);
    return;
  }
  g_autofree char *text = g_utf8_make_valid (bytes, -1);
  g_autofree char *exact = g_base64_encode ((const guchar *)bytes, strlen (bytes));
  g_autofree char *name = g_strconcat (member, "_bytes", NULL);
  json_object_set_string_member (object, member, text);
  json_object_set_string_member (object, name, exact);
}

char *
reply_text (const char *text, gsize max)
{
  return g_utf8_make_valid (text, strnlen (text, max));
}
