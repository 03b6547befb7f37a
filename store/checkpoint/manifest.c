/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A manifest as a structure and as bytes: "vmckpt-manifest 1 1", then one JSON object. */
#include <vmckpt/store/manifest.h>
#include <vmckpt/store/store.h>

#include "page-node.h"
#include "text-object.h"

#include <vmckpt/util/bytes.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/json.h>
#include <vmckpt/util/name.h>

#include <string.h>

#define MANIFEST_MAGIC "vmckpt-manifest"
#define PARTS_MAX 4096
#define STRING_MAX 4096

static void
part_free (gpointer data)
{
  ManifestPart *part = data;
  g_free (part->role);
  g_free (part->name);
  g_free (part);
}

Manifest *
manifest_new (void)
{
  Manifest *manifest = g_new0 (Manifest, 1);
  manifest->parts = g_ptr_array_new_with_free_func (part_free);
  return manifest;
}

void
manifest_free (Manifest *manifest)
{
  if (manifest == NULL)
    return;
  g_free (manifest->id);
  g_free (manifest->parent);
  g_free (manifest->guest);
  g_free (manifest->guest_uuid);
  g_free (manifest->host);
  g_free (manifest->engine);
  g_free (manifest->mode);
  g_free (manifest->tag);
  g_free (manifest->note);
  g_free (manifest->origin_store);
  g_free (manifest->origin_id);
  g_clear_pointer (&manifest->machine, json_object_unref);
  g_clear_pointer (&manifest->report, json_object_unref);
  g_ptr_array_unref (manifest->parts);
  g_free (manifest);
}

void
manifest_add_part (Manifest *manifest, const char *role, const char *name, const PageMap *map)
{
  ManifestPart *part = g_new0 (ManifestPart, 1);
  part->role = g_strdup (role);
  part->name = g_strdup (name != NULL ? name : "");
  part->map = *map;
  g_ptr_array_add (manifest->parts, part);
}

const ManifestPart *
manifest_find_part (const Manifest *manifest, const char *role, const char *name)
{
  for (guint i = 0; i < manifest->parts->len; i++) {
    const ManifestPart *part = manifest->parts->pdata[i];
    if (g_str_equal (part->role, role) && (name == NULL || g_str_equal (part->name, name)))
      return part;
  }
  return NULL;
}

guint64
manifest_described_bytes (const Manifest *manifest)
{
  guint64 bytes = 0;

  for (guint i = 0; i < manifest->parts->len; i++)
    bytes += ((ManifestPart *)manifest->parts->pdata[i])->map.length;
  return bytes;
}

char *
manifest_identity (const Manifest *manifest, Store *store)
{
  if (manifest->origin_id != NULL)
    return g_strconcat (manifest->origin_store, "/", manifest->origin_id, NULL);
  return g_strconcat (store_id (store), "/", manifest->id, NULL);
}

/* The members that are strings, in the order in which they are written. */
typedef struct {
  const char *member;
  gsize offset;
  gboolean nullable;
} StringMember;

static const StringMember string_members[] = {
  { "guest", G_STRUCT_OFFSET (Manifest, guest), FALSE },
  { "guest_uuid", G_STRUCT_OFFSET (Manifest, guest_uuid), FALSE },
  { "parent", G_STRUCT_OFFSET (Manifest, parent), TRUE },
  { "host", G_STRUCT_OFFSET (Manifest, host), TRUE },
  { "engine", G_STRUCT_OFFSET (Manifest, engine), TRUE },
  { "mode", G_STRUCT_OFFSET (Manifest, mode), TRUE },
  { "tag", G_STRUCT_OFFSET (Manifest, tag), TRUE },
  { "note", G_STRUCT_OFFSET (Manifest, note), TRUE },
};

static JsonArray *
parts_to_json (const Manifest *manifest)
{
  JsonArray *parts = json_array_new();

  for (guint i = 0; i < manifest->parts->len; i++) {
    const ManifestPart *part = manifest->parts->pdata[i];
    g_autofree char *root = chunk_name_to_hex (&part->map.root);
    JsonObject *object = json_object_new();
    json_object_set_string_member (object, "role", part->role);
    json_object_set_string_member (object, "name", part->name);
    json_object_set_int_member (object, "length", part->map.length);
    json_object_set_string_member (object, "root", root);
    json_array_add_object_element (parts, object);
  }
  return parts;
}

GBytes *
manifest_to_bytes (const Manifest *manifest)
{
  g_autoptr (JsonObject) object = json_object_new();

  for (gsize i = 0; i < G_N_ELEMENTS (string_members); i++) {
    const char *value = G_STRUCT_MEMBER (char *, manifest, string_members[i].offset);
    if (value != NULL)
      json_object_set_string_member (object, string_members[i].member, value);
  }
  json_object_set_int_member (object, "created_us", manifest->created_us);
  json_object_set_array_member (object, "parts", parts_to_json (manifest));
  if (manifest->origin_id != NULL) {
    JsonObject *origin = json_object_new();
    json_object_set_string_member (origin, "store", manifest->origin_store);
    json_object_set_string_member (origin, "checkpoint", manifest->origin_id);
    json_object_set_object_member (object, "origin", origin);
  }
  if (manifest->machine != NULL)
    json_object_set_object_member (object, "machine", json_object_ref (manifest->machine));
  if (manifest->report != NULL)
    json_object_set_object_member (object, "report", json_object_ref (manifest->report));
  return text_object_write (MANIFEST_MAGIC, object, NULL);
}

