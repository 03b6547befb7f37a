/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest that stands still since a checkpoint. QEMU saves a guest only if it has run since it was
 * saved last (run state "postmigrate"), so one that its user has paused is read once; what else is
 * wanted of it has the same memory and devices.
 *
 * That the guest has not run since is seen from QEMU itself: it is still in that state, and the
 * migration that brought it there is the one of the checkpoint, by its figures. This holds whoever
 * asks and whoever else has talked to QEMU meanwhile.
 */
#pragma once

#include <vmckpt/qmp/client.h>
#include <vmckpt/store/manifest.h>

typedef struct {
  char *store_path;
  char *store;      /* its id */
  char *checkpoint; /* id */
  /* Of the migration: how long it took, milliseconds, and bytes of RAM that it sent. */
  guint64 total_ms, downtime_ms, transferred;
} Standstill;

/* Frees @standstill. */
void standstill_free (Standstill *standstill);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Standstill, standstill_free)

/* Newly allocated. */
Standstill *standstill_copy (const Standstill *standstill);

/**
 * standstill_find:
 * @manifest: a checkpoint of the guest that was just made in @store
 * @store_path: where that is
 *
 * What to remember, of a guest that was paused before the checkpoint.
 *
 * Returns: (transfer full): NULL if the guest may have run since, or QEMU does not answer.
 */
Standstill *standstill_find (QmpClient *monitor, Store *store, const char *store_path,
                             const Manifest *manifest);

/* Whether QEMU has saved the guest and it has not run since, in @saved. Fails with QMP_ERROR. */
gboolean standstill_is_saved (QmpClient *monitor, gboolean *saved, GError **error);

/* Of a guest that is saved: whether it is by @standstill (nullable). Fails with RAM_ERROR_SAVED and
 * the reason, or QMP_ERROR. */
gboolean standstill_check (const Standstill *standstill, QmpClient *monitor, GError **error);

/* For daemon.json. NULL if @object is no such thing. */
JsonObject *standstill_to_json (const Standstill *standstill);
Standstill *standstill_from_json (JsonObject *object);
