/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Feeding a QEMU from a checkpoint, with or without the pages of one block. */
#pragma once

#include <vmckpt/ram/stream-engine.h>

/**
 * stream_restore_feed:
 * @opened: (nullable): from restore_stream_open(), with the same @left_out
 * @left_out: (nullable): RAM block whose pages QEMU has already, as a shared file; declared without
 *   any
 *
 * As stream_engine_restore().
 */
gboolean stream_restore_feed (QmpClient *monitor, RestoreStream *opened, Store *store,
                              const Manifest *manifest, const char *left_out,
                              const Progress *progress, GCancellable *cancellable, GError **error);
