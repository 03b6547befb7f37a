/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Disks among a guest's extra arguments: QEMU would write to them, and no checkpoint would have
 * them. */
#pragma once

#include <glib.h>

/**
 * extra_disks_find:
 * @extra: QEMU's arguments, NULL-terminated
 *
 * Looks for a disk that is written: -drive and -blockdev that are not read-only (nor empty, nor
 * made of nothing), -hda and the like. `snapshot=on` is no way out: what is written goes to a file
 * that a restored guest does not have.
 *
 * Returns: (nullable): a sentence about the first one that says what to write instead, newly
 * allocated.
 */
char *extra_disks_find (const char *const *extra);
