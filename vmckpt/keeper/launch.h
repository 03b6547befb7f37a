/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starting QEMU as the keeper's child, and waiting until it can be talked to. */
#pragma once

#include <vmckpt/util/fd.h>
#include <vmckpt/util/process.h>

/**
 * launch_qemu:
 * @argv: NULL-terminated command line
 * @preload: (nullable): object that is loaded into it before all others
 * @child: (out): the process; its guard kills it
 *
 * Runs QEMU in the current directory with standard input (/dev/null), output and error (both the
 * caller's standard error), and whatever else is open here without close-on-exec. To be called
 * while the process has one thread. KEEPER_ERROR_START if the program cannot be run.
 */
gboolean launch_qemu (char *const *argv, const char *preload, ChildProcess *child, GError **error);

/**
 * launch_wait_ready:
 * @child: QEMU, or none if it is not a child
 * @log: its standard error's file; what is in it behind @log_offset is quoted when QEMU ends
 * @deadline: monotonic, microseconds
 * @serial: (out): connection to the serial port
 *
 * Waits until the serial port is connected and the keeper's monitor has answered, which is when
 * QEMU has built the whole machine. Works in the current directory. KEEPER_ERROR_START if QEMU ends
 * or the deadline passes.
 */
gboolean launch_wait_ready (ChildProcess *child, const char *log, guint64 log_offset,
                            gint64 deadline, AutoFd *serial, GError **error);

/* Connects to the serial port of a QEMU that runs already; waits for it up to @deadline. */
gboolean launch_connect_serial (gint64 deadline, AutoFd *serial, GError **error);
