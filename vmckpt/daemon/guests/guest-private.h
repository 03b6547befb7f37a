/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a Guest is made of, for the files that carry its functions: guest (its life, what users ask
 * for), guest-qemu (what QEMU tells, finding it again), guest-pages (memory that is not there yet),
 * guest-kept (what a next daemon must know) and guest-work (one work at a time). */
#pragma once

#include "guest.h"

struct _Guest {
  gatomicrefcount refs;
  char *directory;
  char *host;
  RunClock *clock;
  QemuFacts *facts; /* borrowed */
  /* Everything below is guarded by the lock. */
  GMutex lock;
  GuestSpec *spec;
  GPtrArray *former; /* specs that it had before, which others may still look at */
  QemuGuest qemu;
  MachineRecorder *recorder; /* (nullable) of that QEMU; used by whoever is at work */
  GuestRam *ram;             /* (nullable): not replaced while something is at work */
  GuestTracking *tracking;   /* (nullable): of @ram; likewise */
  GuestFill *fill;           /* (nullable): of @ram; likewise */
  gboolean trouble;          /* paused since pages cannot be had, as @reason says */
  gboolean faulted;          /* it ran, and was stopped by such pages or by a disk */
  gboolean lost;             /* its QEMU does not answer, and is to be found again */
  ProcessId process;
  GuestState state;
  char *reason;
  const char *work;
  gboolean brief;      /* that work takes a moment */
  char *io_error;      /* (nullable): the last one that stopped the guest, in words */
  gboolean io_stopped; /* by that */
  GuestIoErrorFunc io_error_func;
  gpointer io_error_data;
  GCond idle; /* work has become NULL */
  char *qemu_version;
  GuestMemory *memory;
  gboolean removed; /* its directory is gone and must not come back */
  GuestExitFunc exit_func;
  gpointer exit_data;
};

#define LOCK(guest)                                                                                \
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&(guest)->lock)

/* All of these with the lock held. */

void guest_set_state (Guest *guest, GuestState state, const char *reason);

/* Its QEMU is to be found again. Trouble stays what the user is told: a QEMU that waits for a page
 * cannot answer. */
void guest_set_lost (Guest *guest, const char *reason);

/* Work that ends late must not bring a removed guest's file back. */
void guest_save_memory (Guest *guest);

/* Adds how much of its memory is there; only while some is missing. */
void guest_describe_fill (Guest *guest, JsonObject *object);

/* Without the lock. */

/* Found again, with what was known of it lost: one that runs was handed over to nobody; of one that
 * stands still nobody knows, so it is listed with that reason until its user says so. */
void guest_judge_doubt (Guest *guest);

/* Asks QEMU for its state, which no event told. @timeout_ms: 0: the usual. */
gboolean guest_refresh_state (Guest *guest, int timeout_ms, GError **error);

/* QEMU is told, not waited for. */
void guest_tell_to_stop (Guest *guest);
