/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   04 | be32 section | u8 n, name | be32 instance | be32 version | fields | subsections | 7e be32
 *        subsection: 05 | u8 n, name | be32 version | fields | subsections
 *   … 00 06 be32 n | {"devices": [{"name", "instance_id", "fields": [{"name", "size",
 *        "array_len"?, "struct"?: {…}}], "subsections"?: [{"vmsd_name", "fields", …}]}]}
 */
#include "vmstate.h"

#include <vmckpt/exchange/sink.h>
#include <vmckpt/util/bytes.h>
#include <vmckpt/util/json.h>

#include <string.h>

#define DESCRIPTION_MAX (64u << 20)
#define DESCRIPTION_DEPTH 128
#define DESCRIPTION_VALUES (1u << 19) /* parsed, each takes hundreds of bytes */
#define END_OF_SECTIONS 0x00
#define SECTION_FULL 0x04
#define SUBSECTION 0x05
#define DESCRIPTION 0x06
#define FOOTER 0x7e

struct _VmState {
  GBytes *bytes;
  JsonObject *description;
  GArray *sections; /* of VmSection */
};

void
vmstate_free (VmState *state)
{
  g_clear_pointer (&state->description, json_object_unref);
  g_array_unref (state->sections);
  g_bytes_unref (state->bytes);
  g_free (state);
}

static gboolean
mismatch (GError **error, const char *name)
{
  g_set_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_DAMAGED,
               "the state of device %s is not as the stream describes it", name);
  return FALSE;
}

/* At least as many as @text has: what is in strings is counted, too. */
static gsize
count_values (const char *text, gsize len)
{
  gsize count = 0;

  for (gsize i = 0; i < len; i++)
    count += text[i] == ',' || text[i] == '{' || text[i] == '[';
  return count;
}

static JsonObject *
parse_description (const char *text, gsize len, GError **error)
{
  if (count_values (text, len) <= DESCRIPTION_VALUES)
    return json_parse_bounded (text, len, DESCRIPTION_MAX, DESCRIPTION_DEPTH, error);
  g_set_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_DAMAGED,
               "the description of the device state is larger than any machine's");
  return NULL;
}

/* The description at the end; NULL if there is none. */
static JsonObject *
find_description (const guint8 *data, gsize len, GError **error)
{
  for (gsize at = len; at-- > 0;) {
    ByteReader reader = BYTE_READER (data + at, len - at);
    if (data[at] != DESCRIPTION)
      continue;
    byte_reader_u8 (&reader);
    guint32 size = byte_reader_be32 (&reader);
    if (reader.failed || size != byte_reader_left (&reader) || size == 0 ||
        data[at + reader.pos] != '{')
      continue;
    return parse_description ((const char *)data + at + reader.pos, size, error);
  }
  g_set_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_UNSUPPORTED,
               "the device state bears no description of its fields (suppress-vmdesc)");
  return NULL;
}

/* Element @index of an array if it is an object (borrowed), else NULL. */
static JsonObject *
object_at (JsonArray *array, guint index)
{
  JsonNode *node = json_array_get_element (array, index);
  return JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
}

static JsonArray *
array_or_null (JsonObject *object, const char *member)
{
  return json_object_has_member (object, member) ? json_get_array (object, member, NULL) : NULL;
}

/* Bytes of a described field, all its elements; FALSE if that is not said. */
static gboolean
field_bytes (JsonObject *field, guint64 *size, guint64 *count)
{
  *count = 1;
  return json_get_uint64 (field, "size", size, NULL) && *size <= G_MAXUINT32 &&
         (!json_object_has_member (field, "array_len") ||
          json_get_uint64 (field, "array_len", count, NULL)) &&
         *count <= G_MAXUINT32;
}

/* Passes the fields and subsections of @description. */
static gboolean
pass_body (ByteReader *reader, JsonObject *description, guint depth)
{
  JsonArray *fields = array_or_null (description, "fields");
  JsonArray *subsections = array_or_null (description, "subsections");
  guint64 size, count;

  for (guint i = 0; fields != NULL && i < json_array_get_length (fields); i++) {
    JsonObject *field = object_at (fields, i);
    if (field == NULL || !field_bytes (field, &size, &count) ||
        size * count > byte_reader_left (reader))
      return FALSE;
    byte_reader_take (reader, size * count);
  }
  for (guint i = 0; subsections != NULL && i < json_array_get_length (subsections); i++) {
    JsonObject *subsection = object_at (subsections, i);
    if (subsection == NULL || depth == 0 || byte_reader_u8 (reader) != SUBSECTION)
      return FALSE;
    byte_reader_take (reader, byte_reader_u8 (reader));
    byte_reader_be32 (reader);
    if (!pass_body (reader, subsection, depth - 1))
      return FALSE;
  }
  return !reader->failed;
}

