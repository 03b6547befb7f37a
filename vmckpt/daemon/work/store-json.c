/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store-json.h"

#include <vmckpt/util/json.h>

JsonObject *
store_gc_to_json (const StoreGcReport *report)
{
  JsonObject *object = json_object_new();

  json_object_set_int_member (object, "deleted_packs", report->deleted_packs);
  json_object_set_int_member (object, "freed_bytes", report->freed_bytes);
  json_object_set_int_member (object, "rewritten_chunks", report->rewritten_chunks);
  json_object_set_int_member (object, "waiting_packs", report->waiting_packs);
  return object;
}

JsonObject *
store_finding_to_json (const StoreFinding *finding)
{
  JsonObject *object = json_object_new();
  JsonArray *checkpoints = json_array_new();

  for (guint i = 0; finding->checkpoints != NULL && finding->checkpoints[i] != NULL; i++)
    json_array_add_string_element (checkpoints, finding->checkpoints[i]);
  json_object_set_string_member (object, "object", finding->object);
  json_object_set_string_member (object, "problem", finding->problem);
  json_object_set_array_member (object, "checkpoints", checkpoints);
  json_object_set_boolean_member (object, "left_to_gc", finding->left_to_gc);
  return object;
}

static JsonObject *
hurt_part_to_json (const StoreHurtPart *part)
{
  JsonObject *object = json_object_new();
  JsonArray *ranges = json_array_new();

  for (guint i = 0; i < part->ranges->len; i++) {
    const StorePageRange *range = &g_array_index (part->ranges, StorePageRange, i);
    JsonObject *one = json_object_new();
    json_object_set_int_member (one, "offset", range->first * PAGE_SIZE_BYTES);
    json_object_set_int_member (one, "bytes", range->count * PAGE_SIZE_BYTES);
    json_array_add_object_element (ranges, one);
  }
  json_object_set_string_member (object, "role", part->role);
  json_object_set_string_member (object, "name", part->name);
  json_object_set_int_member (object, "length", part->length);
  json_object_set_int_member (object, "hurt_pages", part->hurt_pages);
  json_object_set_int_member (object, "left_pages", part->left_pages);
  json_object_set_array_member (object, "ranges", ranges);
  json_object_set_int_member (object, "more_ranges", part->more_ranges);
  return object;
}

static JsonObject *
hurt_to_json (const StoreHurt *hurt)
{
  JsonObject *object = json_object_new();
  JsonArray *parts = json_array_new();

  for (guint i = 0; i < hurt->parts->len; i++)
    json_array_add_object_element (parts, hurt_part_to_json (hurt->parts->pdata[i]));
  json_object_set_string_member (object, "id", hurt->id);
  json_set_string_or_null (object, "guest", hurt->guest);
  json_object_set_int_member (object, "created_us", hurt->created_us);
  json_set_string_or_null (object, "problem", hurt->problem);
  json_object_set_boolean_member (object, "healed", hurt->healed);
  json_set_string_or_null (object, "replaced_by", hurt->replaced_by);
  json_object_set_array_member (object, "parts", parts);
  return object;
}

JsonObject *
store_repair_to_json (const StoreRepair *repair)
{
  JsonObject *object = json_object_new();
  JsonArray *findings = json_array_new(), *hurt = json_array_new();

  for (guint i = 0; i < repair->findings->len; i++)
    json_array_add_object_element (findings, store_finding_to_json (repair->findings->pdata[i]));
  for (guint i = 0; i < repair->hurt->len; i++)
    json_array_add_object_element (hurt, hurt_to_json (repair->hurt->pdata[i]));
  json_object_set_array_member (object, "findings", findings);
  json_object_set_array_member (object, "hurt", hurt);
  json_object_set_int_member (object, "damaged_packs", repair->damaged_packs);
  json_object_set_int_member (object, "missing_packs", repair->missing_packs);
  json_object_set_int_member (object, "unreadable_packs", repair->unreadable_packs);
  json_object_set_int_member (object, "salvaged_chunks", repair->salvaged_chunks);
  json_object_set_int_member (object, "fetched_pages", repair->fetched_pages);
  json_object_set_int_member (object, "index_tables", repair->index_tables);
  json_object_set_int_member (object, "indexed_packs", repair->indexed_packs);
  return object;
}

JsonObject *
store_copied_to_json (const StoreCopied *copied)
{
  JsonObject *object = json_object_new();

  json_object_set_string_member (object, "source", copied->source);
  json_object_set_string_member (object, "guest", copied->guest);
  json_set_string_or_null (object, "id", copied->id);
  json_set_string_or_null (object, "problem", copied->problem);
  json_object_set_boolean_member (object, "there", copied->there);
  json_object_set_int_member (object, "pages_read", copied->pages_read);
  json_object_set_int_member (object, "new_bytes", copied->new_bytes);
  json_object_set_int_member (object, "stored_bytes", copied->stored_bytes);
  return object;
}
