/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "request.h"

#include "api-error.h"

#include <vmckpt/policy/schedule.h>
#include <vmckpt/util/json.h>

void
request_free (Request *request)
{
  if (request == NULL)
    return;
  for (guint i = 0; i < REQUEST_MAX_PARAMS; i++)
    g_free (request->params[i]);
  g_clear_pointer (&request->query, g_hash_table_unref);
  g_free (request->peer);
  g_free (request->local);
  g_clear_pointer (&request->body, json_object_unref);
  g_clear_object (&request->cancellable);
  g_clear_pointer (&request->key, key_material_free);
  g_clear_pointer (&request->new_key, key_material_free);
  g_clear_pointer (&request->other_key, key_material_free);
  if (request->work != NULL)
    request->free_work (request->work);
  g_free (request);
}

Request *
request_steal (Request *request)
{
  Request *taken = g_memdup2 (request, sizeof *request);

  *request = (Request){ .daemon = taken->daemon };
  return taken;
}

gboolean
request_parse_body (Request *request, GBytes *body, GError **error)
{
  g_autoptr (GError) cause = NULL;
  gsize len;
  const char *text = g_bytes_get_data (body, &len);

  request->body = len == 0
                      ? json_object_new()
                      : json_parse_bounded (text, len, REQUEST_MAX_BODY, REQUEST_MAX_DEPTH, &cause);
  if (request->body != NULL)
    return TRUE;
  g_set_error (error, API_ERROR, API_USAGE, "the request's body: %s", cause->message);
  return FALSE;
}

gboolean
request_expect (Request *request, GError **error, ...)
{
  g_autoptr (GHashTable) known = g_hash_table_new (g_str_hash, g_str_equal);
  g_autoptr (GList) members = json_object_get_members (request->body);
  const char *name;
  va_list names;

  va_start (names, error);
  while ((name = va_arg (names, const char *)) != NULL)
    g_hash_table_add (known, (char *)name);
  va_end (names);
  for (GList *member = members; member != NULL; member = member->next) {
    if (g_hash_table_contains (known, member->data))
      continue;
    g_set_error (error, API_ERROR, API_USAGE, "this call has no member '%.64s'",
                 (const char *)member->data);
    return FALSE;
  }
  return TRUE;
}

/* TRUE if @member is absent or null. */
static gboolean
is_absent (Request *request, const char *member)
{
  JsonNode *node = json_object_get_member (request->body, member);
  return node == NULL || JSON_NODE_HOLDS_NULL (node);
}

static gboolean
usage (GError **error, GError *cause)
{
  g_set_error_literal (error, API_ERROR, API_USAGE, cause->message);
  g_error_free (cause);
  return FALSE;
}

gboolean
request_string (Request *request, const char *member, const char **value, GError **error)
{
  GError *cause = NULL;

  if (is_absent (request, member))
    return TRUE;
  *value = json_get_string (request->body, member, &cause);
  return *value != NULL || usage (error, cause);
}

gboolean
request_bool (Request *request, const char *member, gboolean *value, GError **error)
{
  GError *cause = NULL;

  return is_absent (request, member) || json_get_bool (request->body, member, value, &cause) ||
         usage (error, cause);
}

gboolean
request_time (Request *request, const char *member, gint64 *us, GError **error)
{
  const char *text = NULL;
  g_autoptr (GError) cause = NULL;

  if (!request_string (request, member, &text, error))
    return FALSE;
  *us = 0;
  if (text == NULL || schedule_parse_time (text, us, &cause))
    return TRUE;
  g_set_error (error, API_ERROR, API_USAGE, "%s: %s", member, cause->message);
  return FALSE;
}

const char *
request_query (Request *request, const char *name)
{
  return request->query != NULL ? g_hash_table_lookup (request->query, name) : NULL;
}

gboolean
request_query_bool (Request *request, const char *name)
{
  const char *value = request_query (request, name);
  return value != NULL && (g_str_equal (value, "true") || g_str_equal (value, "1"));
}

Guest *
request_guest (Request *request, GError **error)
{
  return domains_find (request->daemon->domains, request->params[0], request->cancellable, error);
}

const char *
request_store_path (Request *request, GError **error)
{
  const char *path = request_query (request, "store");

  if (path != NULL && g_path_is_absolute (path) && g_utf8_validate (path, -1, NULL))
    return path;
  g_set_error (error, API_ERROR, API_USAGE,
               path == NULL ? "this call needs ?store=DIRECTORY"
                            : "?store= must be an absolute directory");
  return NULL;
}

Store *
request_store_and_key (Request *request, char **key_id, GError **error)
{
  const char *path = request_store_path (request, error);

  return path != NULL ? stores_get (request->daemon->stores, path, request->key, key_id, error)
                      : NULL;
}

Store *
request_store (Request *request, GError **error)
{
  return request_store_and_key (request, NULL, error);
}

Store *
request_store_for_peer (Request *request, GError **error)
{
  g_autoptr (GError) cause = NULL;
  g_autoptr (Store) store = request_store (request, &cause);

  if (store == NULL && request->key == NULL &&
      g_error_matches (cause, STORE_ERROR, STORE_ERROR_KEY_NEEDED) &&
      request->daemon->key_file != NULL) {
    g_clear_error (&cause);
    request->key = key_material_read_file (request->daemon->key_file, &cause);
    store = request->key != NULL ? request_store (request, &cause) : NULL;
  }
  if (store != NULL)
    return g_steal_pointer (&store);
  if (g_error_matches (cause, STORE_ERROR, STORE_ERROR_KEY_NEEDED))
    g_set_error (error, STORE_ERROR, STORE_ERROR_KEY_NEEDED,
                 "%s; no key comes with a guest: give vmckptd there --key-file", cause->message);
  else
    g_propagate_error (error, g_steal_pointer (&cause));
  return NULL;
}

void
request_set_store (Request *request, const char *path)
{
  if (path == NULL)
    return;
  if (request->query == NULL)
    request->query = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  else
    g_hash_table_remove_all (request->query);
  g_hash_table_insert (request->query, g_strdup ("store"), g_strdup (path));
}

gboolean
request_choice (const char *what, const char *value, const char *const *choices, guint *index,
                GError **error)
{
  for (*index = 0; choices[*index] != NULL; (*index)++)
    if (g_str_equal (value, choices[*index]))
      return TRUE;
  g_autofree char *all = g_strjoinv ("', '", (char **)choices);
  g_set_error (error, API_ERROR, API_USAGE, "%s '%.64s' is none of '%s'", what, value, all);
  return FALSE;
}
