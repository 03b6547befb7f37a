/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A checkpoint of a guest of this host as a request: claim, unit_checkpoint(), and what the guest
 * is to remember of it. */
#pragma once

#include "guest.h"
#include "request.h"
#include "suspended.h"

/* How it is to be taken: "mode", "engine", "tag", "note", "quiesce" and "quiesce_time" of the body,
 * which @options borrow from. API_USAGE. */
gboolean checkpoint_parse_options (Request *request, CheckpointOptions *options, GError **error);

/**
 * checkpoint_take:
 * @guest: with work begun on it
 * @options: `parent` and `standstill_store` are set here
 *
 * Claims @guest in the store that @request names and checkpoints it there. Blocks.
 *
 * Returns: (transfer full): NULL with @error, and then the guest is as it was.
 */
Manifest *checkpoint_take (Request *request, Guest *guest, CheckpointOptions *options,
                           GError **error);

/* The same with the mode CHECKPOINT_SUSPEND, as one of @set (nullable: of none): on success the
 * guest is listed as suspended, how it left its disks is noted, and its claims are given up. */
Manifest *checkpoint_suspend (Request *request, Guest *guest, CheckpointOptions *options,
                              const char *set, GError **error);
