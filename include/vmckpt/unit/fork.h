/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Several guests from one checkpoint, which share its clean pages in memory (ram/template.h): all
 * of them, or none.
 *
 *   start     every QEMU, its RAM the template mapped copy-on-write, stopped and untouched
 *   register  all wait for what is missing from here on; the template begins to fill
 *   load      devices and small blocks of each
 *   resume    when all are loaded: if one cannot be, none has run
 */
#pragma once

#include <vmckpt/ram/template-fill.h>
#include <vmckpt/unit/unit.h>

/* One of them. */
typedef struct {
  const GuestSpec *spec; /* from guest_spec_fork(); borrowed */
  const char *directory; /* must not exist; borrowed */
  GuestRam *ram;         /* (out) */
  QemuGuest qemu;        /* (out) */
  double ms;             /* (out): from the beginning until it ran, or was ready to */
  /* Of the work itself: */
  KeeperLease *lease;
  GError *error;
} ForkedGuest;

/* Frees what it holds and resets it; a QEMU goes on. */
void forked_guest_clear (ForkedGuest *guest);

/* The part of @manifest that guests of @spec share; borrowed. DRIVER_ERROR_IMPOSSIBLE if there is
 * none: the machine has no RAM block that can be a file, or the checkpoint none of that name. */
const ManifestPart *unit_fork_part (const Manifest *manifest, const GuestSpec *spec,
                                    GError **error);

/* GUEST_FILE_TEMPLATE in @directory, the guest's: from where a next daemon reads what is missing of
 * a fork's memory. Durable when this returns; G_FILE_ERROR. */
gboolean fork_source_write (const char *directory, const char *store_path, const char *checkpoint,
                            GError **error);
/* What it says: both newly allocated; FALSE with G_FILE_ERROR_NOENT if nothing is missing. */
gboolean fork_source_read (const char *directory, char **store_path, char **checkpoint,
                           GError **error);
/* Nothing is missing any more. No error if it is not there. */
void fork_source_remove (const char *directory);

/* The guests are about to run; FALSE with @error keeps them from it. */
typedef gboolean (*ForkRunFunc) (gpointer user_data, GError **error);

/**
 * unit_fork:
 * @store_path: where @store is, for the next daemon
 * @fill: new, of unit_fork_part(); nothing was added to it
 * @guests: @count of them
 * @paused: leave them paused
 * @before_run: (nullable): called once when all are loaded and none has run
 *
 * Where QEMU cannot have a userfaultfd all pages are read before the guests load; a message says
 * so. Until the last one is ready, a death of this process ends them. On failure no process and no
 * file is left. Blocks; worker thread.
 */
gboolean unit_fork (Store *store, const char *store_path, const Manifest *manifest,
                    TemplateFill *fill, ForkedGuest *guests, guint count, gboolean paused,
                    ForkRunFunc before_run, gpointer user_data, const UnitWatcher *watcher,
                    GError **error);

/* Ends guests that unit_fork() has started, when what comes after it fails. */
void unit_fork_undo (TemplateFill *fill, ForkedGuest *guests, guint count);

/* What memory guests use (proc_pid_smaps(5)). Bytes. */
typedef struct {
  guint64 resident;     /* of one QEMU: Rss, all that it has mapped */
  guint64 proportional; /* Pss: shared pages by halves, thirds … */
  guint64 own;          /* private pages */
} ForkMemory;

/* Of QEMU process @pid; FALSE if it is gone. */
gboolean fork_memory_of (pid_t pid, ForkMemory *memory);
