/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guests that are off and wait in a store: their newest checkpoint is the only way back. What is to
 * be known of them travels in that checkpoint, since a host that was switched off has forgotten its
 * runtime directory: by whom the guest was taken off, and whether it was paused.
 */
#pragma once

#include "daemon.h"

#include <vmckpt/store/manifest.h>

/**
 * suspended_mark_new:
 * @set: (nullable): id of the `suspend --all` that takes the guest off; NULL: its user does, by
 * name
 *
 * Returns: (transfer full): CheckpointOptions' `power`.
 */
JsonObject *suspended_mark_new (const Runtime *runtime, const char *set, gboolean paused);

/* Whether the guest was paused, on purpose, when it was suspended. */
gboolean suspended_was_paused (const Manifest *manifest);

/* The set that it was suspended in, borrowed, or NULL. */
const char *suspended_set (const Manifest *manifest);

/**
 * suspended_waits:
 * @manifests: (element-type Manifest): all of the store, oldest first
 * @index: which of them
 *
 * Returns: TRUE if it is the newest checkpoint of its guest, is a suspend, and the guest runs
 * neither here nor, as far as the store knows, anywhere else.
 */
gboolean suspended_waits (Daemon *daemon, Store *store, GPtrArray *manifests, guint index);

/* Which guests are to be resumed. */
typedef struct {
  gboolean last; /* of those that wait, only those that a set of this host and runtime directory
                    took off, and that have not run since, anywhere */
  gboolean lost; /* and those that ran here when the host went down: their claim is of this host and
                    runtime directory, and dead */
} SuspendedWish;

/**
 * suspended_find:
 *
 * Returns: (transfer full) (element-type Manifest): the newest checkpoint of each such guest, or
 * NULL with @error.
 */
GPtrArray *suspended_find (Daemon *daemon, Store *store, const SuspendedWish *wish, GError **error);
