/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Progress of long work: which phase, how much of how much. The work reports; whoever started it
 * decides what to do with that (draw a bar, write a status line, nothing).
 */
#pragma once

#include <glib.h>

/*
 * The phases, after the grid literature's common checkpointer interface: the same names in code,
 * API, progress and timing report.
 */
typedef enum {
  PHASE_PREPARE, /* checkpoint: everything that can be done while the guest runs */
  PHASE_STOP,    /* the guest's CPUs stop: the pause begins */
  PHASE_CAPTURE, /* what must be read at the instant is read */
  PHASE_DISKS,   /* what the disks hold at the instant is held */
  PHASE_RESUME,  /* the guest's CPUs run again: the pause ends */
  PHASE_STORE,   /* pages and device state go into the store */
  PHASE_COMMIT,  /* the manifest is written: now the checkpoint exists */
  PHASE_REBUILD, /* restart: the guest is put together from a checkpoint */
  PHASE_READ,    /* check, gc and verify read the store */
  PHASE_COUNT
} Phase;

/* The phase's name: "prepare", "stop", … */
const char *phase_name (Phase phase);

/**
 * ProgressFunc:
 * @phase: what is being done
 * @done: bytes done so far in this phase
 * @total: bytes in all, or 0 if not known
 * @user_data: the receiver's
 *
 * Called often and from any thread: it must return soon and thin the calls out itself.
 */
typedef void (*ProgressFunc) (Phase phase, guint64 done, guint64 total, gpointer user_data);

/* A receiver to hand down; a NULL Progress or func means that nobody listens. */
typedef struct {
  ProgressFunc func;
  gpointer user_data;
} Progress;

/* Reports to @progress, which may be NULL. */
void progress_report (const Progress *progress, Phase phase, guint64 done, guint64 total);
