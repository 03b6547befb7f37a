/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The body of an export. Either the bytes alone, or, for clients that ask for EXPORT_FRAMES_TYPE,
 * frames, so that runs of zeros, progress and an error have a place (docs/api.md, "Export"):
 *
 *   u8 type | le32 n | n bytes
 *   'D' data   'Z' le64: so many zeros   'J' a JSON object: status, and last result or error
 */
#pragma once

#include <gio/gio.h>
#include <json-glib/json-glib.h>
#include <vmckpt/exchange/sink.h>

#define EXPORT_FRAMES_TYPE "application/vnd.vmckpt.frames"

typedef struct _ExportFrames ExportFrames;

/* Writes to @fd (borrowed), blocking. One thread at a time. */
ExportFrames *export_frames_new (int fd, gboolean framed, GCancellable *cancellable);
void export_frames_free (ExportFrames *frames);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ExportFrames, export_frames_free)

/* What the exchange writes to; valid as long as @frames. */
ExportSink export_frames_sink (ExportFrames *frames);

/* Bytes that the body stands for so far. */
guint64 export_frames_bytes (const ExportFrames *frames);

/* TRUE once a byte was written: then an error can only be told in a frame. */
gboolean export_frames_begun (const ExportFrames *frames);

/* Writes what is kept and @object, in the middle; without frames there is no place for that. */
gboolean export_frames_object (ExportFrames *frames, JsonObject *object, GError **error);

/* Writes what is kept and, framed, @last; without frames there is no place for it. */
gboolean export_frames_end (ExportFrames *frames, JsonObject *last, GError **error);
