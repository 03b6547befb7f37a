/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* keeper.json: what a keeper records about itself, its QEMU and the lease it holds. */
#pragma once

#include <vmckpt/keeper/keeper.h>

typedef enum {
  LEASE_NONE,
  LEASE_CHECKPOINT,        /* the guest was paused before and is to stay so */
  LEASE_CHECKPOINT_RESUME, /* the guest is to run afterwards */
  LEASE_RESTORE,
} LeaseKind;

/* What keeper.json holds beyond what the daemon is told: the lease, the guard and the freeze that
 * were live when it was written, so that whoever replaces a killed keeper knows what was left half
 * done. */
typedef struct {
  KeeperState public;
  LeaseKind lease;
  ProcessId guard; /* which daemon holds it; start_ticks 0: none */
  gboolean frozen; /* its file systems may be frozen, on a daemon's behalf */
} KeeperRecord;

/* Writes keeper.json in @directory, whole or not at all. */
gboolean keeper_record_write (const char *directory, const KeeperRecord *record, GError **error);

/* Reads it. A file of an earlier boot of the machine says that all is gone. */
gboolean keeper_record_read (const char *directory, KeeperRecord *record, GError **error);
