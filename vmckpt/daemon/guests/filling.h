/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guests whose memory still comes from a checkpoint: served by this daemon, taken over from an
 * earlier one, and what happens when pages cannot be read: the guest is paused with the reason, and
 * goes on when its user says so and they can be.
 */
#pragma once

#include "guest.h"
#include "stores.h"

/* A LazyFillFunc; @guest: a Guest, which owns that fill. */
void filling_watch (LazyFillEvent event, gpointer guest);

/**
 * filling_take_over:
 *
 * If pages of @guest are missing and nobody serves them, this daemon does from now on, provided
 * that their store can be opened without a key, or is open. If not, the guest is paused, with the
 * reason. Worker thread, with work begun.
 */
void filling_take_over (Guest *guest, Stores *stores);

/**
 * filling_retry:
 *
 * To be called before a guest goes on: tries again what it waits for, and returns when that is
 * there. Does nothing for a guest that waits for nothing. The same threads.
 */
gboolean filling_retry (Guest *guest, Stores *stores, GCancellable *cancellable, GError **error);

/* Waits until all of its memory is there; FALSE with @error if that cannot be. @progress:
 * PHASE_READ. Any thread. */
gboolean filling_wait (Guest *guest, const Progress *progress, GCancellable *cancellable,
                       GError **error);
