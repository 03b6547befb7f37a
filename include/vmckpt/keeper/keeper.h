/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The daemon's side of vmckpt-keeper, the small process that is the parent of one QEMU and holds
 * what must outlive the daemon: the serial console and its log, the exit status, and leases.
 *
 * A lease says "the daemon is doing something to this guest that must not be left half done". It is
 * a connection of its own; if that breaks before the lease was ended, the daemon has died (or given
 * up), and the keeper puts the guest right: it reads an orphaned migration stream to its end, takes
 * leftover write-protection off the guest's memory, and resumes a guest that was left stopped — or
 * kills a QEMU whose restore was never finished. vmckpt/keeper/README.md has the picture.
 */
#pragma once

#include <gio/gio.h>

#include <vmckpt/keeper/guest-fds.h>
#include <vmckpt/util/process.h>

#define KEEPER_ERROR (keeper_error_quark())
GQuark keeper_error_quark (void);

typedef enum {
  KEEPER_ERROR_START,    /* QEMU did not start; the message ends with what it said */
  KEEPER_ERROR_GONE,     /* no keeper answers in this guest directory */
  KEEPER_ERROR_PROTOCOL, /* it does not speak our protocol version */
  KEEPER_ERROR_BUSY,     /* another lease on this guest is live */
} KeeperError;

/*
 * Files in a guest's directory (below RUNTIME/guests/NAME). Who writes them: D daemon, K keeper, Q
 * QEMU.
 */
#define GUEST_FILE_SPEC "guest.json"          /* D: how the guest was started */
#define GUEST_FILE_MONITOR "qmp.sock"         /* Q: the daemon's monitor */
#define GUEST_FILE_KEEPER_MONITOR "kqmp.sock" /* Q: the keeper's monitor, used only for rescue */
#define GUEST_FILE_SERIAL "serial.sock"       /* Q: the serial port; the keeper is its one client */
#define GUEST_FILE_TPM "tpm.sock"      /* T (swtpm): the guest's TPM; QEMU is its one client */
#define GUEST_FILE_TPM_LOG "tpm.log"   /* T: what it says */
#define GUEST_FILE_TPM_STATE "tpm2-00" /* T: its files are this with an end, and the next */
#define GUEST_FILE_TPM_LOCK ".lock"
#define GUEST_FILE_AGENT "agent.sock"       /* Q: the guest agent's port, one client at a time */
#define GUEST_FILE_KEEPER "keeper.sock"     /* K: hello and leases */
#define GUEST_FILE_CONSOLE "console.sock"   /* K: raw bytes, to and from the serial port */
#define GUEST_FILE_LOG "serial.log"         /* K: what the guest printed, at most 2 × 8 MiB */
#define GUEST_FILE_LOG_OLD "serial.log.1"   /* K: the former half of the log */
#define GUEST_FILE_STDERR "qemu.log"        /* Q: its standard error; K: its own messages */
#define GUEST_FILE_STATE "keeper.json"      /* K: pids with start times; see keeper_read_state() */
#define GUEST_FILE_DAEMON "daemon.json"     /* D: what it must know again after a restart */
#define GUEST_FILE_TEMPLATE "template.json" /* D: of a fork whose memory is not all there yet */
#define GUEST_FILE_DISKS "disks.sock"   /* Q: its NBD server while a checkpoint reads the disks */
#define GUEST_FILE_BRIDGE "bridge.json" /* B: of a domain: who has the monitors' sockets */
#define GUEST_FILE_BRIDGE_LOCK "bridge.lock"  /* B: held while it lives */
#define GUEST_FILE_BRIDGE_LOG "bridge.log"    /* B: its messages */
#define GUEST_FILE_MIGRATION "migration.json" /* D: settings that a domain's QEMU gets back */
#define GUEST_FILE_SCHEDULES                                                                       \
  "schedules.json"                  /* D: checkpoints at regular times, without a client */
#define GUEST_FILE_FILL "fill.json" /* D: where missing pages of its memory come from */

