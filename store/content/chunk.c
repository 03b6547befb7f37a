/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "chunk.h"

#include <vmckpt/util/bytes.h>

#include <sodium.h>
#include <string.h>

void
chunk_name_of (const HashKey *key, const void *data, gsize len, ChunkName *name)
{
  crypto_generichash (name->bytes, sizeof name->bytes, data, len, key->bytes, sizeof key->bytes);
}

gboolean
chunk_name_is_zero (const ChunkName *name)
{
  static const ChunkName zero;
  return memcmp (name, &zero, sizeof zero) == 0;
}

guint
chunk_name_hash (gconstpointer name)
{
  guint value;
  memcpy (&value, name, sizeof value);
  return value;
}

gboolean
chunk_name_equal (gconstpointer a, gconstpointer b)
{
  return memcmp (a, b, CHUNK_NAME_BYTES) == 0;
}

int
chunk_name_compare (gconstpointer a, gconstpointer b)
{
  return memcmp (a, b, CHUNK_NAME_BYTES);
}

char *
chunk_name_to_hex (const ChunkName *name)
{
  return bytes_to_hex (name->bytes, sizeof name->bytes);
}

char *
object_name (const char *directory, const ChunkName *hash)
{
  g_autofree char *hex = chunk_name_to_hex (hash);

  if (g_str_equal (directory, "packs"))
    return g_strdup_printf ("packs/%.2s/%s", hex, hex);
  return g_strdup_printf ("%s/%s", directory, hex);
}

gboolean
object_name_parse (const char *name, const char *directory, ChunkName *hash)
{
  const char *last = strrchr (name, '/');

  if (last == NULL || !bytes_from_hex (last + 1, hash->bytes, sizeof hash->bytes))
    return FALSE;
  g_autofree char *expected = object_name (directory, hash);
  return g_str_equal (name, expected);
}
