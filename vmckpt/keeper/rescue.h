/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Puts a guest right whose checkpoint was left half done. It never cancels a migration: on QEMU 7.2
 * that leaves a guest hanging for good.
 *
 *   drain the stream ─┐
 *                     ├─▶ no migration going on ──▶ protection off ──▶ capability off ──▶ cont
 *   ask QEMU ─────────┘           │ none of this comes about
 *                                 └──▶ protection off, ask again
 */
#pragma once

#include <vmckpt/util/process.h>

typedef struct {
  guint64 drained;  /* bytes of the orphaned stream */
  guint ranges;     /* of memory that were still write-protected */
  gboolean resumed; /* the guest was stopped and was made to run */
  gboolean settled; /* QEMU says that no migration is going on */
  gint64 elapsed_us;
} RescueReport;

/**
 * rescue_async:
 * @monitor_path: a monitor of QEMU that nobody uses
 * @qemu: the process
 * @stream: (transfer full): read end of the orphaned stream, or -1
 * @resume: the guest must run afterwards; else it must be stopped afterwards
 * @callback: on the caller's context
 *
 * Works in a thread of its own: QEMU may take its time to answer.
 */
void rescue_async (const char *monitor_path, ProcessId qemu, int stream, gboolean resume,
                   GAsyncReadyCallback callback, gpointer user_data);
void rescue_finish (GAsyncResult *result, RescueReport *report);
