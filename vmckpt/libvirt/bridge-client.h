/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One client of a bridge's QMP sockets. */
#pragma once

#include "monitor.h"

typedef struct _BridgeClients BridgeClients;

/* None yet. */
BridgeClients *bridge_clients_new (void);

/* Tells all of them that have negotiated; a MonitorEventFunc. @clients: BridgeClients. */
void bridge_clients_event (JsonObject *event, gpointer clients);

/**
 * bridge_client_serve:
 * @socket: (transfer full)
 *
 * Greets, and carries out commands one after the other until the client goes. Blocks.
 */
void bridge_client_serve (BridgeClients *clients, Monitor *monitor, int socket);
