/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A QEMU without a guest, started to be asked what it is and can do. */
#pragma once

#include <vmckpt/drivers/qemu.h>
#include <vmckpt/util/process.h>

#include "private-context.h"

typedef struct {
  ChildProcess child;
  QmpClient *monitor; /* (nullable) */
} QemuSession;

#define QEMU_SESSION_NONE ((QemuSession){ 0 })

/* Ends it. */
void qemu_session_clear (QemuSession *session);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (QemuSession, qemu_session_clear)

/**
 * qemu_session_open:
 * @program: a path, or a name looked up in PATH
 * @accel: (nullable): accelerator, or NULL for TCG
 * @session: (out): what is to be asked; its monitor lives on the thread-default context, which
 *   should be a PrivateContext
 *
 * DRIVER_ERROR_NOT_FOUND if there is no such program, _FAILED if it does not behave like QEMU.
 */
gboolean qemu_session_open (const char *program, const char *accel, QemuSession *session,
                            GError **error);

/* The absolute path of @program. DRIVER_ERROR_NOT_FOUND. */
char *qemu_find_program (const char *program, GError **error);
