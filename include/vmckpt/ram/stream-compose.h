/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A checkpoint as the migration stream that a QEMU would have written at that instant. */
#pragma once

#include <vmckpt/qmp/stream-writer.h>
#include <vmckpt/store/manifest.h>
#include <vmckpt/store/store.h>
#include <vmckpt/util/progress.h>

/* A RAM block that is declared without any of its pages. Borrowed. */
typedef struct {
  const char *block;
  /* (nullable): NULL: QEMU has it as a shared file, and the capability x-ignore-shared. Else it
   * need not have that, and this is called when all that comes before the pages has been sent:
   * where it says FALSE in @leave_out, they are sent after all. FALSE with @error ends it. */
  gboolean (*decide) (gboolean *leave_out, gpointer user_data, GError **error);
  gpointer user_data;
} StreamOmission;

/**
 * stream_compose:
 * @stream: new
 * @omission: (nullable): what is left out of it
 * @progress: (nullable): PHASE_REBUILD, in bytes of RAM
 *
 * Every page is verified on its way. The stream is complete when this returns TRUE. Blocks; any
 * thread.
 *
 * Returns: FALSE with STORE_ERROR (damaged), or what @stream's writing said.
 */
gboolean stream_compose (StreamWriter *stream, Store *store, const Manifest *manifest,
                         const StreamOmission *omission, const Progress *progress,
                         GCancellable *cancellable, GError **error);
