/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Values as people read them. All results are newly allocated. */
#pragma once

#include <vmckpt/util/json.h>

#define SHORT_ID_DIGITS 12

/* "512 B", "1.5 GiB". */
char *format_size (double bytes);

/* A duration: "2.1 ms", "1.3 s", "2:05", "1:02:05". */
char *format_ms (double ms);

/* A span for an ETA: "0:07", "2:05", "1:02:05". */
char *format_clock (double seconds);

/* Local time of @us microseconds since 1970: "2026-01-31 12:00:00"; "-" for 0. */
char *format_time (guint64 us);

/* The first 12 digits of @id; "-" for NULL. */
char *format_id (const char *id);

/* @text with control characters replaced, so that foreign text cannot steer the terminal. */
char *format_clean (const char *text);

/* The same for text of several lines: newlines stay. */
char *format_clean_lines (const char *text);

/* A number, integer or not, of @object; FALSE if @member is missing or not a number. */
gboolean json_get_number (JsonObject *object, const char *member, double *value);

/* The members as text, "-" where they are missing or null. */
char *format_size_member (JsonObject *object, const char *member);
char *format_ms_member (JsonObject *object, const char *member);
char *format_time_member (JsonObject *object, const char *member);
char *format_id_member (JsonObject *object, const char *member);
char *format_text_member (JsonObject *object, const char *member);
char *format_count_member (JsonObject *object, const char *member);

/* An array of strings, joined with ", "; "-" if it is empty or missing. And one of ids, short. */
char *format_strings_member (JsonObject *object, const char *member);
char *format_ids_member (JsonObject *object, const char *member);
