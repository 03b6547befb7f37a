/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A frame of deltas (after a byte that says of how many), with the hash that it should have. */
#include "delta.h"

#include "fuzz.h"

#include <string.h>

static const HashKey key = { { 0 } };

static void
try_frame (const guint8 *data, gsize size, guint count)
{
  g_autoptr (GBytes) stored = g_bytes_new (data, size);
  const FrameInfo info = { PACK_HEADER_BYTES, (guint32)size, count * PAGE_SIZE_BYTES, count,
                           FRAME_DELTA };
  g_autoptr (GBytes) frame = delta_frame_decode (stored, &info, &key, NULL);
  guint8 page[PAGE_SIZE_BYTES] = { 0 };
  Delta delta;
  guint i = 0;

  if (frame == NULL)
    return;
  for (; delta_frame_get (frame, i, &delta); i++)
    delta_apply (&delta, page);
  g_assert_cmpuint (i, ==, count);
}

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  ChunkName hash;

  if (size < 1 + sizeof hash)
    return 0;
  g_autofree guint8 *frame = g_memdup2 (data + 1, size - 1);
  try_frame (frame, size - 1, data[0]);
  chunk_name_of (&key, frame + sizeof hash, size - 1 - sizeof hash, &hash);
  memcpy (frame, &hash, sizeof hash);
  try_frame (frame, size - 1, data[0]);
  return 0;
}
