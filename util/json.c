/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/util/json.h>

#include <string.h>

/* Measures the deepest nesting of brackets outside strings; the text need not be valid. FALSE if
 * something stands outside strings that JSON does not have: the parser takes comments and single
 * quotes, and what they hide would not be counted. */
static gboolean
measure_nesting (const char *text, gsize len, guint *deepest)
{
  guint depth = 0;
  gboolean in_string = FALSE;

  *deepest = 0;
  for (gsize i = 0; i < len; i++) {
    char c = text[i];
    if (in_string) {
      if (c == '\\')
        i++;
      else if (c == '"')
        in_string = FALSE;
    } else if (c == '"') {
      in_string = TRUE;
    } else if (c == '{' || c == '[') {
      depth++;
      *deepest = MAX (*deepest, depth);
    } else if (c == '}' || c == ']') {
      depth -= MIN (depth, 1);
    } else if (c == 0 || (!g_ascii_isalnum (c) && strchr (" \t\r\n,:+-.", c) == NULL)) {
      return FALSE;
    }
  }
  return TRUE;
}

JsonObject *
json_parse_bounded (const char *text, gsize len, gsize max_len, guint max_depth, GError **error)
{
  g_autoptr (JsonParser) parser = json_parser_new_immutable();
  g_autoptr (GError) cause = NULL;
  const char *fault = NULL;
  guint depth;

  if (len == 0)
    fault = "it is not an object"; /* @text may be NULL */
  else if (len > max_len)
    fault = "it is too long";
  else if (!g_utf8_validate_len (text, len, NULL))
    fault = "it is not UTF-8";
  else if (!measure_nesting (text, len, &depth))
    fault = "something stands between its values";
  else if (depth > max_depth)
    fault = "it is nested too deeply";
  else if (!json_parser_load_from_data (parser, text, len, &cause))
    fault = cause->message;
  else if (json_parser_get_root (parser) == NULL ||
           !JSON_NODE_HOLDS_OBJECT (json_parser_get_root (parser)))
    fault = "it is not an object";
  if (fault != NULL) {
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "not acceptable as JSON: %s", fault);
    return NULL;
  }
  return json_object_ref (json_node_get_object (json_parser_get_root (parser)));
}

/* The member's node, or NULL with @error that says what is wrong with it. */
static JsonNode *
typed_member (JsonObject *object, const char *member, JsonNodeType type, GType value_type,
              const char *type_name, GError **error)
{
  JsonNode *node = json_object_get_member (object, member);

  if (node == NULL) {
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "member '%s' is missing", member);
    return NULL;
  }
  if (json_node_get_node_type (node) != type ||
      (type == JSON_NODE_VALUE && json_node_get_value_type (node) != value_type)) {
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "member '%s' is not %s", member,
                 type_name);
    return NULL;
  }
  return node;
}

const char *
json_get_string (JsonObject *object, const char *member, GError **error)
{
  JsonNode *node = typed_member (object, member, JSON_NODE_VALUE, G_TYPE_STRING, "a string", error);
  return node != NULL ? json_node_get_string (node) : NULL;
}

gboolean
json_get_uint64 (JsonObject *object, const char *member, guint64 *value, GError **error)
{
  JsonNode *node = typed_member (object, member, JSON_NODE_VALUE, G_TYPE_INT64, "a number", error);

  if (node == NULL)
    return FALSE;
  if (json_node_get_int (node) < 0) {
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "member '%s' is negative", member);
    return FALSE;
  }
  *value = json_node_get_int (node);
  return TRUE;
}

gboolean
json_get_bool (JsonObject *object, const char *member, gboolean *value, GError **error)
{
  JsonNode *node =
      typed_member (object, member, JSON_NODE_VALUE, G_TYPE_BOOLEAN, "true or false", error);

  if (node != NULL)
    *value = json_node_get_boolean (node);
  return node != NULL;
}

JsonObject *
json_get_object (JsonObject *object, const char *member, GError **error)
{
  JsonNode *node = typed_member (object, member, JSON_NODE_OBJECT, 0, "an object", error);
  return node != NULL ? json_node_get_object (node) : NULL;
}

JsonArray *
json_get_array (JsonObject *object, const char *member, GError **error)
{
  JsonNode *node = typed_member (object, member, JSON_NODE_ARRAY, 0, "an array", error);
  return node != NULL ? json_node_get_array (node) : NULL;
}

const char *
json_get_string_or (JsonObject *object, const char *member, const char *fallback)
{
  const char *value = json_get_string (object, member, NULL);
  return value != NULL ? value : fallback;
}

guint64
json_get_uint64_or (JsonObject *object, const char *member, guint64 fallback)
{
  guint64 value;
  return json_get_uint64 (object, member, &value, NULL) ? value : fallback;
}

gboolean
json_get_bool_or (JsonObject *object, const char *member, gboolean fallback)
{
  gboolean value;
  return json_get_bool (object, member, &value, NULL) ? value : fallback;
}

const char *
json_array_string_or_null (JsonArray *array, guint index)
{
  JsonNode *node = json_array_get_element (array, index);

  if (!JSON_NODE_HOLDS_VALUE (node) || json_node_get_value_type (node) != G_TYPE_STRING)
    return NULL;
  return json_node_get_string (node);
}

void
json_set_string_or_null (JsonObject *object, const char *member, const char *value)
{
  if (value != NULL)
    json_object_set_string_member (object, member, value);
  else
    json_object_set_null_member (object, member);
}

/* Appends a number as json-glib wrote it, with 17 digits, as briefly as it can be read back: 2.1,
 * not 2.1000000000000001. */
static void
append_number (GString *text, const char *number, gsize len)
{
  char brief[G_ASCII_DTOSTR_BUF_SIZE];
  g_autofree char *exact = g_strndup (number, len);

  if (strpbrk (exact, ".eE") != NULL) {
    g_ascii_formatd (brief, sizeof brief, "%.15g", g_ascii_strtod (exact, NULL));
    if (g_ascii_strtod (brief, NULL) == g_ascii_strtod (exact, NULL)) {
      g_string_append (text, brief);
      /* A whole number stays of its type. */
      if (strpbrk (brief, ".e") == NULL)
        g_string_append (text, ".0");
      return;
    }
  }
  g_string_append_len (text, number, len);
}

static char *
to_text (JsonObject *object, gboolean pretty)
{
  g_autoptr (JsonNode) node = json_node_init_object (json_node_alloc(), object);
  g_autofree char *json = json_to_string (node, pretty);
  GString *text = g_string_sized_new (strlen (json));
  gboolean in_string = FALSE;

  for (const char *at = json; *at != 0;) {
    gsize len = in_string ? 0 : strspn (at, "+-.0123456789eE");
    if (len > 0 && g_ascii_isdigit (at[len - 1])) {
      append_number (text, at, len);
      at += len;
      continue;
    }
    if (in_string && *at == '\\')
      g_string_append_c (text, *at++);
    else if (*at == '"')
      in_string = !in_string;
    g_string_append_c (text, *at++);
  }
  return g_string_free (text, FALSE);
}

char *
json_to_line (JsonObject *object)
{
  return to_text (object, FALSE);
}

char *
json_to_pretty (JsonObject *object)
{
  g_autofree char *text = to_text (object, TRUE);
  return g_strconcat (text, "\n", NULL);
}
