/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The serial port's one client: writes what the guest prints into the log and to everybody who is
 * connected to console.sock, and passes on what they type. Never blocks, whatever they do. Runs on
 * the default GMainContext.
 *
 *                     ┌──▶ SerialLog
 *   QEMU ◀──serial──▶ Console ◀──▶ client   each with a queue of CONSOLE_CLIENT_QUEUE bytes;
 *                     └─────────▶ client   whoever lets it run over is disconnected
 */
#pragma once

#include "serial-log.h"

#define CONSOLE_MAX_CLIENTS 16
#define CONSOLE_CLIENT_QUEUE (256 * 1024) /* output that a client has not taken yet */
#define CONSOLE_INPUT_QUEUE (16 * 1024)   /* input that the guest has not taken yet */

typedef struct _Console Console;

/**
 * console_new:
 * @serial_path: the serial port's socket, for connecting again should the connection break
 * @serial: (transfer full): the connection to it
 * @listener: (transfer full): where clients come in
 * @log: (transfer full): where output is kept
 */
Console *console_new (const char *serial_path, int serial, int listener, SerialLog *log);
void console_free (Console *console);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Console, console_free)

/* After QEMU's exit: takes what is left in the serial connection up to its end, and gives clients
 * up to @timeout_ms to take the rest of their queues. */
void console_finish (Console *console, int timeout_ms);
