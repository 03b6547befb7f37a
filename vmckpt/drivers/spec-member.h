/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bounded members of the documents that describe a guest. All fail with DRIVER_ERROR_INVALID, which
 * names the member. */
#pragma once

#include <gio/gio.h>
#include <json-glib/json-glib.h>

/* Sets @error to "'MEMBER' PROBLEM"; FALSE. */
gboolean member_invalid (GError **error, const char *member, const char *problem);

/* Each takes a member that may be absent or null: then *@value stays. Texts are freed and replaced,
 * and have at most GUEST_TEXT_MAX bytes. */
gboolean member_take_string (JsonObject *object, const char *member, char **value, GError **error);
/* An absolute path. */
gboolean member_take_path (JsonObject *object, const char *member, char **value, GError **error);
gboolean member_take_uuid (JsonObject *object, const char *member, char **value, GError **error);
/* A text that becomes one option of QEMU's: letters, digits, "-._". */
gboolean member_take_word (JsonObject *object, const char *member, char **value, GError **error);
gboolean member_take_number (JsonObject *object, const char *member, guint64 *value,
                             GError **error);
gboolean member_take_boolean (JsonObject *object, const char *member, gboolean *value,
                              GError **error);
/* One of @names (which ends with NULL), as its index. */
gboolean member_take_choice (JsonObject *object, const char *member, const char *const *names,
                             guint *value, GError **error);

/* Borrowed; NULL without @error if it is absent or null. At most @max elements. */
JsonArray *member_find_array (JsonObject *object, const char *member, guint max, GError **error);

/* TRUE if @node is a text of bounded length. */
gboolean member_is_string (JsonNode *node);

/* Adds @value unless it is NULL. */
void member_add_string (JsonObject *object, const char *member, const char *value);
