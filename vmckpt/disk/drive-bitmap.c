/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "drive-bitmap.h"

#include <vmckpt/util/json.h>

DriveBitmap
drive_bitmap_read (JsonObject *node, const char *name)
{
  JsonNode *member = json_object_get_member (node, "dirty-bitmaps");
  JsonArray *bitmaps =
      member != NULL && JSON_NODE_HOLDS_ARRAY (member) ? json_node_get_array (member) : NULL;

  for (guint i = 0; bitmaps != NULL && i < json_array_get_length (bitmaps); i++) {
    JsonNode *element = json_array_get_element (bitmaps, i);
    if (!JSON_NODE_HOLDS_OBJECT (element))
      continue;
    JsonObject *object = json_node_get_object (element);
    if (g_strcmp0 (json_get_string_or (object, "name", NULL), name) == 0)
      return (DriveBitmap){ .there = TRUE,
                            .recording = json_get_bool_or (object, "recording", FALSE),
                            .busy = json_get_bool_or (object, "busy", FALSE),
                            .inconsistent = json_get_bool_or (object, "inconsistent", FALSE),
                            .granularity = json_get_uint64_or (object, "granularity", 0),
                            .count = json_get_uint64_or (object, "count", 0) };
  }
  return (DriveBitmap){ 0 };
}
