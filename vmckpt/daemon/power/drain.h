/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A host for maintenance: it takes no new guests, and those that it has go elsewhere. That it is
 * drained is in DISKS/drained, before anything else is done, and outlives daemons and boots until
 * somebody takes it back; so what was interrupted is begun again by the same call.
 */
#pragma once

#include "request.h"

typedef struct {
  const char *to; /* (nullable): where guests go, as peer_new() takes it; NULL: all are suspended */
  gboolean suspend; /* who cannot be moved is suspended */
  guint parallel;   /* guests at a time; 0: 2 */
} DrainWish;

/**
 * drain_host:
 *
 * Moves every guest to the other host, those of the greatest priority first: live if that is
 * possible, else through the store that @request names, if it names one. What became of each is a
 * line of type "guest"; that one fails does not stop the others.
 *
 * Returns: the API's result; NULL with @error only if nothing could be begun, or the request was
 * cancelled.
 */
JsonObject *drain_host (Request *request, const DrainWish *wish, GError **error);

/* It takes guests again. */
gboolean drain_undo (Daemon *daemon, GError **error);

/* What an earlier daemon left, before guests are taken. */
void drain_take_over (Daemon *daemon);
