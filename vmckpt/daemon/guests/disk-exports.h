/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Disks of checkpoints that somebody has asked for over NBD (`vmckpt nbd`): a server process each,
 * in RUNTIME/nbd/NUMBER. One that is attached lives as long as the call that asked for it; the
 * others until they are stopped, also beyond this daemon. Any thread.
 */
#pragma once

#include "runtime.h"

#include <json-glib/json-glib.h>
#include <vmckpt/store/manifest.h>
#include <vmckpt/util/key-material.h>

typedef struct _DiskExports DiskExports;

/* @runtime is borrowed and must outlive it. */
DiskExports *disk_exports_new (const Runtime *runtime);
/* Lets go of its servers, which go on. */
void disk_exports_free (DiskExports *exports);

/* Goes on with what an earlier daemon served, and ends what was attached to its calls. */
void disk_exports_take_over (DiskExports *exports);

/* What is wanted. Borrowed. */
typedef struct {
  Store *store;
  const char *store_path;
  const Manifest *manifest;
  const KeyMaterial *key; /* (nullable) */
  const char *disk;       /* (nullable): all */
  const char *socket;     /* (nullable): absolute; else one in the export's directory */
  const char *listen;     /* (nullable): ADDRESS[:PORT] instead of a socket */
  const char *tls;        /* (nullable): directory of certificates */
  gboolean writable, insecure, attached;
} DiskExportWish;

/**
 * disk_exports_start:
 *
 * Starts a server for it. Blocks until it serves.
 *
 * Returns: (transfer full): it, as disk_exports_list() has it; NULL with @error.
 */
JsonObject *disk_exports_start (DiskExports *exports, const DiskExportWish *wish, GError **error);

/* Waits until export @number is stopped, FALSE with @error if the call is cancelled. */
gboolean disk_exports_wait (DiskExports *exports, guint64 number, GCancellable *cancellable,
                            GError **error);

/* Ends it, whoever uses it; API_NOT_FOUND. */
gboolean disk_exports_stop (DiskExports *exports, guint64 number, GError **error);

/* @key opens the store at @store_path: servers there that died and wait for it are started again.
 */
void disk_exports_offer_key (DiskExports *exports, const char *store_path, const KeyMaterial *key);

/* All, in the order of their numbers. (transfer full) */
JsonArray *disk_exports_list (DiskExports *exports);

/* Whether one serves that checkpoint: its number, else 0. */
guint64 disk_exports_find (DiskExports *exports, const char *store_id, const char *checkpoint);

guint disk_exports_count (DiskExports *exports);
