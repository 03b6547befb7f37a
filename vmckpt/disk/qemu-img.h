/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qemu-img, which makes and converts images. */
#pragma once

#include <gio/gio.h>

/**
 * qemu_img_run:
 * @args: NULL-terminated, without the program; file names absolute
 *
 * Runs qemu-img (VMCKPT_QEMU_IMG, else the one in PATH) and waits for its end; a cancelled one is
 * killed. Any thread.
 *
 * Returns: FALSE with DISK_ERROR_FAILED that ends with what it said, DISK_ERROR_IMPOSSIBLE if there
 * is no such program, or G_IO_ERROR_CANCELLED.
 */
gboolean qemu_img_run (const char *const *args, GCancellable *cancellable, GError **error);
