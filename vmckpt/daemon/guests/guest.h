/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest of this host as the daemon knows it: its spec, its QEMU, its state by QEMU's events, what
 * is at work on it, and what must be known again after a restart (daemon.json in its directory).
 *
 * Any thread, unless said otherwise.
 */
#pragma once

#include "guest-memory.h"
#include "runtime.h"

#include <vmckpt/drivers/qemu.h>
#include <vmckpt/ram/run-clock.h>
#include <vmckpt/unit/unit.h>

typedef enum {
  GUEST_STARTING,
  GUEST_RESTORING,
  GUEST_RUNNING,
  GUEST_PAUSED,
  GUEST_EXITED,
  GUEST_UNRESPONSIVE, /* its QEMU lives, but its monitor does not answer, and nobody knows why */
} GuestState;

typedef struct _Guest Guest;

/* A guest without a QEMU yet, in state @state. */
Guest *guest_new (const Runtime *runtime, const GuestSpec *spec, GuestState state);
Guest *guest_ref (Guest *guest);
void guest_unref (Guest *guest);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Guest, guest_unref)

const char *guest_name (Guest *guest);
const char *guest_uuid (Guest *guest);
/* What it is filed under, here and in the runtime directory: its name, or a domain's UUID. */
const char *guest_key (Guest *guest);
const char *guest_directory (Guest *guest);
/* Lives as long as the guest, also if guest_set_spec() has given it another one since. */
const GuestSpec *guest_spec (Guest *guest);

/* The guest has other files than before: a copy of @spec is its own from now on, durable. With work
 * begun. */
gboolean guest_set_spec (Guest *guest, const GuestSpec *spec, GError **error);
GuestState guest_state (Guest *guest);
ProcessId guest_process (Guest *guest);
gint64 guest_started_us (Guest *guest);

/* Its shared memory, borrowed, or NULL; for whoever is at work on the guest. */
GuestRam *guest_ram (Guest *guest);

/* The same, or, while QEMU is not connected, as it is found in QEMU's process without a word to
 * QEMU, whose main loop may be what waits for a page. (transfer full) (nullable) */
GuestRam *guest_find_ram (Guest *guest);

/* What fills its memory, or has filled it, or NULL. (transfer full) */
GuestFill *guest_get_fill (Guest *guest);

/* @fill (transfer full): pages of its memory are missing and this daemon serves them. */
void guest_set_fill (Guest *guest, GuestFill *fill);

/* Begins to read the missing pages in the background. FALSE if that has begun, or none are. */
gboolean guest_run_fill (Guest *guest);

/* What its fill tells. */
void guest_note_fill (Guest *guest, LazyFillEvent event);

/* Pages that it needs cannot be had: it is paused, with @reason, until it is continued. QEMU is
 * told, not waited for: its CPU or its main loop may stand at such a page. It stays listed so while
 * QEMU cannot be found, too. */
void guest_set_trouble (Guest *guest, const GError *reason);
/* Before what it waits for is tried again: what comes from now on is new trouble. */
void guest_clear_trouble (Guest *guest);
gboolean guest_is_in_trouble (Guest *guest);
/* FALSE with @error, the reason, if it is. */
gboolean guest_check_memory (Guest *guest, GError **error);

/* TRUE if its CPUs stand still by its user's wish, not for lack of a page or of a disk. */
gboolean guest_is_paused_on_purpose (Guest *guest);

/* Its monitor (transfer full), or NULL with an error that says why there is none. */
QmpClient *guest_monitor (Guest *guest, GError **error);

/* An I/O error of a disk has stopped its CPUs, and nobody has said otherwise since. */
gboolean guest_is_io_stopped (Guest *guest);

/* Such a guest goes on: QEMU is told, not waited for. FALSE if it is none. */
gboolean guest_continue_after_io_error (Guest *guest);

/* Called on the main thread when an I/O error has stopped the guest. */
typedef void (*GuestIoErrorFunc) (Guest *guest, gpointer user_data);
void guest_set_io_error_func (Guest *guest, GuestIoErrorFunc func, gpointer user_data);

/* TRUE: its QEMU is still to be found (guest_find_again()): it is unresponsive, or in trouble. */
gboolean guest_is_lost (Guest *guest);

/* Whether pages of it are still to come from that checkpoint. */
gboolean guest_needs_checkpoint (Guest *guest, const char *store_id, const char *checkpoint);

/* The API's object for it, newly allocated. */
JsonObject *guest_to_json (Guest *guest);

/**
 * guest_connect:
 * @qemu: (inout): emptied; the guest owns it from now on
 * @ram: (inout) (nullable contents): likewise
 *
 * Gives the guest its QEMU and listens to it. Blocks until the listeners are set on the main
 * thread; the state is then what QEMU says.
 */
gboolean guest_connect (Guest *guest, QemuGuest *qemu, GuestRam **ram, GError **error);

