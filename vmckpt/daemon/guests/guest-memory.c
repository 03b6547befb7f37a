/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "guest-memory.h"

#include <vmckpt/util/fd.h>
#include <vmckpt/util/json.h>

#include <string.h>

#define MAX_FILE 65536
#define MAX_CLAIMS 64

static const char *const departure_states[] = {
  [DEPARTURE_MOVING] = "moving", [DEPARTURE_GOING] = "going", [DEPARTURE_MOVED] = "moved"
};

void
departure_free (Departure *departure)
{
  if (departure == NULL)
    return;
  g_free (departure->id);
  g_free (departure->to);
  g_free (departure->records);
  g_free (departure);
}

Departure *
departure_copy (const Departure *departure)
{
  Departure *copy = g_new (Departure, 1);

  *copy = *departure;
  copy->id = g_strdup (departure->id);
  copy->to = g_strdup (departure->to);
  copy->records = g_strdup (departure->records);
  return copy;
}

static JsonObject *
departure_to_json (const Departure *departure)
{
  JsonObject *object = json_object_new();

  json_object_set_string_member (object, "id", departure->id);
  json_object_set_string_member (object, "to", departure->to);
  json_object_set_string_member (object, "state", departure_states[departure->state]);
  json_object_set_boolean_member (object, "runs", departure->runs);
  json_set_string_or_null (object, "records", departure->records);
  return object;
}

static Departure *
departure_from_json (JsonObject *object)
{
  const char *id = json_get_string_or (object, "id", NULL);
  const char *to = json_get_string_or (object, "to", NULL);
  const char *name = json_get_string_or (object, "state", "");

  for (guint i = 0; id != NULL && to != NULL && i < G_N_ELEMENTS (departure_states); i++)
    if (g_str_equal (name, departure_states[i])) {
      const Departure read = {
        .id = (char *)id,
        .to = (char *)to,
        .records = (char *)json_get_string_or (object, "records", NULL),
        .state = i,
        .runs = json_get_bool_or (object, "runs", TRUE),
      };
      return departure_copy (&read);
    }
  return NULL;
}

GuestMemory *
guest_memory_new (void)
{
  GuestMemory *memory = g_new0 (GuestMemory, 1);
  memory->started_us = g_get_real_time();
  memory->claims = g_ptr_array_new_with_free_func (g_free);
  return memory;
}

void
guest_memory_free (GuestMemory *memory)
{
  if (memory == NULL)
    return;
  g_free (memory->checkpoint);
  g_ptr_array_unref (memory->claims);
  standstill_free (memory->standstill);
  disk_base_free (memory->disk_base);
  departure_free (memory->departure);
  g_free (memory);
}

void
guest_memory_load (GuestMemory *memory, const char *directory)
{
  g_autofree char *path = g_build_filename (directory, GUEST_FILE_DAEMON, NULL);
  g_autofree char *text = NULL;
  g_autoptr (GError) error = NULL;
  gsize len;

  if (!g_file_get_contents (path, &text, &len, &error)) {
    memory->doubted = !g_error_matches (error, G_FILE_ERROR, G_FILE_ERROR_NOENT);
    return;
  }
  g_autoptr (JsonObject) object = json_parse_bounded (text, len, MAX_FILE, 4, NULL);
  if (object == NULL) {
    memory->doubted = TRUE;
    return;
  }
  g_free (memory->checkpoint);
  memory->checkpoint = g_strdup (json_get_string_or (object, "checkpoint", NULL));
  memory->started_us = json_get_uint64_or (object, "started_us", memory->started_us);
  JsonObject *standstill = json_get_object (object, "standstill", NULL);
  standstill_free (memory->standstill);
  memory->standstill = standstill != NULL ? standstill_from_json (standstill) : NULL;
  JsonObject *disk_base = json_get_object (object, "disk_base", NULL);
  disk_base_free (memory->disk_base);
  memory->disk_base = disk_base != NULL ? disk_base_from_json (disk_base) : NULL;
  JsonObject *departure = json_get_object (object, "departure", NULL);
  departure_free (memory->departure);
  memory->departure = departure != NULL ? departure_from_json (departure) : NULL;
  memory->doubted = json_get_bool_or (object, "doubted", FALSE) ||
                    (json_object_has_member (object, "departure") && memory->departure == NULL);
  JsonArray *claims = json_get_array (object, "claims", NULL);
  for (guint i = 0; claims != NULL && i < json_array_get_length (claims); i++)
    guest_memory_add_claim (memory, json_array_string_or_null (claims, i));
}

gboolean
guest_memory_save (const GuestMemory *memory, const char *directory, GError **error)
{
  g_autofree char *path = g_build_filename (directory, GUEST_FILE_DAEMON, NULL);
  g_autoptr (JsonObject) object = json_object_new();
  JsonArray *claims = json_array_new();

  if (memory->checkpoint != NULL)
    json_object_set_string_member (object, "checkpoint", memory->checkpoint);
  json_object_set_int_member (object, "started_us", memory->started_us);
  for (guint i = 0; i < memory->claims->len; i++)
    json_array_add_string_element (claims, g_ptr_array_index (memory->claims, i));
  json_object_set_array_member (object, "claims", claims);
  if (memory->standstill != NULL)
    json_object_set_object_member (object, "standstill", standstill_to_json (memory->standstill));
  if (memory->disk_base != NULL)
    json_object_set_object_member (object, "disk_base", disk_base_to_json (memory->disk_base));
  if (memory->departure != NULL)
    json_object_set_object_member (object, "departure", departure_to_json (memory->departure));
  if (memory->doubted)
    json_object_set_boolean_member (object, "doubted", TRUE);
  g_autofree char *text = json_to_pretty (object);
  return !g_file_test (directory, G_FILE_TEST_IS_DIR) ||
         fd_replace_file (path, text, strlen (text), error);
}

GStrv
guest_memory_claims (const GuestMemory *memory)
{
  g_autoptr (GStrvBuilder) builder = g_strv_builder_new();

  for (guint i = 0; i < memory->claims->len; i++)
    g_strv_builder_add (builder, g_ptr_array_index (memory->claims, i));
  return g_strv_builder_end (builder);
}

void
guest_memory_add_claim (GuestMemory *memory, const char *store_path)
{
  if (store_path == NULL || memory->claims->len >= MAX_CLAIMS ||
      g_ptr_array_find_with_equal_func (memory->claims, store_path, g_str_equal, NULL))
    return;
  g_ptr_array_add (memory->claims, g_strdup (store_path));
}
