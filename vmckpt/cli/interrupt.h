/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SIGINT and SIGTERM: the first cancels what is at work, cleanly; the second ends the program at
 * once. Signal handlers have no argument, so this module (with terminal.c) holds process-wide
 * state.
 */
#pragma once

#include <gio/gio.h>

/**
 * interrupt_install:
 * @cancellable: cancelled, from the default main context, by the first signal
 *
 * Call once, in main(). SIGPIPE is ignored from then on.
 */
void interrupt_install (GCancellable *cancellable);

/* TRUE once a signal has come, also before the main loop has heard of it. */
gboolean interrupt_seen (void);
