/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A checkpoint as the migration stream that a QEMU would have written at that instant. */
#pragma once

#include <vmckpt/qmp/stream-writer.h>
#include <vmckpt/store/manifest.h>
#include <vmckpt/store/store.h>
#include <vmckpt/util/progress.h>

/**
 * stream_compose:
 * @stream: new
 * @left_out: (nullable): RAM block that is declared without any of its pages, for a QEMU that has
 *   it as a shared file; it needs the capability x-ignore-shared then
 * @progress: (nullable): PHASE_REBUILD, in bytes of RAM
 *
 * Every page is verified on its way. The stream is complete when this returns TRUE. Blocks; any
 * thread.
 *
 * Returns: FALSE with STORE_ERROR (damaged), or what @stream's writing said.
 */
gboolean stream_compose (StreamWriter *stream, Store *store, const Manifest *manifest,
                         const char *left_out, const Progress *progress, GCancellable *cancellable,
                         GError **error);