typedef struct _Keeper Keeper;

#define KEEPER_FDS_MAX 8

/* A descriptor that QEMU is to inherit. Borrowed; stays open in the caller. */
typedef struct {
  int fd;     /* the caller's */
  int number; /* what it is in QEMU: above 3, each once */
} KeeperFd;

/* What a keeper is to start. Everything is borrowed. */
typedef struct {
  /* QEMU's command line; it must make the sockets named above and begin stopped (-S) */
  const char *const *argv;
  const char *preload; /* (nullable): object that ld.so loads into QEMU (LD_PRELOAD); absolute */
  KeeperFd fds[KEEPER_FDS_MAX];
  guint n_fds;
  int timeout_ms; /* until QEMU's monitors and serial port are there */
  /* QEMU waits for a stream: it is killed unless whoever starts it lives to take a restore lease */
  gboolean incoming;
} KeeperLaunch;

/**
 * keeper_start:
 * @directory: the guest's directory, absolute; exists, mode 0700
 * @launch: what to run, and what it inherits
 *
 * Starts a keeper in a session of its own, which starts QEMU as its child, in @directory. When this
 * returns QEMU has built the machine and answers; on failure, or if the caller's process dies
 * meanwhile, QEMU is gone, and files are left. The keeper itself keeps none of the descriptors:
 * they live as long as QEMU does. The program is VMCKPT_KEEPER if that is set, else the one beside
 * the running program or in ../keeper/ from there (a build tree), else the installed one. Blocks;
 * any thread.
 *
 * Returns: (transfer full): attached; KEEPER_ERROR_START with the end of QEMU's standard error.
 */
Keeper *keeper_start (const char *directory, const KeeperLaunch *launch, GError **error);

/* Attaches to the keeper that serves @directory; KEEPER_ERROR_GONE if there is none. */
Keeper *keeper_attach (const char *directory, GError **error);

typedef enum {
  KEEPER_ADOPT_PAUSED = 1 << 0, /* the guest is stopped on purpose */
  /* somebody else runs this QEMU, who has its serial port: there is no console and no log, and
   * nothing is put right unless keeper.json names a lease */
  KEEPER_ADOPT_FOREIGN = 1 << 1,
} KeeperAdopt;

/* Starts a keeper for a QEMU that lives on although its keeper was killed, or that had none. It
 * cannot be the parent; the exit status of that QEMU will be unknown. It first puts the guest right
 * as after a broken lease, as keeper.json says which lease its predecessor held: a QEMU in
 * mid-restore is killed; any other is freed from what was left half done and made to run, unless it
 * is paused on purpose. Leases wait for that; this call does not. */
Keeper *keeper_adopt (const char *directory, ProcessId qemu, KeeperAdopt how, GError **error);

/* Detaches; keeper and QEMU live on. */
void keeper_free (Keeper *keeper);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Keeper, keeper_free)

/* What keeper.json says; also readable when keeper and QEMU are gone. */
typedef struct {
  ProcessId keeper;
  ProcessId qemu;
  gboolean leased; /* a lease was live, or the guest was being put right, when this was written */
  gboolean exited;
  int wait_status;  /* of QEMU, as wait(2) gives it; -1 if unknown */
  gint64 exited_us; /* when, microseconds since 1970 */
} KeeperState;

/* Reads keeper.json; G_IO_ERROR if it is not there, KEEPER_ERROR_PROTOCOL if it is not ours. */
gboolean keeper_read_state (const char *directory, KeeperState *state, GError **error);

/* Text for people: "powered off", "killed by signal 9", "failed with status 1". Newly allocated. */
char *keeper_state_describe (const KeeperState *state);

/* The QEMU that it keeps, which may have ended. */
ProcessId keeper_qemu (Keeper *keeper);

/* The guest's directory. */
const char *keeper_directory (Keeper *keeper);

