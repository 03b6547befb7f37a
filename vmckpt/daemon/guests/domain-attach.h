/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A libvirt domain as the QEMU of a guest: its bridge (vmckpt/libvirt/libvirt-bridge.h), which
 * serves the monitors, and a keeper beside it. Both live in the guest's directory and outlive the
 * daemon; they end with the domain. Calls block; any thread but the main one.
 */
#pragma once

#include <vmckpt/unit/unit.h>

/**
 * domain_attach:
 * @spec: of the domain
 * @directory: made here if it is not there
 * @ram: (out): its memory if it is prepared, else NULL
 * @qemu: (out)
 *
 * The first time, or again: starts what is not there of bridge and keeper. What a dead daemon had
 * set in QEMU is put back.
 *
 * Returns: FALSE with @error; DRIVER_ERROR_NOT_FOUND if the domain is gone, or is another run of
 * it than the one that was attached.
 */
gboolean domain_attach (const GuestSpec *spec, const char *directory, GuestRam **ram,
                        QemuGuest *qemu, GError **error);

/* Ends bridge and keeper, not the domain. Files are left. */
void domain_detach (const char *directory);

/* Has libvirt destroy the domain, and waits until its end is recorded. Succeeds if it is gone. */
gboolean domain_end (const GuestSpec *spec, const char *directory, GError **error);
