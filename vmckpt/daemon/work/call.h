/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A request being answered: its handler runs on a thread of its own, while the main thread sends
 * the answer — whole, or as a stream of lines with progress — and watches whether the client is
 * still there.
 *
 *   main thread                              worker thread
 *   call_start ──────────────────────────▶  handler (request)
 *     │ a line a second at least  ◀── lines ── progress, messages
 *     │ client gone ──▶ cancellable ──▶       … gives up, puts the guest right
 *   send result  ◀────────────── done ──────  result or error
 */
#pragma once

#include "request.h"

#include <libsoup/soup.h>

/**
 * call_start:
 * @message: the exchange with the client; kept until it is answered
 * @request: (transfer full): parsed; its cancellable and listeners are set here
 * @streamed: answer with application/x-ndjson lines
 *
 * Main thread.
 */
void call_start (SoupServerMessage *message, Request *request, RequestHandler handler,
                 gboolean streamed);

/* Answers at once with @error. Main thread. */
void call_refuse (SoupServerMessage *message, const GError *error);

/* An error as the API shows it: { "kind", "message" }; newly allocated. */
JsonObject *call_error_to_json (const GError *error);

/* Answers at once with @object. Main thread. */
void call_answer (SoupServerMessage *message, JsonObject *object);
