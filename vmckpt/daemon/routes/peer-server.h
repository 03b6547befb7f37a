/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vmckptd --listen: what other daemons call over the network. Never plain text: TLS 1.2 or newer,
 * and only clients whose certificate the authority of --tls has signed. What they may call is
 * marked in the tables of routes (Route's for_peers).
 *
 *   accepted ─ handshake, 5 s ─▶ known ─ request, 20 s ─▶ answered ─ next request, 60 s ─▶ …
 *
 * Connections are bounded in number; when too many stand in their handshake, the oldest of those
 * makes room, so that who connects and says nothing holds up nobody.
 */
#pragma once

#include "daemon.h"

typedef struct _PeerServer PeerServer;

/**
 * peer_server_new:
 * @listen: "ADDRESS[:PORT]"; the port is PEER_PORT if none is given
 * @tls: directory of certificates (peer-tls.h)
 *
 * Serves from the main loop. Main thread.
 *
 * Returns: (transfer full): NULL with API_USAGE, API_NOT_POSSIBLE (certificates) or an I/O error.
 */
PeerServer *peer_server_new (Daemon *daemon, const char *listen, const char *tls, GError **error);
