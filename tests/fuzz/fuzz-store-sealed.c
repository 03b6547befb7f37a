/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A sealed object, read whole and in ranges, under the name and key of the corpus. Only what was
 * sealed opens: the corpus' content is all one letter. */
#include "backend-sealed.h"

#include "fuzz.h"

static void
try_range (Backend *backend, guint64 offset, gsize len)
{
  g_autoptr (GBytes) bytes = backend->ops->get (backend, "packs/p", offset, len, NULL);
  gsize size;
  const guint8 *data = bytes != NULL ? g_bytes_get_data (bytes, &size) : NULL;

  for (gsize i = 0; data != NULL && i < size; i++)
    g_assert_cmpint (data[i], ==, 'c');
}

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  static const SealKey key = { "a key that everybody here knows" };
  Backend *inner = backend_memory_new();
  g_autoptr (Backend) sealed = backend_sealed_new (inner, &key);
  g_autoptr (GBytes) bytes = g_bytes_new (data, size);
  gboolean existed;
  guint64 shown;

  inner->ops->put_if_absent (inner, "packs/p", bytes, &existed, NULL);
  sealed->ops->stat (sealed, "packs/p", &shown, NULL);
  g_assert_cmpuint (shown, <=, size);
  try_range (sealed, 0, G_MAXSIZE);
  try_range (sealed, 4000, 200);
  try_range (sealed, shown / 2, shown - shown / 2);
  return 0;
}