/**
 * guest_find_again:
 *
 * For a guest that is not connected: fills state and reason from what is there — a
 * QEMU that runs, one that does not answer, or one that is gone. A guest in trouble stays so,
 * unless its QEMU is gone. Blocks.
 */
void guest_find_again (Guest *guest);

/* Reads daemon.json, for a guest that an earlier daemon left. Once, before guest_find_again(). */
void guest_load_memory (Guest *guest);

/* Resumes or pauses the CPUs on a user's wish. One in trouble does not go on. */
gboolean guest_continue (Guest *guest, GError **error);
gboolean guest_pause (Guest *guest, GError **error);

/* If @error says that QEMU does not answer, the guest is listed as unresponsive (or as in trouble,
 * if it is), until it is found again. */
void guest_note_failure (Guest *guest, const GError *error);

/* FALSE with API_CONFLICT if it is handed over to another host: it must not run here, nor from a
 * checkpoint of it, nor go to a third host. */
gboolean guest_check_here (Guest *guest, GError **error);

/* Ends QEMU and waits until it is gone. Works also while something is at work on the guest. */
gboolean guest_kill (Guest *guest, GError **error);

/* The guest has ended on purpose: listed as exited, with this reason, whatever its QEMU's end looks
 * like. */
void guest_set_exited (Guest *guest, const char *reason);

/* Removes the directory of a guest that has ended; nothing is written there any more. */
void guest_remove_files (Guest *guest);

/* The monitor, keeper and clock for a checkpoint; borrowed from @guest. API_CONFLICT or _FAILED if
 * the guest is not there to be checkpointed. */
gboolean guest_as_unit (Guest *guest, Unit *unit, GError **error);

/* How many bytes a checkpoint into the store of that id would have to read now, as far as is known;
 * disks apart. By whoever is at work on it. */
guint64 guest_unsaved_bytes (Guest *guest, const char *store_id);

/* The checkpoint that the guest descends from: its newest, or the one it was restored from. */
char *guest_checkpoint (Guest *guest);
void guest_set_checkpoint (Guest *guest, const char *id);

/* What the bitmaps of its disks are relative to (transfer full), or NULL. */
DiskBase *guest_disk_base (Guest *guest);
/* The same for a next daemon too when this returns TRUE; else it is as before for both. */
gboolean guest_set_disk_base (Guest *guest, const DiskBase *base, GError **error);

/* The checkpoint since which the guest may not have run (transfer full), or NULL. */
Standstill *guest_standstill (Guest *guest);
/* @standstill: (transfer full) (nullable). */
void guest_set_standstill (Guest *guest, Standstill *standstill);

/* On its way to another host (transfer full), or NULL. */
Departure *guest_departure (Guest *guest);
gboolean guest_is_departing (Guest *guest);
/* @departure: (nullable): none any more. On failure it is as before, for a next daemon too. */
gboolean guest_set_departure (Guest *guest, const Departure *departure, GError **error);
/* Nobody knows yet where it runs: it is listed as paused with @reason. TRUE if that is news. */
gboolean guest_set_doubt (Guest *guest, const char *reason);

/* Stores in which this guest is claimed. */
GStrv guest_claims (Guest *guest);
void guest_add_claim (Guest *guest, const char *store_path);
void guest_clear_claims (Guest *guest);

/* Called once, on the main thread, when the guest's QEMU has gone. */
typedef void (*GuestExitFunc) (Guest *guest, gpointer user_data);
void guest_set_exit_func (Guest *guest, GuestExitFunc func, gpointer user_data);

/* ---- Exclusive work ---- */

/* Held while something is at work on a guest; two at a time are refused. */
typedef struct {
  Guest *guest;
} GuestWork;

/**
 * guest_begin_work:
 * @what: "checkpoint", "suspend", …; static
 *
 * Returns: NULL with API_CONFLICT that says what is at work already.
 */
GuestWork *guest_begin_work (Guest *guest, const char *what, GError **error);

/* What is at work while QEMU is looked for. */
#define GUEST_WORK_FINDING "finding it again"

/* The same, but if the guest is just looked for, waits for that; for what helps a lost guest. Not
 * on the main thread. */
GuestWork *guest_begin_work_when_found (Guest *guest, const char *what, GError **error);

/* Work of a moment, which others wait for instead of being refused; itself waits for any other
 * work. NULL if @cancellable was cancelled before. */
GuestWork *guest_begin_brief_work (Guest *guest, const char *what, GCancellable *cancellable);

/* The same, but waits up to @timeout_ms milliseconds for other work to end. */
GuestWork *guest_wait_for_work (Guest *guest, const char *what, int timeout_ms, GError **error);

/* TRUE while something is at work on the guest: its name is not free then, even if its QEMU is
 * gone. */
gboolean guest_is_busy (Guest *guest);
void guest_end_work (GuestWork *work);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (GuestWork, guest_end_work)
