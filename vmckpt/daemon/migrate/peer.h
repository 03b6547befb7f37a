/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Another vmckptd, as this one calls it: JSON in, one JSON object or a stream of lines out.
 *
 *   HOST[:PORT]      over TLS, with certificates on both sides (peer-tls.h)
 *   unix:SOCKET      another daemon of this machine
 *   /DIRECTORY       the same, by its runtime directory
 *
 * On a network the other side answers only what is marked for peers in its table of routes.
 */
#pragma once

#include <gio/gio.h>
#include <json-glib/json-glib.h>

/* The port of vmckptd --listen. */
#define PEER_PORT 16555
#define PEER_MAX_ANSWER (4u << 20)
#define PEER_MAX_LINE (1u << 20)
/* So long may a peer say nothing; one that works says something every second. */
#define PEER_DEADLINE_MS 20000

#define PEER_ERROR (peer_error_quark())
GQuark peer_error_quark (void);

/* What came in the way of a call. What the other daemon answered is an API_ERROR of its kind. */
typedef enum {
  PEER_ERROR_UNREACHABLE, /* nobody there took the call: nothing of it was done */
  PEER_ERROR_TRUST,       /* one side does not believe the other: nothing of it was done */
  PEER_ERROR_LOST,        /* the connection ended: the call was done, or not */
  PEER_ERROR_ANSWER,      /* what came back is no answer of a vmckptd */
} PeerError;

typedef struct _Peer Peer;

/**
 * peer_new:
 * @host: as above
 * @tls: (nullable): directory of this host's certificates; needed for HOST[:PORT] only
 *
 * Nothing is connected yet. A Peer keeps its connection between calls. It belongs to one thread at
 * a time.
 *
 * Returns: (transfer full): NULL with API_USAGE (@host), API_NOT_POSSIBLE (@tls).
 */
Peer *peer_new (const char *host, const char *tls, GError **error);
void peer_free (Peer *peer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Peer, peer_free)

/* How the host was named. */
const char *peer_host (const Peer *peer);

/* Its name or address alone, as others may connect to it too; NULL for one of this machine. */
const char *peer_address (const Peer *peer);

/* A line of a long call before its last: @type is "status", "message" or another of docs/api.md.
 */
typedef void (*PeerLineFunc) (JsonObject *line, const char *type, gpointer user_data);

typedef struct {
  PeerLineFunc line; /* (nullable): NULL: the answer comes as a whole */
  gpointer user_data;
  GCancellable *cancellable; /* (nullable): cancelled: the connection is closed, which the other
                                side takes as the wish to stop */
  guint silence_ms;          /* so long may nothing come; 0: PEER_DEADLINE_MS */
} PeerListener;

/**
 * peer_call:
 * @method: "GET", "POST", …
 * @path: "/v1/…", escaped
 * @body: (nullable)
 * @listener: (nullable)
 *
 * Blocks; any thread but the main one.
 *
 * Returns: (transfer full): the answer (of a long call: its last line). NULL with API_ERROR (the
 * other side refused, or failed), PEER_ERROR or G_IO_ERROR_CANCELLED.
 */
JsonObject *peer_call (Peer *peer, const char *method, const char *path, JsonObject *body,
                       const PeerListener *listener, GError **error);

/* TRUE if after this error of a call it is certain that the other side did nothing of it, or has
 * undone it: it was not reached, or said no. */
gboolean peer_call_was_refused (const GError *error);
