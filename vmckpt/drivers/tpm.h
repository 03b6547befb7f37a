/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The TPM 2.0 of a guest: a process of its own (swtpm) that QEMU talks to over a socket in the
 * guest's directory. It ends when QEMU does, and with nothing else: a daemon's death is nothing to
 * it. What it knows is in its files in that directory, and at a checkpoint in QEMU's device state;
 * a restored guest's begins empty and is given that by QEMU.
 */
#pragma once

#include <vmckpt/drivers/guest-spec.h>

/* Starts it in @directory, where it listens when this returns. DRIVER_ERROR_NOT_FOUND: there is no
 * swtpm; _FAILED with what it said. */
gboolean tpm_start (const char *directory, GError **error);

/* Ends one that no QEMU came to. */
void tpm_abandon (const char *directory);

/* QEMU's arguments for it, each newly allocated, added to @args. */
void tpm_arguments (GPtrArray *args);
