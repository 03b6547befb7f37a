/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "checkpoint-json.h"

#include <vmckpt/util/bytes.h>
#include <vmckpt/util/json.h>

#include <string.h>

/* Copies a member of the report, if it is there. */
static void
copy_member (JsonObject *to, JsonObject *from, const char *member)
{
  if (from != NULL && json_object_has_member (from, member))
    json_object_set_member (to, member, json_object_dup_member (from, member));
}

static JsonArray *
tags_to_json (Store *store, const Manifest *manifest)
{
  g_auto (GStrv) tags = store_tags (store, manifest, NULL);
  JsonArray *array = json_array_new();

  for (guint i = 0; tags != NULL && tags[i] != NULL; i++)
    json_array_add_string_element (array, tags[i]);
  return array;
}

JsonObject *
checkpoint_to_json (Store *store, const Manifest *manifest)
{
  static const char *const from_report[] = { "ram_bytes", "pause_ms", "wall_ms", "new_bytes",
                                             "stored_bytes" };
  JsonObject *object = json_object_new();

  json_object_set_string_member (object, "id", manifest->id);
  json_object_set_string_member (object, "guest", manifest->guest);
  json_object_set_string_member (object, "guest_uuid", manifest->guest_uuid);
  json_set_string_or_null (object, "parent", manifest->parent);
  json_object_set_int_member (object, "created_us", manifest->created_us);
  json_set_string_or_null (object, "host", manifest->host);
  json_set_string_or_null (object, "engine", manifest->engine);
  json_set_string_or_null (object, "mode", manifest->mode);
  json_object_set_array_member (object, "tags", tags_to_json (store, manifest));
  json_set_string_or_null (object, "note", manifest->note);
  for (guint i = 0; i < G_N_ELEMENTS (from_report); i++)
    copy_member (object, manifest->report, from_report[i]);
  return object;
}

JsonObject *
checkpoint_to_json_full (Store *store, const Manifest *manifest)
{
  JsonObject *object = checkpoint_to_json (store, manifest);
  JsonArray *parts = json_array_new();

  for (guint i = 0; i < manifest->parts->len; i++) {
    const ManifestPart *part = g_ptr_array_index (manifest->parts, i);
    g_autofree char *root = bytes_to_hex (part->map.root.bytes, CHUNK_NAME_BYTES);
    JsonObject *one = json_object_new();
    json_object_set_string_member (one, "role", part->role);
    json_object_set_string_member (one, "name", part->name);
    json_object_set_int_member (one, "length", part->map.length);
    json_object_set_string_member (one, "root", root);
    json_array_add_object_element (parts, one);
  }
  json_object_set_array_member (object, "parts", parts);
  json_object_set_object_member (object, "machine", json_object_ref (manifest->machine));
  if (manifest->report != NULL)
    json_object_set_object_member (object, "report", json_object_ref (manifest->report));
  return object;
}

JsonObject *
checkpoint_report (const Manifest *manifest)
{
  JsonObject *object = json_object_new();
  g_autoptr (GList) members = json_object_get_members (manifest->report);

  json_object_set_string_member (object, "id", manifest->id);
  for (GList *member = members; member != NULL; member = member->next)
    copy_member (object, manifest->report, member->data);
  return object;
}

/* ---- diff ---- */

static gboolean
count_page (guint64 page, const ChunkName *a, const ChunkName *b, gpointer user_data)
{
  *(guint64 *)user_data += PAGE_SIZE_BYTES;
  return TRUE;
}

/* Compares one part of @a with its counterpart in @b (nullable). */
static gboolean
diff_part (Store *store, const ManifestPart *a, const ManifestPart *b, JsonArray *parts,
           guint64 *sum, GError **error)
{
  const PageMap nothing = { 0 };
  const ManifestPart *named = a != NULL ? a : b;
  guint64 changed = 0;

  if (!page_map_diff (store, a != NULL ? &a->map : &nothing, b != NULL ? &b->map : &nothing,
                      count_page, &changed, error))
    return FALSE;
  JsonObject *one = json_object_new();
  json_object_set_string_member (one, "role", named->role);
  json_object_set_string_member (one, "name", named->name);
  json_object_set_int_member (one, "a_bytes", a != NULL ? a->map.length : 0);
  json_object_set_int_member (one, "b_bytes", b != NULL ? b->map.length : 0);
  json_object_set_int_member (one, "changed_bytes", changed);
  json_array_add_object_element (parts, one);
  *sum += changed;
  return TRUE;
}

static char *
member_text (JsonNode *node)
{
  g_autofree char *text = node != NULL ? json_to_string (node, FALSE) : g_strdup ("nothing");
  return g_utf8_strlen (text, -1) > 300 ? g_utf8_substring (text, 0, 300) : g_steal_pointer (&text);
}

/* A sentence for each top-level member of the machine records that differs. */
static JsonArray *
diff_machine (const Manifest *a, const Manifest *b)
{
  JsonArray *sentences = json_array_new();
  g_autoptr (GList) members =
      g_list_concat (json_object_get_members (a->machine), json_object_get_members (b->machine));

  for (GList *member = members; member != NULL; member = member->next) {
    JsonNode *was = json_object_get_member (a->machine, member->data);
    JsonNode *is = json_object_get_member (b->machine, member->data);
    /* A member of both comes twice: once is enough. */
    gboolean again = g_list_find_custom (member->next, member->data, (GCompareFunc)strcmp) != NULL;
    if (again || (was != NULL && is != NULL && json_node_equal (was, is)))
      continue;
    g_autofree char *old = member_text (was);
    g_autofree char *now = member_text (is);
    g_autofree char *text = g_strdup_printf ("%s was %s and is %s", (char *)member->data, old, now);
    json_array_add_string_element (sentences, text);
  }
  return sentences;
}

JsonObject *
checkpoint_diff (Store *store, const Manifest *a, const Manifest *b, GError **error)
{
  g_autoptr (JsonObject) object = json_object_new();
  JsonArray *parts = json_array_new();
  guint64 changed = 0;

  json_object_set_string_member (object, "a", a->id);
  json_object_set_string_member (object, "b", b->id);
  json_object_set_array_member (object, "parts", parts);
  for (guint i = 0; i < a->parts->len; i++) {
    const ManifestPart *part = g_ptr_array_index (a->parts, i);
    if (!diff_part (store, part, manifest_find_part (b, part->role, part->name), parts, &changed,
                    error))
      return NULL;
  }
  for (guint i = 0; i < b->parts->len; i++) {
    const ManifestPart *part = g_ptr_array_index (b->parts, i);
    if (manifest_find_part (a, part->role, part->name) == NULL &&
        !diff_part (store, NULL, part, parts, &changed, error))
      return NULL;
  }
  json_object_set_int_member (object, "changed_bytes", changed);
  json_object_set_array_member (object, "machine", diff_machine (a, b));
  return g_steal_pointer (&object);
}
