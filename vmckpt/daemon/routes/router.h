/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table of routes (docs/api.md) and how a request finds its handler. */
#pragma once

#include "request.h"

#include <libsoup/soup.h>

/* Answers by itself on the main thread; for what is no JSON: logs and consoles. */
typedef void (*RawHandler) (Daemon *daemon, SoupServerMessage *message, Request *request);

typedef struct {
  const char *method;
  const char *path; /* "/v1/guests/:name": a segment with ':' is a parameter */
  RequestHandler handler;
  RawHandler raw;
  gboolean is_long;   /* streams progress to a client that wants it */
  gboolean for_peers; /* other hosts may call it, over the network: as little as they need */
} Route;

/* The tables of routes-*.c, each ended by a route without a method. */
extern const Route daemon_routes[];
extern const Route guest_routes[];
extern const Route guest_checkpoint_routes[];
extern const Route guest_resume_routes[];
extern const Route power_routes[];
extern const Route checkpoint_routes[];
extern const Route store_routes[];
extern const Route store_maintain_routes[];
extern const Route store_quota_routes[];
extern const Route forget_routes[];
extern const Route nbd_routes[];
extern const Route store_copy_routes[];
extern const Route store_key_routes[];
extern const Route look_routes[];
extern const Route migrate_routes[];
extern const Route host_routes[];
extern const Route domain_routes[];

/* Serves all routes on @server. */
void router_attach (SoupServer *server, Daemon *daemon);

/* Serves on @server those that other hosts may call (peer-server.h). */
void router_attach_peers (SoupServer *server, Daemon *daemon);
