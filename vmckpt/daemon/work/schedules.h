/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Checkpoints of guests at regular times: those that a client's call lasts for, and those that go
 * on by themselves, since the host from which their guest came had no call to hand over, only the
 * rest of the schedule.
 *
 *   a call here ──guest moves──▶ kept there ──guest moves──▶ kept at the next host
 *        │                          ├── 'checkpoint NAME --every none', its end
 *     its end, the client leaves    └── the guest ends
 *
 * One that is kept is in its guest's directory (GUEST_FILE_SCHEDULES), so the next daemon goes on
 * with it; it is gone with the guest. A failure costs it one checkpoint, since nobody is there who
 * could begin it again, and is told in the guest's entry until one succeeds.
 *
 * Any thread.
 */
#pragma once

#include "guest.h"
#include "request.h"

/* So many may be kept of one guest. */
#define SCHEDULES_MAX 16

typedef struct _Schedules Schedules;
Schedules *schedules_new (void);

/**
 * schedules_run:
 *
 * The call POST /v1/guests/NAME/checkpoints of @guest: parses the body and blocks until that ends.
 *
 * Returns: (transfer full): the summary, with "goes_on_at" if the guest has gone to another host,
 * which goes on with it. NULL with @error.
 */
JsonObject *schedules_run (Request *request, Guest *guest, GError **error);

/* One of them. */
typedef struct _ScheduleRun ScheduleRun;
void schedule_run_unref (ScheduleRun *run);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ScheduleRun, schedule_run_unref)

/* (transfer full) (element-type ScheduleRun): those of @guest. */
GPtrArray *schedules_of (Schedules *schedules, Guest *guest);

/* For people: "checkpoints every 10s". Borrowed. */
const char *schedule_run_text (ScheduleRun *run);

/**
 * schedule_run_hand_over:
 * @store_here: (nullable): a store that the other host has under another path,
 * @store_there: which is this one
 *
 * Returns: (transfer full): what schedules_keep() goes on with: `id`, `store`, `store_id`,
 * `elapsed_us`, `begun` and `checkpoints`, the body of the call that began it.
 */
JsonObject *schedule_run_hand_over (Schedules *schedules, ScheduleRun *run, const char *store_here,
                                    const char *store_there);

/* Its guest is on host @to. Without @refused it goes on there; else it ends, as that says. */
void schedule_run_gone (Schedules *schedules, ScheduleRun *run, const char *to,
                        const GError *refused);

/**
 * schedules_keep:
 * @order: of schedule_run_hand_over()
 *
 * Goes on with it here; when this returns TRUE, also after a kill of this daemon. (Not after a
 * power cut, which ends the guest.) Nothing happens if it is here already.
 *
 * Returns: FALSE with @error if it is none, or its store is not there, or another one, or what is
 * kept cannot be written.
 */
gboolean schedules_keep (Daemon *daemon, Guest *guest, JsonObject *order, GError **error);

/* Ends those that go on by themselves. Returns how many these were. */
guint schedules_end_kept (Schedules *schedules, Guest *guest);

/* The API's array for @guest's entry. (transfer full) */
JsonArray *schedules_describe (Schedules *schedules, Guest *guest);

/* Goes on with what an earlier daemon kept of @guest. */
void schedules_find_kept (Daemon *daemon, Guest *guest);

/* The same for all guests; from then on, ends what guests that end have. When the guests have been
 * found, on the main thread. @daemon is borrowed for good. */
void schedules_watch (Daemon *daemon);
