/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starting a daemon for a runtime directory when none answers. */
#pragma once

#include <gio/gio.h>

#define DAEMON_READY_MS 10000
/* The daemon's exit status when another one serves the directory (EX_TEMPFAIL). */
#define DAEMON_EXIT_BUSY 75

/**
 * daemon_find:
 *
 * Returns: (transfer full): vmckptd beside this program, in the build tree's place for it or where
 * it is installed; NULL with @error (CLI_ERROR_FAILED).
 */
char *daemon_find (GError **error);

/**
 * daemon_start_program:
 * @program: the daemon
 * @runtime: absolute name of the runtime directory; made with mode 0700 if it is not there
 * @deadline_ms: how long the daemon may take to become ready
 * @cancellable: ends the wait; the daemon then starts or not as it likes
 *
 * Starts the daemon in a session of its own, with its standard error in RUNTIME/vmckptd.log, and
 * waits until it says on a pipe that it is ready. When another daemon was faster, that one does.
 *
 * Returns: FALSE with @error (CLI_ERROR_FAILED with the end of the log, CLI_ERROR_INTERRUPTED).
 */
gboolean daemon_start_program (const char *program, const char *runtime, guint deadline_ms,
                               GCancellable *cancellable, GError **error);

/* Both, as an ApiStartFunc. */
gboolean daemon_start (const char *runtime, GCancellable *cancellable, GError **error);
