/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Looks into checkpoints' disks. A look takes a server of the disks and an appliance that reads
 * them; starting both takes seconds and half a gibibyte, so there is one at a time, and it is kept
 * for a while: further requests on the same checkpoint find it running.
 */
#pragma once

#include "runtime.h"

#include <vmckpt/inspect/inspector.h>
#include <vmckpt/store/manifest.h>
#include <vmckpt/util/key-material.h>

typedef struct _Looks Looks;

/* Ends what a daemon before this one has left. */
Looks *looks_new (const Runtime *runtime);

/* Ends what is kept, when the daemon ends. Not to be called twice. */
void looks_end (Looks *looks);

/* Whose disks; everything is borrowed. */
typedef struct {
  const char *store_path;
  Store *store;
  const Manifest *manifest;
  const KeyMaterial *key; /* (nullable) */
} LookTarget;

/* Who listens: what comes before the result, and what is to be told. */
typedef struct {
  InspectorFrameFunc frame;
  gpointer user_data;                                        /* of @frame */
  void (*message) (const char *text, gpointer message_data); /* (nullable) */
  gpointer message_data;
  GCancellable *cancellable;
} LookWatcher;

/**
 * looks_run:
 * @command: of vmckpt/inspect/README.md
 * @last: what is kept is of no use after this one
 *
 * Blocks, also while another look is at work. Cancelling ends the appliance, whatever it does.
 *
 * Returns: (transfer full): the result; NULL with @error: API_NOT_FOUND if the checkpoint has no
 * disks, INSPECT_ERROR, DISK_ERROR, G_IO_ERROR_CANCELLED.
 */
JsonObject *looks_run (Looks *looks, const LookTarget *target, JsonObject *command, gboolean last,
                       const LookWatcher *watcher, GError **error);

/* TRUE if both checkpoints have the same disks with the same content. */
gboolean looks_same_disks (const Manifest *a, const Manifest *b);
