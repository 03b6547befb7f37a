/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Small objects of a store, each read as the store reads it. The first byte says which: t tag, w
 * announcement of a writer, c list of condemned packs, s list of writers that one waits for, l
 * claim. The rest is the text, to which the right hash line is added, or the right name is given.
 */
#include "announce.h"
#include "store-private.h"

#include "fuzz.h"

#include <vmckpt/store/claim.h>
#include <vmckpt/store/manifest.h>

#define UUID "6ba7b810-9dad-11d1-80b4-00c04fd430c8"

/* An object named by its content, or one with its hash in the last line. */
static void
put (Store *store, const char *name, const guint8 *data, gsize size)
{
  g_autoptr (GByteArray) text = g_byte_array_new();
  ChunkName hash;
  gboolean existed;

  chunk_name_of (&store->key, data, size, &hash);
  g_byte_array_append (text, data, (guint)size);
  if (name != NULL) {
    g_autofree char *hex = chunk_name_to_hex (&hash);
    g_byte_array_append (text, (const guint8 *)hex, 64);
    g_byte_array_append (text, (const guint8 *)"\n", 1);
  }
  g_autofree char *object = name != NULL ? g_strdup (name) : object_name ("tags", &hash);
  g_autoptr (GBytes) bytes = g_bytes_new (text->data, text->len);
  store->backend->ops->put_if_absent (store->backend, object, bytes, &existed, NULL);
}

/* What the store does with them. */
static void
read_all (Store *store)
{
  g_autoptr (Manifest) manifest = manifest_new();
  g_autoptr (GPtrArray) writers = announcements_list (store, NULL, NULL);
  g_autoptr (GPtrArray) bad = NULL;
  g_autoptr (GPtrArray) lists G_GNUC_UNUSED = condemned_list (store, &bad, NULL);
  g_autoptr (Claim) claim G_GNUC_UNUSED = store_claim_get (store, UUID, NULL);

  g_assert_nonnull (writers);
  manifest->id = g_strnfill (64, '0');
  g_auto (GStrv) tags G_GNUC_UNUSED = store_tags (store, manifest, NULL);
}

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  Backend *backend = backend_memory_new();

  store_init (backend, NULL);
  g_autoptr (Store) store = store_open (backend, NULL);
  if (size == 0)
    return 0;
  switch (data[0]) {
  case 't':
    put (store, NULL, data + 1, size - 1);
    break;
  case 'w':
    put (store, "writers/" UUID, data + 1, size - 1);
    break;
  case 's':
    put (store, "condemned/" UUID ".waits", data + 1, size - 1);
    G_GNUC_FALLTHROUGH;
  case 'c':
    put (store, "condemned/" UUID, data + 1, size - 1);
    break;
  default:
    put (store, "claims/" UUID "/1", data + 1, size - 1);
    break;
  }
  read_all (store);
  return 0;
}
