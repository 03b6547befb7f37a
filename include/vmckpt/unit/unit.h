/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One guest's checkpoint and restart, whole: the phases prepare → stop → capture → disks → resume →
 * store → commit, and rebuild → resume, put together from driver, engine and store.
 */
#pragma once

#include <vmckpt/disk/disk-base.h>
#include <vmckpt/drivers/qemu.h>
#include <vmckpt/ram/guest-fill.h>
#include <vmckpt/ram/guest-tracking.h>
#include <vmckpt/ram/run-clock.h>
#include <vmckpt/ram/stream-engine.h>
#include <vmckpt/store/manifest.h>
#include <vmckpt/store/store.h>
#include <vmckpt/unit/standstill.h>

/* A guest as these functions need it. Everything is borrowed. */
typedef struct {
  const GuestSpec *spec;
  const char *directory;
  const char *host; /* this host's name, for the manifest */
  QmpClient *monitor;
  Keeper *keeper;
  GuestRam *ram;           /* (nullable): memory that QEMU shares */
  GuestTracking *tracking; /* (nullable): what is known of writes to it */
  GuestFill *fill;         /* (nullable): pages of it may be missing */
  RunClock *clock;
  MachineRecorder *recorder;    /* of this QEMU */
  gboolean paused;              /* its CPUs do not run, as far as is known */
  const Standstill *standstill; /* (nullable): the checkpoint since which they have not run */
  const char *temporary;        /* directory for what it overwrites while its disks are read */
  const DiskBase *disk_base;    /* (nullable): what the bitmaps of its disks are relative to */
  /* Remembers, for a next daemon too, that it is @base from now on. */
  gboolean (*set_disk_base) (const DiskBase *base, gpointer user_data, GError **error);
  gpointer set_disk_base_data;
  JsonObject *libvirt; /* (nullable): of a domain: what libvirt says of it, for the record */
  /* (nullable): ends the guest where that is not our QEMU; @user_data is end_data. */
  gboolean (*end) (gpointer user_data, GError **error);
  gpointer end_data;
} Unit;

/* Whether the guest has a device through which it gives memory back to the host. */
gboolean unit_discards_memory (const GuestSpec *spec);

/**
 * unit_start:
 * @spec: completed
 * @directory: the guest's directory: must not exist
 * @incoming: for a restore
 * @ram: (inout): RAM that was made before (guest_ram_new_template()), or NULL: made here if @spec
 *   shares it. What the guest has, attached; NULL if QEMU has memory of its own
 * @guest: (out): stopped
 *
 * On failure no process and no file is left.
 */
gboolean unit_start (const GuestSpec *spec, const char *directory, gboolean incoming,
                     GuestRam **ram, QemuGuest *guest, GError **error);

/* Finds a guest of an earlier daemon again (qemu_attach()), with its memory. @ram: (out): NULL if
 * it has none that is shared. */
gboolean unit_attach (const GuestSpec *spec, const char *directory, GuestRam **ram,
                      QemuGuest *guest, GError **error);

/* The memory of a guest whose QEMU somebody else has started; NULL if it has none that is shared,
 * or that can be found: its checkpoints take the migration stream then. */
GuestRam *unit_find_memory (const GuestSpec *spec, const QemuGuest *guest);

/* Who listens to long work: progress, things to tell the user, and the wish to stop. */
typedef struct {
  const Progress *progress;
  void (*message) (const char *text, gpointer user_data); /* (nullable) any thread */
  gpointer user_data;
  GCancellable *cancellable;
} UnitWatcher;

typedef enum {
  CHECKPOINT_LIVE,    /* the guest runs on; where that cannot be, CHECKPOINT_STOP with a message */
  CHECKPOINT_STOP,    /* the guest is paused while it is read */
  CHECKPOINT_SUSPEND, /* paused, and off once the checkpoint exists */
} CheckpointMode;

