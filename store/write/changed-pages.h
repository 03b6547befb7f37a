/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What becomes of pages that changed: deltas where they changed little, pages in full otherwise,
 * and noise in frames of its own. Whether deltas are tried at all is learnt from what became of the
 * pages before (delta-base.h).
 *
 * Any thread. Its lock guards the rule alone; nothing is done under it.
 */
#pragma once

#include "delta-base.h"
#include "frame-task.h"
#include "stored-chunks.h"

typedef struct _ChangedPages ChangedPages;

/* All are borrowed and outlive it: @stored finds the bases, @pool is that of frames. Newly
 * allocated. */
ChangedPages *changed_pages_new (Store *store, StoredChunks *stored, BufferPool *pool);

/* Frees @pages; NULL is ignored. */
void changed_pages_free (ChangedPages *pages);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ChangedPages, changed_pages_free)

/* STORE_DELTA_AUTO at first. */
void changed_pages_set_mode (ChangedPages *pages, StoreDeltaMode mode);

/* Whether any page may become a delta. */
gboolean changed_pages_wants_any (ChangedPages *pages);

/* Takes a frame that is to be put into a pack; both are borrowed. */
typedef void (*ChangedFrameFunc) (FrameTask *frame, GBytes *stored, FrameCodec codec,
                                  gpointer user_data);

/* Gives @func all pages of @task (from frame_task_new_changing()), each in one frame. Blocks for
 * the reading of bases. */
void changed_pages_encode (ChangedPages *pages, const FrameTask *task, FrameEncoder *encoder,
                           ChangedFrameFunc func, gpointer user_data);
