/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The frames of an export (docs/api.md, "Export"), cut out of pieces of any size. */
#pragma once

#include <gio/gio.h>

#define FRAMES_TYPE "application/vnd.vmckpt.frames"
#define FRAME_MAX (1u << 20)

typedef struct {
  char type; /* 'D', 'Z', 'J' */
  const guint8 *data;
  gsize len;
} Frame;

typedef struct FrameSplitter FrameSplitter;

FrameSplitter *frame_splitter_new (void);
void frame_splitter_free (FrameSplitter *splitter);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FrameSplitter, frame_splitter_free)

/* Adds what came; copied. */
void frame_splitter_add (FrameSplitter *splitter, gconstpointer data, gsize len);

/**
 * frame_splitter_next:
 * @frame: (out): the next whole frame, valid until the next call
 * @error: set if what came are no frames
 *
 * Returns: FALSE if there is none yet, or with @error.
 */
gboolean frame_splitter_next (FrameSplitter *splitter, Frame *frame, GError **error);
