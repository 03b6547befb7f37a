/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What goes over keeper.sock: one fixed-size message each way, in the byte order of the machine, as
 * both ends are on it. Every request gets one answer of the same size and type. A version that one
 * side does not know is refused by both.
 *
 *   HELLO              OK with both pids; the connection then tells by its end that the keeper is
 * gone
 *
 *   LEASE_CHECKPOINT   OK when the lease is held, BUSY while another connection holds one; the
 * answer waits while the guest is being put right after a broken lease or guard. A descriptor may
 * come along: the read end of the migration stream
 *
 *   LEASE_RESTORE      likewise
 *
 *   GUARD              likewise, and beside a lease of another connection
 *
 *   FREEZE             likewise, and beside both; BUSY also while the guest is being thawed
 *
 *   END                OK: the lease, guard or freeze of this connection is over
 *
 * A connection has one of them at most in its life.
 */
#pragma once

#include <gio/gio.h>

#include <vmckpt/keeper/keeper.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/process.h>

#define KEEPER_MAGIC 0x4b434d56u /* "VMCK" */
#define KEEPER_VERSION 1

typedef enum {
  KEEPER_HELLO = 1,
  KEEPER_LEASE_CHECKPOINT,
  KEEPER_LEASE_RESTORE,
  KEEPER_END,
  KEEPER_GUARD,
  KEEPER_FREEZE,
} KeeperMessageType;

typedef enum {
  KEEPER_OK = 0,
  KEEPER_BUSY,    /* another connection holds a lease */
  KEEPER_REFUSED, /* not possible in this state of the connection */
} KeeperStatus;

#define KEEPER_FLAG_RESUME 1u /* LEASE_CHECKPOINT: the guest must run afterwards */

typedef struct {
  guint32 magic;
  guint16 version;
  guint16 type;
  guint32 flags;
  guint32 status;    /* answers only */
  gint64 keeper_pid; /* answers only, like the rest */
  guint64 keeper_start;
  gint64 qemu_pid;
  guint64 qemu_start;
} KeeperMessage;

G_STATIC_ASSERT (sizeof (KeeperMessage) == 48);

/* What the keeper writes to the report pipe when all is up; anything else is what went wrong. */
#define KEEPER_REPORT_OK "ok"

/* Has @keeper own @fd, the end of the report pipe whose closing has a QEMU that waits for a stream
 * killed, until there is a restore lease. */
void keeper_set_starter (Keeper *keeper, int fd);

/* A message of @type, the rest zero. */
KeeperMessage keeper_message (KeeperMessageType type);

/* TRUE if @message is one of ours, of a version that is understood. */
gboolean keeper_message_valid (const KeeperMessage *message);

/**
 * keeper_exchange:
 * @fd: a connection to keeper.sock
 * @request: what to send
 * @pass: descriptor to send along, or -1
 * @timeout_ms: for the answer
 * @answer: (out): what came back
 *
 * Asks and waits. KEEPER_ERROR_GONE when the connection breaks or nothing comes in time,
 * KEEPER_ERROR_PROTOCOL when the answer is not understood.
 */
gboolean keeper_exchange (int fd, const KeeperMessage *request, int pass, int timeout_ms,
                          KeeperMessage *answer, GError **error);