typedef enum {
  CHECKPOINT_ENGINE_AUTO,    /* tracked where the guest's writes can be tracked, else stream */
  CHECKPOINT_ENGINE_TRACKED, /* or nothing */
  CHECKPOINT_ENGINE_STREAM,
} CheckpointEngine;

typedef struct {
  CheckpointMode mode;
  CheckpointEngine engine;
  const char *tag;    /* (nullable) */
  const char *note;   /* (nullable) */
  const char *parent; /* (nullable): id of the checkpoint that the guest descends from, a hint */
  int quiesce_ms;     /* if not 0, its file systems are frozen over the instant: how long freezing,
                         and thawing, may take */
  JsonObject *power;  /* (nullable): recorded with the machine (UNIT_MEMBER_POWER): what is to be
                         known  of a guest that is off */
  Store *standstill_store; /* (nullable): opened, the one that the unit's standstill names */
  /* (nullable) (out) (transfer full): with CHECKPOINT_SUSPEND: the guest is not powered off but
   * left standing, under this lease, for whoever runs it elsewhere. Contents NULL: it was saved
   * before, and there is none. The checkpoint's mode is that of CHECKPOINT_STOP. */
  KeeperLease **hold;
  /* (nullable): called as soon as the checkpoint exists, durable, while some tidying up is still to
   * be done; once, in the thread of unit_checkpoint(), which cannot fail any more. */
  void (*committed) (const Manifest *manifest, gpointer user_data);
  gpointer committed_data;
} CheckpointOptions;

/* The member of a manifest's machine that has CheckpointOptions' `power`. */
#define UNIT_MEMBER_POWER "power"

/**
 * unit_checkpoint:
 *
 * Prerequisites: the guest's QEMU is there; nothing else is at work on it.
 * On success the checkpoint exists, durable; the guest runs if it ran (is off, after a suspend).
 * On failure no checkpoint exists and the guest is as it was. QEMU saves a guest that stands still
 * only once: from then on its checkpoints take over the parts of the first, as long as it has not
 * run (RAM_ERROR_SAVED if that one is not known or gone). @unit's `standstill` says which; after a
 * checkpoint of a paused guest, standstill_find() tells what to remember for the next.
 * Blocks; worker thread.
 *
 * Returns: (transfer full): the manifest, its report filled in; NULL with @error.
 */
Manifest *unit_checkpoint (const Unit *unit, Store *store, const CheckpointOptions *options,
                           const UnitWatcher *watcher, GError **error);

/* A guest that `hold` left standing runs after all, if @was_running; the lease, if any, is ended.
 * FALSE: it is left to the keeper, which goes on trying. */
gboolean unit_release_hold (const Unit *unit, KeeperLease *lease, gboolean was_running,
                            GError **error);

/* When memory is read at a restore. */
typedef enum {
  RESTORE_LAZY_IF_POSSIBLE, /* while the guest runs; where that cannot be, before, with a message */
  RESTORE_LAZY,             /* or not at all: RAM_ERROR_IMPOSSIBLE */
  RESTORE_EAGER,            /* before */
} RestoreReading;

/* The same, with what it takes to go on after the restore, and what came of it. */
typedef struct {
  RestoreReading reading;
  const char *store_path; /* for the next daemon */
  LazyFillFunc func;      /* once the guest runs */
  gpointer user_data;
  GuestFill *fill; /* (out) (transfer full): the guest's memory is missing; guest_fill_run() begins
                      to read it. NULL: all is there */
} RestoreFill;

typedef struct _RestoreDisks RestoreDisks;
typedef struct _RestoreDisksOptions RestoreDisksOptions;

