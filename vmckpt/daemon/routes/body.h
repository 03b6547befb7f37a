/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An answer's body that is made while it is sent, of any length.
 *
 *   worker thread: BodyFunc ──▶ ExportFrames ──pipe──▶ main thread ──▶ the connection
 *
 * The pipe bounds what is under way; a client that reads slowly slows the worker down. One that
 * leaves cancels the request.
 */
#pragma once

#include "export-frames.h"
#include "router.h"

/* Writes all of the body, with export_frames_end() as the last. Worker thread; may block. */
typedef gboolean (*BodyFunc) (Request *request, ExportFrames *frames, GError **error);

/* Answers with what @func writes: for a RawHandler. */
void body_serve (Daemon *daemon, SoupServerMessage *message, Request *request, BodyFunc func);
