/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A restore as a request: name, claim, unit_restore(), and the guest into the registry. */
#pragma once

#include "request.h"

typedef struct {
  const char *as;    /* (nullable) new name */
  const char *qemu;  /* (nullable) program */
  const char *accel; /* (nullable) */
  gboolean paused;
  gboolean accept_changed_disks;
  RestoreReading reading;
  gboolean held; /* its memory is read in the background only when registry_fill_held() says so */
  gboolean take_over; /* the host that claims the guest is known to be dead */
} RestoreRequest;

/**
 * restore_checkpoint:
 *
 * Returns: the API's result; NULL with @error, and then nothing is left of the attempt.
 */
JsonObject *restore_checkpoint (Request *request, Store *store, const Manifest *manifest,
                                const RestoreRequest *wish, GError **error);
