/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A pack's footer (after 8 bytes that say where it begins), and its bytes as a frame. */
#include "pack.h"

#include "fuzz.h"

#include <string.h>

static void
try_frame (const guint8 *data, gsize size, FrameCodec codec)
{
  g_autoptr (GBytes) stored = g_bytes_new (data, size);
  const FrameInfo info = { PACK_HEADER_BYTES, (guint32)size, 65536, 16, codec };

  g_autoptr (GBytes) raw = frame_decode (stored, &info, NULL);
  g_assert_true (raw == NULL || g_bytes_get_size (raw) == info.raw_len);
}

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  guint64 frames_end;

  if (size < sizeof frames_end)
    return 0;
  memcpy (&frames_end, data, sizeof frames_end);
  g_autoptr (PackFooter) footer =
      pack_footer_parse (data + 8, size - 8, GUINT64_FROM_LE (frames_end), NULL);
  for (guint i = 0; footer != NULL && i < footer->n_frames; i++)
    g_assert_true (frame_info_sane (&footer->frames[i], GUINT64_FROM_LE (frames_end)));
  try_frame (data, size, FRAME_RAW);
  try_frame (data, size, FRAME_ZSTD);
  return 0;
}
