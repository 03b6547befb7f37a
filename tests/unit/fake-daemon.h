/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A daemon for tests of the command line: answers as told and remembers what it was asked. */
#pragma once

#include <gio/gio.h>

typedef enum {
  FAKE_END,    /* the answer is complete */
  FAKE_HANG,   /* after it, nothing comes any more; the connection stays open */
  FAKE_CUT,    /* after it, the connection is cut */
  FAKE_CANCEL, /* as FAKE_HANG, and the client's cancellable is cancelled */
} FakeEnding;

typedef struct FakeDaemon FakeDaemon;

/* Listens on a socket in a new runtime directory, in a thread of its own. Freeing removes it. */
FakeDaemon *fake_daemon_new (void);
void fake_daemon_free (FakeDaemon *fake);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FakeDaemon, fake_daemon_free)

const char *fake_daemon_runtime (FakeDaemon *fake);

/* What FAKE_CANCEL cancels, from the default main context. */
void fake_daemon_set_cancellable (FakeDaemon *fake, GCancellable *cancellable);

/* How "METHOD PATH" (without query) is answered; @type NULL means JSON. */
void fake_daemon_answer (FakeDaemon *fake, const char *call, guint status, const char *type,
                         const char *body, FakeEnding ending);

/* How the WebSocket at @path behaves: sends @greeting, echoes in upper case, closes on "q". */
void fake_daemon_console (FakeDaemon *fake, const char *path, const char *greeting);

/* The requests so far, one per line: "METHOD PATH?QUERY BODY". Forgets them. */
char *fake_daemon_take_requests (FakeDaemon *fake);

/* Waits until a client has left a call that hangs; FALSE after ten seconds. */
gboolean fake_daemon_wait_left (FakeDaemon *fake);
