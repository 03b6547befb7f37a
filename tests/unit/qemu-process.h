/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Real QEMUs for tests. */
#pragma once

#include <vmckpt/qmp/client.h>
#include <vmckpt/util/process.h>

typedef struct {
  ChildProcess child;
  char *dir;    /* of its own, removed with it */
  char *socket; /* the monitor's; it may be connected to at once */
} QemuProcess;

/* Kills and reaps it. */
void qemu_process_end (QemuProcess *qemu);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (QemuProcess, qemu_process_end)

/* The installed QEMU, or a newer one; NULL, and the test is skipped, if there is none. Newly
 * allocated. */
char *qemu_program (void);
char *qemu_program_newer (void);

/**
 * qemu_process_start:
 * @program: QEMU's
 * @machine: what follows -machine
 * @more: further arguments, separated by spaces; "" for none
 *
 * Starts a guest without firmware output, disks or network, 16 MiB of RAM unless @more has -m.
 */
QemuProcess qemu_process_start (const char *program, const char *machine, const char *more);

/* Starts qemu-storage-daemon; the child's pid is 0, and the test is skipped, if there is none. */
QemuProcess qemu_storage_daemon_start (void);

/* Connects to its monitor. */
QmpClient *qemu_process_connect (QemuProcess *qemu);
