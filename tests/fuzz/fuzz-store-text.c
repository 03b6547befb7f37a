/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Objects that are text: a manifest, and the format object and the limits with a right
 * hash line appended. */
#include "format.h"
#include "quota-private.h"
#include "text-object.h"

#include "fuzz.h"

#include <vmckpt/store/manifest.h>

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  static const HashKey no_key;
  g_autoptr (GBytes) bytes = g_bytes_new (data, size);
  g_autoptr (Manifest) manifest = manifest_from_bytes (bytes, NULL);
  g_auto (StoreFormat) format = { 0 };
  g_autoptr (GByteArray) text = g_byte_array_new();
  ChunkName hash;

  if (manifest != NULL) {
    g_autoptr (GBytes) written = manifest_to_bytes (manifest);
    g_autoptr (Manifest) again = manifest_from_bytes (written, NULL);
    g_assert_nonnull (again);
  }
  chunk_name_of (&no_key, data, size, &hash);
  g_autofree char *hex = chunk_name_to_hex (&hash);
  g_byte_array_append (text, data, (guint)size);
  g_byte_array_append (text, (const guint8 *)hex, 64);
  g_byte_array_append (text, (const guint8 *)"\n", 1);
  g_autoptr (GBytes) with_hash = g_bytes_new (text->data, text->len);
  store_format_parse (with_hash, &format, NULL);
  g_autoptr (StoreQuota) quota = quota_from_bytes (with_hash, &no_key, NULL);
  if (quota != NULL) {
    g_autoptr (GBytes) written = quota_to_bytes (quota, &no_key);
    g_autoptr (StoreQuota) again = quota_from_bytes (written, &no_key, NULL);
    g_assert_nonnull (again);
  }
  return 0;
}
