/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From the spec of a checkpoint to the specs of its forks: what makes each a guest of its own, and
 * what two guests cannot both have. And to the spec of a throw-away run, which is the same guest,
 * but cannot reach anything.
 */
#pragma once

#include <vmckpt/drivers/guest-spec.h>

/**
 * guest_spec_check_fork:
 * @spec: completed
 *
 * Several guests are to run from @spec at once. Refused is what they would have to share and
 * cannot: writable disks that no checkpoint has (shared, excluded), ports and sockets and files on
 * the host, devices of the host, memory beside the guest's RAM.
 *
 * Returns: FALSE with DRIVER_ERROR_IMPOSSIBLE and a sentence for each hindrance.
 */
gboolean guest_spec_check_fork (const GuestSpec *spec, GError **error);

/**
 * guest_spec_fork:
 * @spec: that guest_spec_check_fork() has passed
 * @name: the fork's
 *
 * A copy with a name, uuid and generation id of its own, and a locally administered address for
 * each network card.
 */
GuestSpec *guest_spec_fork (const GuestSpec *spec, const char *name);

/**
 * guest_spec_isolate:
 * @spec: (inout): completed
 *
 * Makes @spec that of a throw-away run beside the guest itself: each network connection leads
 * nowhere, and a reset ends it. Names, uuid and addresses stay, as nobody outside sees them. Disks
 * are the caller's to replace.
 *
 * Returns: FALSE with DRIVER_ERROR_IMPOSSIBLE and a sentence for each hindrance, which are those of
 * guest_spec_check_fork().
 */
gboolean guest_spec_isolate (GuestSpec *spec, GError **error);
