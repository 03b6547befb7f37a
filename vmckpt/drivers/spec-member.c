/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "spec-member.h"

#include <vmckpt/drivers/guest-spec.h>
#include <vmckpt/util/json.h>

#include <string.h>

gboolean
member_invalid (GError **error, const char *member, const char *problem)
{
  g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_INVALID, "'%s' %s", member, problem);
  return FALSE;
}

gboolean
member_take_string (JsonObject *object, const char *member, char **value, GError **error)
{
  JsonNode *node = json_object_get_member (object, member);

  if (node == NULL || JSON_NODE_HOLDS_NULL (node))
    return TRUE;
  if (!JSON_NODE_HOLDS_VALUE (node) || json_node_get_value_type (node) != G_TYPE_STRING)
    return member_invalid (error, member, "must be a string");

  const char *text = json_node_get_string (node);
  if (strlen (text) > GUEST_TEXT_MAX)
    return member_invalid (error, member, "is too long");
  g_free (*value);
  *value = g_strdup (text);
  return TRUE;
}

gboolean
member_take_path (JsonObject *object, const char *member, char **value, GError **error)
{
  if (!member_take_string (object, member, value, error))
    return FALSE;
  if (*value != NULL && !g_path_is_absolute (*value))
    return member_invalid (error, member, "must be an absolute path");
  return TRUE;
}

gboolean
member_take_uuid (JsonObject *object, const char *member, char **value, GError **error)
{
  if (!member_take_string (object, member, value, error))
    return FALSE;
  if (*value != NULL && !g_uuid_string_is_valid (*value))
    return member_invalid (error, member, "must be a UUID");
  return TRUE;
}

gboolean
member_take_word (JsonObject *object, const char *member, char **value, GError **error)
{
  if (!member_take_string (object, member, value, error))
    return FALSE;
  for (const char *c = *value; c != NULL && *c != '\0'; c++)
    if (!g_ascii_isalnum (*c) && strchr ("-._", *c) == NULL)
      return member_invalid (error, member, "has a character that cannot be in it");
  if (*value != NULL && !g_ascii_isalnum (**value))
    return member_invalid (error, member, "must begin with a letter or digit");
  return TRUE;
}

gboolean
member_take_number (JsonObject *object, const char *member, guint64 *value, GError **error)
{
  g_autoptr (GError) cause = NULL;

  if (!json_object_has_member (object, member) || json_object_get_null_member (object, member))
    return TRUE;
  if (json_get_uint64 (object, member, value, &cause))
    return TRUE;
  return member_invalid (error, member, "must be a number, zero or more");
}

JsonArray *
member_find_array (JsonObject *object, const char *member, guint max, GError **error)
{
  JsonNode *node = json_object_get_member (object, member);

  if (node == NULL || JSON_NODE_HOLDS_NULL (node))
    return NULL;
  if (!JSON_NODE_HOLDS_ARRAY (node))
    member_invalid (error, member, "must be an array");
  else if (json_array_get_length (json_node_get_array (node)) > max)
    member_invalid (error, member, "has too many elements");
  else
    return json_node_get_array (node);
  return NULL;
}

gboolean
member_take_boolean (JsonObject *object, const char *member, gboolean *value, GError **error)
{
  g_autoptr (GError) cause = NULL;

  if (!json_object_has_member (object, member) || json_object_get_null_member (object, member))
    return TRUE;
  if (json_get_bool (object, member, value, &cause))
    return TRUE;
  return member_invalid (error, member, "must be true or false");
}

gboolean
member_take_choice (JsonObject *object, const char *member, const char *const *names, guint *value,
                    GError **error)
{
  g_autofree char *name = NULL;

  if (!member_take_string (object, member, &name, error))
    return FALSE;
  if (name == NULL)
    return TRUE;
  for (guint i = 0; names[i] != NULL; i++)
    if (g_str_equal (names[i], name)) {
      *value = i;
      return TRUE;
    }
  g_autofree char *list = g_strjoinv (", ", (char **)names);
  g_autofree char *problem = g_strconcat ("must be one of ", list, NULL);
  return member_invalid (error, member, problem);
}

gboolean
member_is_string (JsonNode *node)
{
  return JSON_NODE_HOLDS_VALUE (node) && json_node_get_value_type (node) == G_TYPE_STRING &&
         strlen (json_node_get_string (node)) <= GUEST_TEXT_MAX;
}

void
member_add_string (JsonObject *object, const char *member, const char *value)
{
  if (value != NULL)
    json_object_set_string_member (object, member, value);
}
