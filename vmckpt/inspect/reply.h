/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Answers of vmckpt-inspect, in the frames of docs/api.md ("Export"): data, zeros, and JSON for
 * all else. Names of the guest's files are any bytes; in JSON they are text and, where they are not
 * UTF-8, base64 beside it.
 */
#pragma once

#include <gio/gio.h>
#include <json-glib/json-glib.h>

/* Where answers go. Written by one thread at a time, but for the two that report (which lock). */
typedef struct {
  int fd;
  GMutex lock;
  guint64 bytes; /* of data in this answer */
  GError *fault; /* nobody reads any more */
} Reply;

void reply_init (Reply *reply, int fd);

/* Data of a file; runs of zeros cost nothing. FALSE once nobody reads. */
gboolean reply_data (Reply *reply, const guint8 *data, gsize len);

/* A JSON frame of @type; @object (transfer full, nullable) gets the member. */
gboolean reply_object (Reply *reply, const char *type, JsonObject *object);

/* A sentence for the user. */
void reply_message (Reply *reply, const char *format, ...) G_GNUC_PRINTF (2, 3);

/* How far it is: 0 to 1, or less than 0 if nobody knows. */
void reply_status (Reply *reply, const char *phase, double done);

/* The last frame of an answer that failed. */
void reply_error (Reply *reply, const GError *error);

/* Sets @member to @bytes as text, and, if they are not UTF-8, @member "_bytes" to their base64.
 * NULL sets null. */
void reply_set_bytes (JsonObject *object, const char *member, const char *bytes);

/* Foreign text that is only shown: valid UTF-8, at most @max bytes of it; newly allocated. */
char *reply_text (const char *text, gsize max);
