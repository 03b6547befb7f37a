/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Notices that a client has closed its connection, which libsoup does only when it writes to it. */
#pragma once

#include <libsoup/soup.h>

/**
 * client_watch:
 * @func: called once, on the main thread, when the client is gone
 * @destroy: (nullable): frees @user_data with the source
 *
 * Returns: (transfer full): destroy and unref it when the exchange is over; NULL if there is no
 * socket
 *   (@user_data is freed then).
 */
GSource *client_watch (SoupServerMessage *message, GSourceFunc func, gpointer user_data,
                       GDestroyNotify destroy);

/* A connection that libsoup was given as a stream: @remote, which it was given with it, leads to
 * its socket. */
void client_watch_set_socket (GSocketAddress *remote, GSocket *socket);

/* Ends a watch; safe on NULL. */
void client_watch_end (GSource **watch);
