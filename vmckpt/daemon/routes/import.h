/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * POST /v1/imports: a checkpoint that comes as the request's body, of any length, and is read while
 * it comes.
 *
 *   the connection ──▶ main thread ──socket pair──▶ worker thread: exchange ──▶ store
 *
 * The socket pair bounds what is under way: while it is full, the connection is not read. A body
 * that turns out bad is read to its end all the same and dropped: only then can the client be told.
 */
#pragma once

#include "request.h"

#include <libsoup/soup.h>

#define IMPORT_PATH "/v1/imports"

/* TRUE if @message is an import: its body may be long, and is not collected. */
gboolean import_is_meant (SoupServerMessage *message);

/* Once: sees to it that imports begin when their headers are read. */
void import_attach (SoupServer *server, Daemon *daemon);

/* RawHandler: the body has been read. */
void import_serve (Daemon *daemon, SoupServerMessage *message, Request *request);