static gboolean
take_section (VmState *state, ByteReader *reader, JsonObject *device, GError **error)
{
  const char *name = json_get_string_or (device, "name", "?");
  VmSection section = { .name = name, .description = device };
  gboolean full = byte_reader_u8 (reader) == SECTION_FULL;
  guint32 id = byte_reader_be32 (reader);
  guint8 len = byte_reader_u8 (reader);
  const guint8 *text = byte_reader_take (reader, len);

  section.instance = byte_reader_be32 (reader);
  byte_reader_be32 (reader); /* version */
  if (!full || text == NULL || strlen (name) != len || memcmp (name, text, len) != 0 ||
      reader->failed)
    return mismatch (error, name);
  gsize begin = reader->pos;
  if (!pass_body (reader, device, DESCRIPTION_DEPTH))
    return mismatch (error, name);
  section.data = reader->data + begin;
  section.len = reader->pos - begin;
  if (byte_reader_u8 (reader) != FOOTER || byte_reader_be32 (reader) != id)
    return mismatch (error, name);
  g_array_append_val (state->sections, section);
  return TRUE;
}

VmState *
vmstate_new (GBytes *device_state, GError **error)
{
  g_autoptr (VmState) state = g_new0 (VmState, 1);
  gsize len;
  const guint8 *data = g_bytes_get_data (device_state, &len);
  ByteReader reader = BYTE_READER (data, len);

  state->bytes = g_bytes_ref (device_state);
  state->sections = g_array_new (FALSE, FALSE, sizeof (VmSection));
  state->description = find_description (data, len, error);
  JsonArray *devices =
      state->description != NULL ? json_get_array (state->description, "devices", error) : NULL;
  if (devices == NULL)
    return NULL;
  for (guint i = 0; i < json_array_get_length (devices); i++) {
    JsonObject *device = object_at (devices, i);
    if (device == NULL ? !mismatch (error, "?") : !take_section (state, &reader, device, error))
      return NULL;
  }
  if (byte_reader_u8 (&reader) != END_OF_SECTIONS || byte_reader_u8 (&reader) != DESCRIPTION) {
    mismatch (error, "behind the last one");
    return NULL;
  }
  return g_steal_pointer (&state);
}

guint
vmstate_length (const VmState *state)
{
  return state->sections->len;
}

const VmSection *
vmstate_get (const VmState *state, guint index)
{
  return &g_array_index (state->sections, VmSection, index);
}

/* Looks for @name among the fields that @data begins with. */
static gboolean
find_field (JsonObject *description, const guint8 *data, gsize len, const char *name,
            VmField *found)
{
  JsonArray *fields = array_or_null (description, "fields");
  guint64 size, count;

  for (guint i = 0; fields != NULL && i < json_array_get_length (fields); i++) {
    JsonObject *field = object_at (fields, i);
    if (field == NULL || !field_bytes (field, &size, &count) || size * count > len)
      return FALSE;
    if (g_str_equal (json_get_string_or (field, "name", ""), name)) {
      *found = (VmField){ .data = data, .size = size, .count = count };
      if (json_object_has_member (field, "struct"))
        found->members = json_get_object (field, "struct", NULL);
      return TRUE;
    }
    data += size * count;
    len -= size * count;
  }
  return FALSE;
}

gboolean
vmstate_find (const VmSection *section, const char *name, VmField *field)
{
  return find_field (section->description, section->data, section->len, name, field);
}

gboolean
vmstate_find_member (const VmField *field, guint index, const char *name, VmField *member)
{
  return field->members != NULL && index < field->count &&
         find_field (field->members, field->data + index * field->size, field->size, name, member);
}

guint64
vmstate_number (const VmField *field, guint index)
{
  guint64 value = 0;

  if (index >= field->count || field->size > sizeof value)
    return 0;
  for (gsize i = 0; i < field->size; i++)
    value = value << 8 | field->data[index * field->size + i];
  return value;
}
