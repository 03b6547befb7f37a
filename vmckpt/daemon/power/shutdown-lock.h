/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The host is not to go down before its guests were looked after. While guests run, logind's delay
 * lock (org.freedesktop.login1.Manager.Inhibit) is held. When a shutdown is announced, systemd is
 * asked to stop the unit that saves guests, earlier than the shutdown itself would; once that is
 * done, or no guest runs any more, the lock is given up. logind waits for InhibitDelayMaxSec at
 * most; after that the shutdown begins and waits for the unit's own stop.
 *
 * Without a bus or logind it says so once and does nothing. All on the main thread; nothing blocks.
 */
#pragma once

#include <glib.h>

typedef struct ShutdownLock ShutdownLock;

/**
 * shutdown_lock_new:
 * @unit: systemd's unit that saves guests when it is stopped
 *
 * Connects to the system's bus.
 */
ShutdownLock *shutdown_lock_new (const char *unit);

/* Gives the lock up and frees. */
void shutdown_lock_free (ShutdownLock *lock);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ShutdownLock, shutdown_lock_free)

/* How many guests run now; to be told every so often. */
void shutdown_lock_set_guests (ShutdownLock *lock, guint running);

/* TRUE while a shutdown would be delayed. */
gboolean shutdown_lock_is_held (const ShutdownLock *lock);
