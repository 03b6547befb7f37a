/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A fork as a request: names, specs, claims, unit_fork(), and the guests into the registry. */
#pragma once

#include "request.h"

#include <vmckpt/store/manifest.h>

typedef struct {
  guint64 count;
  const char *prefix; /* (nullable): NULL: the guest's name */
  const char *qemu;   /* (nullable) program */
  gboolean paused;
  gboolean wait; /* until all memory is there: then what is used can be told */
} ForkRequest;

/* Reads the body of a fork request, whose members beside these are @more (nullable). */
gboolean fork_request_parse (Request *request, ForkRequest *wish, GError **error);

/**
 * fork_checkpoint:
 *
 * Returns: the API's result; NULL with @error, and then nothing is left of the attempt.
 */
JsonObject *fork_checkpoint (Request *request, Store *store, const Manifest *manifest,
                             const ForkRequest *wish, GError **error);
