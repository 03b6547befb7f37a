/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The beginning of a monitor's life, done with poll(2) because no main loop need run yet. */
#pragma once

#include "session.h"
#include "transport.h"

/**
 * qmp_handshake:
 * @session: gets the events that come meanwhile
 * @greeting: (out): what the server said of itself
 * @deadline_us: g_get_monotonic_time() at which to give up
 *
 * Waits for the greeting and leaves capabilities negotiation, with "oob" where it is offered.
 *
 * Returns: FALSE with @error (QMP_ERROR).
 */
gboolean qmp_handshake (QmpTransport *transport, QmpSession *session, QmpGreeting *greeting,
                        gint64 deadline_us, GError **error);
