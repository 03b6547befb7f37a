/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The qemu driver: starts guests from a GuestSpec, finds them again, ends them, and records what a
 * checkpoint must know about the machine. Calls block; any thread.
 */
#pragma once

#include <vmckpt/drivers/foreign-writers.h>
#include <vmckpt/drivers/guest-spec.h>
#include <vmckpt/drivers/qemu-facts.h>
#include <vmckpt/keeper/keeper.h>
#include <vmckpt/qmp/client.h>

/* What a QEMU program on this host is and can do. */
typedef struct {
  char *program; /* absolute path */
  guint major, minor, micro;
  char *package;
  gboolean has_background_snapshot; /* and the kernel lets it have what it needs for that */
  gboolean kvm; /* a guest really runs under KVM here; see README.md for how that is probed */
} QemuProbe;

/* Frees what it holds and resets it. */
void qemu_probe_clear (QemuProbe *probe);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (QemuProbe, qemu_probe_clear)

/* Starts @program (a path, or a name looked up in PATH) without a guest and asks it.
 * DRIVER_ERROR_NOT_FOUND if it is not there, _FAILED if it is no QEMU. Bounded to 20 s. */
gboolean qemu_probe (const char *program, QemuProbe *probe, GError **error);

/**
 * qemu_spec_complete:
 * @spec: (inout): uuid, genid, absolute paths, versioned machine type, accelerator and CPU model
 * are filled in; files are looked up and disks measured
 * @facts: (nullable): saves running QEMU again
 *
 * A -cpu among the extra arguments becomes @spec's; extra arguments that would contradict the spec
 * are refused. README.md says what is decided how.
 *
 * Returns: FALSE with DRIVER_ERROR that names what is wrong; @spec may then be half complete.
 */
gboolean qemu_spec_complete (GuestSpec *spec, QemuFacts *facts, GError **error);

/* How a guest's QEMU is started, beside what its spec says. Everything is borrowed. */
typedef struct {
  gboolean incoming;      /* wait for a migration stream (-incoming defer): for a restore */
  gboolean copy_on_write; /* the memory's file is a template: QEMU's writes stay its own */
  const char *preload;    /* (nullable): see KeeperLaunch, like the rest */
  KeeperFd fds[KEEPER_FDS_MAX];
  guint n_fds;
} QemuLaunch;

/* TRUE if QEMU has the guest's RAM as a file, which it must inherit as GUEST_FD_RAM. */
gboolean qemu_spec_shares_memory (const GuestSpec *spec);

/**
 * qemu_spec_own_memory:
 *
 * An extra argument of @spec that makes the guest's RAM itself (-mem-path, -numa …memdev=, …)
 * cannot go with shared memory.
 *
 * Returns: (nullable): what the argument is and why it cannot, newly allocated.
 */
char *qemu_spec_own_memory (const GuestSpec *spec);

/* QEMU's whole command line for a completed spec, with sockets in @directory. Always begins stopped
 * (-S). NULL-terminated. */
GStrv qemu_command_line (const GuestSpec *spec, const char *directory, const QemuLaunch *launch);

/* A guest that this process drives. The monitor's home (qmp/client.h) is the thread-default context
 * of whoever called qemu_start() or qemu_attach(). */
typedef struct {
  Keeper *keeper;
  QmpClient *monitor;
} QemuGuest;

/* Frees what it holds and resets it. */
void qemu_guest_clear (QemuGuest *guest);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (QemuGuest, qemu_guest_clear)

/**
 * qemu_start:
 * @spec: completed
 * @directory: the guest's directory; made here, mode 0700, with guest.json in it. On failure
 *   everything that was made is removed again and no process is left.
 *
 * The guest is there but stopped; the caller resumes it with qmp_cont().
 */
gboolean qemu_start (const GuestSpec *spec, const char *directory, const QemuLaunch *launch,
                     QemuGuest *guest, GError **error);

/**
 * qemu_adopt:
 * @spec: of a domain
 * @directory: its guest directory, where its bridge serves the monitors; no keeper has been here
 * @qemu: its QEMU
 *
 * Writes guest.json and puts a keeper beside a QEMU that is somebody else's child.
 */
gboolean qemu_adopt (const GuestSpec *spec, const char *directory, ProcessId qemu, QemuGuest *guest,
                     GError **error);

