/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Restored disks that still come from a checkpoint: the server that their guests read from, and the
 * files that are written beside it until nobody needs the checkpoint any more.
 *
 * What is unfinished is in restore.json in the disks' directory, from before the first file is made
 * until the last one is whole. So a daemon that finds it goes on with it, whether the guest runs or
 * has ended: its disks are to be whole in either case. If the guest never ran, what was made is
 * removed.
 */
#pragma once

#include "guest.h"
#include "registry.h"
#include "stores.h"

#include <vmckpt/unit/restore-disks.h>
#include <vmckpt/util/key-material.h>

typedef struct _Hydrations Hydrations;
typedef struct _Hydration Hydration;

/* All are borrowed and must outlive it. */
Hydrations *hydrations_new (const Runtime *runtime, Registry *registry, Stores *stores);

/* Frees @hydrations, of which none may be at work. */
void hydrations_free (Hydrations *hydrations);

/* What an earlier daemon left, when its guests have been found. */
void hydrations_take_over (Hydrations *hydrations);

/* A guest and its disks, planned; written here. Borrowed. */
typedef struct {
  const GuestSpec *spec;
  RestoreDisks *disks;
} HydrationGuest;

/**
 * hydration_begin:
 * @home: from disk_home_make(); there is nothing in it yet
 * @key: (nullable): of an encrypted store
 * @guests: @count of them: one, or forks whose overlays have the same files below them
 *
 * Makes the files, and serves the disks if any is an overlay.
 *
 * Returns: NULL with @error: then nothing is left, @home neither.
 */
Hydration *hydration_begin (Hydrations *hydrations, const char *home, const HydrationGuest *guests,
                            guint count, Store *store, const char *store_path,
                            const KeyMaterial *key, const Manifest *manifest,
                            const UnitWatcher *watcher, GError **error);

/* The guest is about to run: from here on its disks are its own. Durable. */
gboolean hydration_note_run (Hydration *hydration, GError **error);

/* The guest runs: what is missing is written in the background. Frees @hydration, which belongs to
 * the table then. */
void hydration_run (Hydration *hydration);

/* The guest did not come up: nothing is left. Frees @hydration. */
void hydration_undo (Hydration *hydration);

/* Adds to the API's object of a guest how much of its disks is there. */
void hydrations_describe (Hydrations *hydrations, const char *guest, JsonObject *object);

/* Waits until the disks of @guest are whole. */
gboolean hydrations_wait (Hydrations *hydrations, const char *guest, const Progress *progress,
                          GCancellable *cancellable, GError **error);

/**
 * hydrations_retry:
 * @key: (nullable): that the client has for the store
 *
 * To be called before a guest goes on: tries again what could not be read. FALSE with @error if it
 * still cannot. Does nothing for a guest that misses nothing.
 */
gboolean hydrations_retry (Hydrations *hydrations, const char *guest, const KeyMaterial *key,
                           GError **error);

/* A guest has been stopped by an I/O error. A registry's GuestIoErrorFunc. */
void hydrations_note_io_error (Guest *guest, gpointer hydrations);

/* Whether disks still come from that checkpoint: the guest's name, newly allocated, or NULL. */
char *hydrations_find_needing (Hydrations *hydrations, const char *store_id,
                               const char *checkpoint);

/* How many are at work; they keep an idle daemon. */
guint hydrations_count (Hydrations *hydrations);

/* The end of a guest's files in the disks directory (disk-homes.h), after that of the guest. */
void hydrations_remove_files (Hydrations *hydrations, const GuestSpec *spec);
