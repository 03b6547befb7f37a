/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A checkpoint of a libvirt domain goes back into libvirt, which builds the domain from the
 * recorded description and reads memory and devices from a pipe:
 *
 *   Store ──▶ libvirt_save_write() ──pipe──▶ vmckpt-libvirt ──name of it──▶ virDomainRestore ──▶
 * QEMU
 *
 * Nothing is unpacked. Who writes going away before the end, for whatever reason, means a cut
 * image, which libvirt refuses: no domain is left, and what was defined is as it was. The domain is
 * loaded stopped; it runs when it is a guest of the registry under a restore lease of its keeper.
 */
#pragma once

#include "fork.h"
#include "restore.h"

/* Whether @manifest goes into libvirt: by what is wished, or else by its record. */
gboolean domain_restore_is_wanted (const Manifest *manifest, const RestoreRequest *wish);

/* restore_checkpoint() of such a one. @wish->as is a new guest's name: it gets an identity of its
 * own. */
JsonObject *domain_restore (Request *request, Store *store, const Manifest *manifest,
                            const RestoreRequest *wish, GError **error);

/* fork_checkpoint() of such a one: domains of their own, which are gone when they end, with memory
 * and disks of their own. */
JsonObject *domain_fork (Request *request, Store *store, const Manifest *manifest,
                         const ForkRequest *wish, GError **error);