typedef struct {
  const char *name;      /* (nullable): the guest's new name; NULL: as recorded */
  const char *directory; /* where the guest's directory will be: must not exist */
  const char *files;     /* directory for boot files that this host lacks */
  const char *qemu;      /* (nullable): QEMU program; NULL: as recorded, else the one in PATH */
  const char *accel;     /* (nullable): NULL: as recorded */
  gboolean paused;       /* leave it paused */
  gboolean accept_changed_disks; /* as for QemuPreflight */
  QemuFacts *facts;              /* (nullable) */
  RestoreFill *fill;             /* (nullable) (inout): NULL: RESTORE_EAGER */
  /* Where its disks go (restore-disks.h); NULL: they are where they were. */
  const RestoreDisksOptions *disks;
  RestoreDisks **planned; /* (out) (transfer full): with @disks */
  /* (nullable): called when all is loaded, before it may run. */
  gboolean (*before_run) (gpointer user_data, GError **error);
  gpointer before_run_data;
  /* (nullable): instead of letting it run: whether it does, and then the lease is ended. */
  gboolean (*decide) (QmpClient *monitor, KeeperLease *lease, gpointer user_data, GError **error);
  gpointer decide_data;
} RestoreOptions;

/**
 * unit_restore_spec:
 *
 * The spec that @manifest would be restored with, adapted and held against this host
 * (qemu_preflight), before anything is started. Boot files that are not here as recorded are taken
 * from the store.
 */
GuestSpec *unit_restore_spec (Store *store, const Manifest *manifest, const RestoreOptions *options,
                              GError **error);

/* What a QEMU that waits has said of its memory. */
typedef struct {
  gboolean asked;
  char *unshared; /* (nullable): why it has to fill its memory itself */
  char *written;  /* (nullable): who writes to it past QEMU, for people */
} UnitAnswers;

/* A QEMU that was started for a restore and waits, under a lease: this process's end is its end. */
typedef struct {
  GuestRam *ram; /* (nullable) */
  QemuGuest qemu;
  KeeperLease *lease;
  UnitAnswers answers;
  RestoreStream *stream; /* (nullable): after unit_restore_warm() */
  double start_ms;       /* what it took */
} UnitWaiting;

/**
 * unit_restore_wait:
 * @spec: from unit_restore_spec(), of this checkpoint or an earlier one of the same machine
 *
 * The first part of unit_restore(), for a checkpoint that is still to come.
 */
gboolean unit_restore_wait (const GuestSpec *spec, const RestoreOptions *options,
                            UnitWaiting *waiting, GError **error);

/**
 * unit_restore_warm:
 * @manifest: as for unit_restore_wait()
 *
 * All that can be asked of QEMU, and told it, before the checkpoint is there by which the guest
 * comes. On failure unit_waiting_end() is left to do.
 */
gboolean unit_restore_warm (Store *store, const Manifest *manifest, const RestoreOptions *options,
                            UnitWaiting *waiting, GError **error);

/* Ends a QEMU that waits, and its files; nothing happens if it was used or never there. */
void unit_waiting_end (UnitWaiting *waiting, const char *directory);

/**
 * unit_restore_into:
 * @waiting: (inout): emptied, whatever comes of it
 *
 * The second part: as unit_restore().
 */
gboolean unit_restore_into (Store *store, const Manifest *manifest, const GuestSpec *spec,
                            const RestoreOptions *options, const UnitWatcher *watcher,
                            UnitWaiting *waiting, GuestRam **ram, QemuGuest *guest,
                            double *phase_ms, GError **error);

/**
 * unit_restore:
 * @spec: from unit_restore_spec()
 * @ram: (inout): as for unit_start()
 * @guest: (out): the running (or paused) guest
 * @phase_ms: (out caller-allocates): PHASE_COUNT durations, milliseconds
 *
 * On failure no process and no file is left.
 */
gboolean unit_restore (Store *store, const Manifest *manifest, const GuestSpec *spec,
                       const RestoreOptions *options, const UnitWatcher *watcher, GuestRam **ram,
                       QemuGuest *guest, double *phase_ms, GError **error);

/* What a restored guest writes to its disks from its first instruction on is collected: their base
 * is the checkpoint. @monitor: of a guest that has not run yet. */
gboolean unit_track_disks (QmpClient *monitor, const GuestSpec *spec, GError **error);