/**
 * keeper_watch:
 *
 * Calls @func once on the thread-default GMainContext of the caller when the keeper is gone, which
 * is right after QEMU's exit was recorded (or when the keeper was killed: keeper_read_state()
 * tells). @destroy (nullable) frees @user_data after that, or when @keeper is freed before.
 */
void keeper_watch (Keeper *keeper, GSourceFunc func, gpointer user_data, GDestroyNotify destroy);

/* ---- Leases ---- */

typedef struct _KeeperLease KeeperLease;

/**
 * keeper_lease_checkpoint:
 * @stream: read end of the pipe that the migration stream comes through; the keeper gets a
 * duplicate, so that QEMU never sees its reader vanish. -1: none.
 * @resume: the guest ran before and must run afterwards
 *
 * To be taken before the guest is touched. Any thread; blocks up to 60 s while the keeper is still
 * putting the guest right after an earlier one. KEEPER_ERROR_BUSY while another lease is live. The
 * caller closes its own copy of the write end once QEMU has one: the stream ends when all are
 * closed.
 */
KeeperLease *keeper_lease_checkpoint (Keeper *keeper, int stream, gboolean resume, GError **error);

/* For a QEMU that is loading a checkpoint: without an end to the lease it is killed. */
KeeperLease *keeper_lease_restore (Keeper *keeper, GError **error);

/* Ends the lease: all is well, nothing is to be put right. FALSE if the keeper is gone. */
gboolean keeper_lease_end (KeeperLease *lease, GError **error);

/* Breaks a lease that was not ended: the keeper puts the guest right. Safe after an end. */
void keeper_lease_free (KeeperLease *lease);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (KeeperLease, keeper_lease_free)

/* ---- Guards ---- */

/*
 * A guard says "the daemon serves write faults of the guest's memory", which the guest waits for.
 * It is a connection of its own; if that breaks before the guard was ended, the keeper takes the
 * write-protection off, so that the guest runs on. What it writes from then on is not known.
 */
typedef struct _KeeperGuard KeeperGuard;

/**
 * keeper_guard_take:
 * @directory: the guest's
 *
 * To be called before the memory is protected. One guard at a time, independent of leases; waits
 * while the guest is being put right. Any thread. KEEPER_ERROR_PROTOCOL from a keeper that knows no
 * guards.
 */
KeeperGuard *keeper_guard_take (const char *directory, GError **error);

/* Whether the keeper is gone. Its successor watches the process that held the guard, and takes a
 * new one of it. */
gboolean keeper_guard_is_lost (KeeperGuard *guard);

/* Ends the guard: nothing is protected any more. FALSE if the keeper is gone. */
gboolean keeper_guard_end (KeeperGuard *guard, GError **error);

/* Breaks a guard that was not ended. Safe after an end. */
void keeper_guard_free (KeeperGuard *guard);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (KeeperGuard, keeper_guard_free)

/* ---- Frozen file systems ---- */

/*
 * A freeze says "the guest's file systems are frozen on the daemon's behalf". It is a connection of
 * its own; if that breaks before the freeze was ended, the keeper thaws the guest through
 * GUEST_FILE_AGENT: as soon as the guest answers there, however long that takes.
 */
typedef struct _KeeperFreeze KeeperFreeze;

/**
 * keeper_freeze_take:
 * @directory: the guest's
 *
 * To be called before the guest is told to freeze, or, for one that was saved frozen, before it
 * runs. One freeze at a time, independent of leases and guards. Any thread. KEEPER_ERROR_BUSY while
 * another one is live or the keeper is still thawing; KEEPER_ERROR_PROTOCOL from a keeper that
 * knows no freezes.
 */
KeeperFreeze *keeper_freeze_take (const char *directory, GError **error);

/* The guest is thawed. FALSE if the keeper is gone. */
gboolean keeper_freeze_end (KeeperFreeze *freeze, GError **error);

/* Leaves the thawing to the keeper, if it was not ended. */
void keeper_freeze_free (KeeperFreeze *freeze);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (KeeperFreeze, keeper_freeze_free)
