/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The state of a stopped guest's devices, without its shared memory, in milliseconds whatever the
 * size of that: a migration with the capability x-ignore-shared into a pipe that is read to its end
 * into memory.
 *
 *   device_state_new      a pipe, and a thread that reads it           ┐ the guest runs
 *   device_state_prepare  QEMU gets the capability and the write end   ┘
 *   device_state_begin    QEMU sends; time for other work              ┐ it is stopped
 *   device_state_wait     all is there, QEMU has closed the pipe       ┘
 *   device_state_finish   was it complete; the capability is off       - it may run again
 *
 * The end of the pipe is the event that is waited for: QEMU closes it when its migration thread has
 * ended, and only then takes a `cont` (before, in "finish-migrate", it refuses one). The guest is
 * then in "postmigrate", its disks released; `cont` takes them back.
 *
 * Blocks in the stream that are not shared files come with all their pages. Whether each block is
 * either known otherwise or complete is for who takes the stream apart (StreamReader).
 */
#pragma once

#include <vmckpt/ram/capture.h>

typedef struct _DeviceState DeviceState;

/* @monitor: borrowed. Nothing is asked of QEMU yet. */
DeviceState *device_state_new (QmpClient *monitor, GError **error);

/* Stops reading and closes the pipe. Asks nothing of QEMU: one that still sends gets an error, and
 * its migration fails (but for a keeper that shares the pipe and reads on). NULL is ignored. */
void device_state_free (DeviceState *state);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (DeviceState, device_state_free)

/* The pipe's read end, for keeper_lease_checkpoint(), which has to come before
 * device_state_prepare(); borrowed. */
int device_state_stream (const DeviceState *state);

/* Gets QEMU ready while the guest runs. */
gboolean device_state_prepare (DeviceState *state, GError **error);

/* Starts sending. The guest is stopped. */
gboolean device_state_begin (DeviceState *state, GError **error);

/* Waits until all is read. RAM_ERROR_STALLED if QEMU does not end within 30 s; RAM_ERROR_IMPOSSIBLE
 * if it sent more than 256 MiB; G_IO_ERROR. */
gboolean device_state_wait (DeviceState *state, GCancellable *cancellable, GError **error);

/* After the wait, with the guest running again or left stopped: RAM_ERROR_FAILED with QEMU's reason
 * if what was read is not complete. */
gboolean device_state_finish (DeviceState *state, GError **error);

/**
 * device_state_abandon:
 *
 * After any failure since device_state_new(): cancels what goes on, waits until QEMU is through,
 * takes everything back. Cancelling is safe here: no page of the guest's memory is protected, as
 * in a background snapshot. The guest is then stopped ("paused" or "postmigrate") if it was.
 *
 * Returns: FALSE with @error if QEMU does not answer or does not end: leave the lease to break.
 */
gboolean device_state_abandon (DeviceState *state, GError **error);

/* What was read, after device_state_wait(); borrowed. */
const GByteArray *device_state_bytes (const DeviceState *state);
