/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The report of a checkpoint, as the API gives it and the manifest keeps it (docs/api.md). */
#pragma once

#include <vmckpt/disk/disk-capture.h>
#include <vmckpt/ram/capture.h>

/* @disks: (nullable): of DiskReport. @began_us, @commit_began_us: monotonic times. The report's id
 * is set when it is known. */
JsonObject *report_new (const Manifest *manifest, const CaptureReport *capture,
                        const GPtrArray *disks, const StoreWriterStats *stats, JsonArray *messages,
                        gint64 began_us, gint64 commit_began_us);
