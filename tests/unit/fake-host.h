/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Another host's daemon in a thread of the test, which says byte by byte what no HTTP server can be
 * made to say. It serves one connection at a time.
 */
#pragma once

#include <gio/gio.h>

typedef struct _FakeHost FakeHost;

/* In the host's thread, for each request. @request: "POST /v1/…"; @body: "" if there is none.
 * Returns: whether the connection stays. */
typedef gboolean (*FakeHostFunc) (FakeHost *host, const char *request, const char *body,
                                  gpointer data);

FakeHost *fake_host_start (FakeHostFunc func, gpointer data);
/* Closes its connection and waits for the thread, and so for @func. */
void fake_host_end (FakeHost *host);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FakeHost, fake_host_end)

/* How it is named to peer_new(); borrowed. */
const char *fake_host_name (const FakeHost *host);

/* How many requests have come. */
guint fake_host_requests (FakeHost *host);

/* For @func: */

/* Sends just these bytes; FALSE if the client has gone. */
gboolean fake_host_send (FakeHost *host, const char *text);

/* Sends a whole answer of that status, after which the connection has to be closed. */
void fake_host_answer (FakeHost *host, guint status, const char *type, const char *body);

/* Begins an answer of lines, which ends with the connection. */
void fake_host_begin_lines (FakeHost *host);

/* Until the client closes, or the test ends. */
void fake_host_wait_closed (FakeHost *host);
