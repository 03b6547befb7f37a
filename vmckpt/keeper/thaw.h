/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Thaws a guest that was left frozen, through its guest agent. */
#pragma once

#include <vmckpt/util/process.h>

/**
 * thaw_async:
 * @agent_path: the agent's socket, which nobody else uses
 * @qemu: the guest's process
 * @callback: on the caller's context
 *
 * Tries until the agent has answered or @qemu is gone, in a thread of its own. A guest that is
 * stopped answers once it runs; one whose agent has ended, when that is back.
 */
void thaw_async (const char *agent_path, ProcessId qemu, GAsyncReadyCallback callback,
                 gpointer user_data);
/* How many file systems were frozen; -1 with @error if it was given up. */
gssize thaw_finish (GAsyncResult *result, GError **error);
