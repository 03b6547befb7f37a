/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A guest's clock after it has stood still: how far it is off, and setting it right, through the
 * guest agent. */
#pragma once

#include "guest.h"

/**
 * guest_clock_sync:
 * @set: set it right, if it is off by more than 100 ms
 *
 * For a guest that was just resumed. Takes as long as its agent needs to answer: 15 s at most the
 * first time, then 5 s.
 *
 * Returns: (transfer full): the API's object: {"skew_ms","set","note"}. The guest's clock minus the
 * host's, before it was set; null, with the reason, where nobody can tell.
 */
JsonObject *guest_clock_sync (Guest *guest, gboolean set, GCancellable *cancellable);