/**
 * qemu_attach:
 * @directory: of a guest started, or adopted, by an earlier daemon
 * @driver: the guest's
 *
 * Finds the guest again: attaches to its keeper (or replaces a killed one) and its monitor. The
 * keeper may still be putting the guest right; a lease waits for that. DRIVER_ERROR_NOT_FOUND if
 * its QEMU is gone; DRIVER_ERROR_FAILED if QEMU or its keeper does not answer (10 s at most): the
 * guest is not touched then.
 */
gboolean qemu_attach (const char *directory, GuestDriver driver, QemuGuest *guest, GError **error);

/* Ends QEMU: `quit` over the monitor, SIGKILL when that is not answered soon; waits until it is
 * gone and its end is recorded. Idempotent. */
gboolean qemu_end (const char *directory, QmpClient *monitor, GError **error);

/* Removes the directory of a guest whose QEMU and keeper are gone, with the files listed in
 * keeper.h and nothing else: a file that is not ours stays, and so does the directory then. */
void qemu_remove_directory (const char *directory);

/* Writes guest.json of a guest directory, whole or not at all. */
gboolean qemu_write_spec (const GuestSpec *spec, const char *directory, GError **error);

/* Reads guest.json of a guest directory. */
GuestSpec *qemu_read_spec (const char *directory, GError **error);

/* Keeps what does not change while a QEMU runs, for the records of its checkpoints. */
typedef struct _MachineRecorder MachineRecorder;

/* @facts: (nullable): borrowed. One recorder for each run of a QEMU, by one thread at a time. */
MachineRecorder *machine_recorder_new (QemuFacts *facts);
/* Frees @recorder, not the facts; NULL is ignored. */
void machine_recorder_free (MachineRecorder *recorder);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (MachineRecorder, machine_recorder_free)

/**
 * machine_recorder_record:
 *
 * What a checkpoint records beside the spec: QEMU's version and package, machine type, CPU model
 * and features, accelerator, devices, firmware and ROM files with size and hash, kernel and initrd
 * with size and hash. Newly allocated: { "driver": "qemu", "spec": {…}, "qemu": {…}, "cpu": {…}, …
 * }.
 */
JsonObject *machine_recorder_record (MachineRecorder *recorder, const GuestSpec *spec,
                                     QmpClient *monitor, GError **error);

/* Begins to hash the read-only disks of @spec, once, in the background and at the lowest priority;
 * records from then on have what is known. The recorder's facts must outlive it. */
void machine_recorder_hash_disks (MachineRecorder *recorder, const GuestSpec *spec);

/* Who writes to the guest's memory past QEMU, as of the last record (foreign-writers.h). @reason:
 * (out) (nullable): borrowed until the next one. */
ForeignWriters machine_recorder_writers (MachineRecorder *recorder, const char **reason);

/* What a preflight is for. */
typedef struct {
  guint64 ram_needed;            /* bytes of memory that the restore will use */
  gboolean accept_changed_disks; /* go on although disks that are not captured have moved on */
  gboolean disks_are_here;       /* those that are captured too: what is behind them is looked at */
  QemuFacts *facts;              /* (nullable): saves running QEMU again, and hashing files */
} QemuPreflight;

/**
 * qemu_preflight:
 * @machine: what a checkpoint recorded
 * @spec: (inout): the spec to be started, from that record, with host-side paths adapted: the QEMU
 *   program and the paths of disks may be other ones
 *
 * Compares what is recorded with what is here: QEMU version (not older), machine type known,
 * accelerator, CPU features, RAM, disks that are not captured (present, size, disk-mark.h).
 *
 * Returns: FALSE with DRIVER_ERROR_IMPOSSIBLE and one sentence for each difference.
 */
gboolean qemu_preflight (JsonObject *machine, GuestSpec *spec, const QemuPreflight *wish,
                         GError **error);

/**
 * qemu_doctor:
 *
 * @program: (nullable): the QEMU to be looked at; NULL: the one that PATH finds
 *
 * What this host can do and what is missing for the rest; newly allocated array of
 * { "check": "userfaultfd", "ok": true|false, "found": "…", "for": "…", "mend": "…" }.
 */
JsonArray *qemu_doctor (const char *program);
