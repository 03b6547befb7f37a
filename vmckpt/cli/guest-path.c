/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "guest-path.h"

#include "api.h"
#include "cli-error.h"

#include <string.h>

void
guest_path_free (GuestPath *path)
{
  g_free (path->ref);
  g_free (path->volume);
  g_free (path->path);
  g_free (path);
}

/* Splits "VOLUME", "/PATH" or "VOLUME:/PATH". */
static void
split_place (GuestPath *path, const char *text)
{
  const char *colon;

  if (text[0] == '/') {
    path->path = g_strdup (text);
    return;
  }
  colon = strstr (text, ":/");
  path->volume = colon != NULL ? g_strndup (text, colon - text) : g_strdup (text);
  if (colon != NULL)
    path->path = g_strdup (colon + 1);
}

GuestPath *
guest_path_parse (const char *text, gboolean need_path, GError **error)
{
  g_autoptr (GuestPath) path = g_new0 (GuestPath, 1);
  const char *colon = strchr (text, ':');

  path->ref = colon != NULL ? g_strndup (text, colon - text) : g_strdup (text);
  if (colon != NULL)
    split_place (path, colon + 1);
  if (path->path == NULL && !need_path)
    path->path = g_strdup ("/");
  gboolean good = path->ref[0] != '\0' && path->path != NULL &&
                  (path->volume == NULL ||
                   (path->volume[0] != '\0' && g_utf8_validate (path->volume, -1, NULL))) &&
                  g_utf8_validate (path->ref, -1, NULL);
  if (good)
    return g_steal_pointer (&path);
  g_autofree char *shown = g_utf8_make_valid (text, -1);
  g_set_error (error, CLI_ERROR, CLI_ERROR_USAGE,
               "'%s' is no file in a checkpoint: write ID:/PATH, or ID:DISK:/PATH", shown);
  return NULL;
}

/* (nullable): the path's bytes, coded, if they are not text. */
static char *
coded_bytes (const GuestPath *path)
{
  return g_utf8_validate (path->path, -1, NULL)
             ? NULL
             : g_base64_encode ((const guchar *)path->path, strlen (path->path));
}

void
guest_path_add_to_body (const GuestPath *path, JsonObject *body)
{
  g_autofree char *text = g_utf8_make_valid (path->path, -1);
  g_autofree char *coded = coded_bytes (path);

  json_object_set_string_member (body, "path", text);
  if (coded != NULL)
    json_object_set_string_member (body, "path_bytes", coded);
  if (path->volume != NULL)
    json_object_set_string_member (body, "volume", path->volume);
}

void
guest_path_add_to_query (const GuestPath *path, GString *query)
{
  g_autofree char *text = g_utf8_make_valid (path->path, -1);
  g_autofree char *coded = coded_bytes (path);

  api_path_add (query, "path", text);
  if (coded != NULL)
    api_path_add (query, "path_bytes", coded);
  if (path->volume != NULL)
    api_path_add (query, "volume", path->volume);
}

char *
guest_path_base_name (const GuestPath *path)
{
  g_autofree char *name = g_path_get_basename (path->path);

  /* What is no name for a file here. */
  if (g_str_equal (name, "/") || g_str_equal (name, ".") || g_str_equal (name, ".."))
    return g_strdup ("root");
  return g_steal_pointer (&name);
}