static gboolean
set_wrong (GError **error, const char *what)
{
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "%s", what);
  return FALSE;
}

static gboolean
parse_part (JsonNode *node, Manifest *manifest, GError **error)
{
  JsonObject *object = JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
  PageMap map;

  if (object == NULL)
    return set_wrong (error, "a part is not an object");
  const char *role = json_get_string (object, "role", error);
  const char *name = role != NULL ? json_get_string (object, "name", error) : NULL;
  const char *root = name != NULL ? json_get_string (object, "root", error) : NULL;
  if (root == NULL || !json_get_uint64 (object, "length", &map.length, error))
    return FALSE;
  if (map.length > MAP_LENGTH_MAX || strlen (role) > STRING_MAX || strlen (name) > STRING_MAX ||
      !bytes_from_hex (root, map.root.bytes, sizeof map.root.bytes))
    return set_wrong (error, "a part has an impossible value");
  manifest_add_part (manifest, role, name, &map);
  return TRUE;
}

static gboolean
parse_strings (JsonObject *object, Manifest *manifest, GError **error)
{
  for (gsize i = 0; i < G_N_ELEMENTS (string_members); i++) {
    const StringMember *member = &string_members[i];
    if (member->nullable && !json_object_has_member (object, member->member))
      continue;
    const char *value = json_get_string (object, member->member, error);
    if (value == NULL)
      return FALSE;
    if (strlen (value) > STRING_MAX)
      return set_wrong (error, "a string is too long");
    G_STRUCT_MEMBER (char *, manifest, member->offset) = g_strdup (value);
  }
  if (!name_check (manifest->guest, "guest name", error) ||
      (manifest->tag != NULL && !name_check (manifest->tag, "tag", error)))
    return FALSE;
  return g_uuid_string_is_valid (manifest->guest_uuid) ||
         set_wrong (error, "guest_uuid is not a uuid");
}

/* An optional member that is an object, with a reference. */
static gboolean
parse_object (JsonObject *object, const char *member, JsonObject **value, GError **error)
{
  if (!json_object_has_member (object, member))
    return TRUE;
  JsonObject *found = json_get_object (object, member, error);
  *value = found != NULL ? json_object_ref (found) : NULL;
  return found != NULL;
}

/* The optional member `origin`. */
static gboolean
parse_origin (JsonObject *object, Manifest *manifest, GError **error)
{
  guint8 store[16], id[CHUNK_NAME_BYTES];

  if (!json_object_has_member (object, "origin"))
    return TRUE;
  JsonObject *origin = json_get_object (object, "origin", error);
  if (origin == NULL)
    return FALSE;
  manifest->origin_store = g_strdup (json_get_string (origin, "store", error));
  if (manifest->origin_store == NULL)
    return FALSE;
  manifest->origin_id = g_strdup (json_get_string (origin, "checkpoint", error));
  if (manifest->origin_id == NULL)
    return FALSE;
  return (bytes_from_hex (manifest->origin_store, store, sizeof store) &&
          bytes_from_hex (manifest->origin_id, id, sizeof id)) ||
         set_wrong (error, "the origin is not a store and a checkpoint");
}

static gboolean
parse_manifest (JsonObject *object, Manifest *manifest, GError **error)
{
  guint64 created;

  if (!parse_strings (object, manifest, error) ||
      !json_get_uint64 (object, "created_us", &created, error) ||
      !parse_origin (object, manifest, error) ||
      !parse_object (object, "machine", &manifest->machine, error) ||
      !parse_object (object, "report", &manifest->report, error))
    return FALSE;
  manifest->created_us = created;
  JsonArray *parts = json_get_array (object, "parts", error);
  if (parts == NULL)
    return FALSE;
  if (json_array_get_length (parts) > PARTS_MAX)
    return set_wrong (error, "there are too many parts");
  for (guint i = 0; i < json_array_get_length (parts); i++)
    if (!parse_part (json_array_get_element (parts, i), manifest, error))
      return FALSE;
  return TRUE;
}

Manifest *
manifest_from_bytes (GBytes *bytes, GError **error)
{
  ERROR_PREFIX (error, "the manifest cannot be understood");
  g_autoptr (Manifest) manifest = manifest_new();
  g_autoptr (GError) cause = NULL;
  g_autoptr (JsonObject) object = text_object_read (bytes, MANIFEST_MAGIC, NULL, error);

  if (object == NULL)
    return NULL;
  if (parse_manifest (object, manifest, &cause))
    return g_steal_pointer (&manifest);
  g_set_error_literal (error, STORE_ERROR, STORE_ERROR_DAMAGED, cause->message);
  return NULL;
}
