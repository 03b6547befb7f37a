/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "memory-layout.h"

#include <vmckpt/exchange/sink.h>
#include <vmckpt/util/json.h>

#include <string.h>

#define ABOVE_4G (G_GUINT64_CONSTANT (1) << 32)
/* Beyond, RAM above 4 GiB may begin at 1 TiB instead (on CPUs with an AMD address hole). */
#define PLAIN_MAX (G_GUINT64_CONSTANT (1000) << 30)

static JsonObject *
recorded_spec (const Manifest *manifest)
{
  return manifest->machine != NULL ? json_get_object (manifest->machine, "spec", NULL) : NULL;
}

const ManifestPart *
memory_main_part (const Manifest *manifest, GError **error)
{
  const ManifestPart *part = manifest_find_part (manifest, "ram", "pc.ram");
  JsonObject *spec = recorded_spec (manifest);
  guint64 bytes = spec != NULL ? json_get_uint64_or (spec, "ram_bytes", 0) : 0;

  for (guint i = 0; part == NULL && i < manifest->parts->len; i++) {
    const ManifestPart *one = manifest->parts->pdata[i];
    if (g_str_equal (one->role, "ram") && bytes > 0 && one->map.length == bytes)
      part = one;
  }
  if (part == NULL)
    g_set_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_NOT_FOUND,
                 "the checkpoint has no block 'pc.ram', nor one of the size of the guest's RAM");
  return part;
}

gboolean
memory_layout (const char *machine, guint64 length, MemoryRange ranges[2], guint *count,
               GError **error)
{
  guint64 low;

  if (g_str_has_prefix (machine, "pc-q35") || g_str_equal (machine, "q35"))
    low = length >= 0xb0000000 ? 0x80000000 : 0xb0000000;
  else if (g_str_has_prefix (machine, "pc-i440fx") || g_str_equal (machine, "pc"))
    low = length >= 0xe0000000 ? 0xc0000000 : 0xe0000000;
  else if (g_str_equal (machine, "microvm"))
    low = length >= 0xc0000000 ? 0xc0000000 : length;
  else
    low = 0;
  if (low == 0 || length > PLAIN_MAX) {
    g_set_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_UNSUPPORTED,
                 "where machine type %s has its %" G_GUINT64_FORMAT
                 " MiB of RAM is not known; the format ram, without addresses, works",
                 machine, length >> 20);
    return FALSE;
  }
  ranges[0] = (MemoryRange){ .length = MIN (length, low) };
  ranges[1] = (MemoryRange){ ABOVE_4G, low, length - ranges[0].length };
  *count = ranges[1].length > 0 ? 2 : 1;
  return TRUE;
}

/* An option of QEMU that moves memory is not understood here. */
static gboolean
has_odd_layout (JsonObject *spec)
{
  JsonArray *extra =
      json_object_has_member (spec, "extra") ? json_get_array (spec, "extra", NULL) : NULL;

  for (guint i = 0; extra != NULL && i < json_array_get_length (extra); i++) {
    const char *text = json_array_string_or_null (extra, i);
    if (text != NULL &&
        (strstr (text, "max-ram-below-4g") != NULL || strstr (text, "above-4g-mem-size") != NULL))
      return TRUE;
  }
  return FALSE;
}

gboolean
memory_layout_of (const Manifest *manifest, MemoryRange ranges[2], guint *count, GError **error)
{
  const ManifestPart *part = memory_main_part (manifest, error);
  JsonObject *spec = recorded_spec (manifest);

  if (part == NULL)
    return FALSE;
  if (spec == NULL || has_odd_layout (spec)) {
    g_set_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_UNSUPPORTED,
                 "the guest's memory is not where its machine type has it; the format ram, "
                 "without addresses, works");
    return FALSE;
  }
  return memory_layout (json_get_string_or (spec, "machine", "?"), part->map.length, ranges, count,
                        error);
}
