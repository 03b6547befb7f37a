/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * JSON of foreign origin: bounded before it is parsed, then read member by member with errors that
 * name the member. json-glib alone recurses as deep as its input says and aborts on a wrong type.
 */
#pragma once

#include <gio/gio.h>
#include <json-glib/json-glib.h>

/**
 * json_parse_bounded:
 * @text: the text; need not end with NUL
 * @len: its length in bytes
 * @max_len: the most that is accepted
 * @max_depth: how many arrays and objects may be nested
 *
 * Parses one JSON object.
 *
 * Returns: (transfer full): the object; NULL with @error (G_IO_ERROR_INVALID_DATA) if the text is
 * too long, too deep, not valid UTF-8, not JSON, or not an object.
 */
JsonObject *json_parse_bounded (const char *text, gsize len, gsize max_len, guint max_depth,
                                GError **error);

/**
 * json_get_string … json_get_array:
 * @object: the object
 * @member: name of the member
 *
 * Read a member of a known type. A missing or mistyped member is G_IO_ERROR_INVALID_DATA
 * ("member 'x' is missing" / "member 'x' is not a number").
 * Strings, objects and arrays are borrowed from @object.
 *
 * Returns: FALSE (or NULL) with @error.
 */
const char *json_get_string (JsonObject *object, const char *member, GError **error);
gboolean json_get_uint64 (JsonObject *object, const char *member, guint64 *value, GError **error);
gboolean json_get_bool (JsonObject *object, const char *member, gboolean *value, GError **error);
JsonObject *json_get_object (JsonObject *object, const char *member, GError **error);
JsonArray *json_get_array (JsonObject *object, const char *member, GError **error);

/* The same with a default for a member that is missing or null or of another type. */
const char *json_get_string_or (JsonObject *object, const char *member, const char *fallback);
guint64 json_get_uint64_or (JsonObject *object, const char *member, guint64 fallback);
gboolean json_get_bool_or (JsonObject *object, const char *member, gboolean fallback);

/* Element @index of @array if it is a string (borrowed), else NULL. json-glib's own getter warns.
 */
const char *json_array_string_or_null (JsonArray *array, guint index);

/* Sets @member to @value (copied), or to null if that is NULL. */
void json_set_string_or_null (JsonObject *object, const char *member, const char *value);

/* The object as compact text on one line (newly allocated), members in the order they were set. */
char *json_to_line (JsonObject *object);

/* The same, indented for people and for files that people read; ends with a newline. */
char *json_to_pretty (JsonObject *object);
