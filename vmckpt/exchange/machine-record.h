/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How the guest of a foreign stream can be built again. The stream tells the machine type, the
 * number of CPUs, the RAM and the devices that are in it; what it does not tell comes from another
 * checkpoint, from libvirt's description or from the user.
 */
#pragma once

#include "vmstate.h"

#include <vmckpt/exchange/import.h>
#include <vmckpt/store/writer.h>

/* What the stream tells. Borrowed. */
typedef struct {
  const char *machine;
  const VmState *state; /* (nullable): it has no description */
} StreamFacts;

/**
 * machine_record_like:
 * @manifest: (inout): its parts are the stream's; gets machine, kernel and initrd of @like
 *
 * Refuses with EXCHANGE_ERROR_USAGE, naming every difference, a stream that is not of that machine:
 * other machine type, RAM blocks or devices.
 */
gboolean machine_record_like (StoreWriter *writer, Store *store, const Manifest *like,
                              const StreamFacts *facts, Manifest *manifest, GError **error);

/**
 * machine_record_spec:
 * @spec: (inout): gets what the stream tells, and is completed as far as this host lets
 * @notes: (inout) (element-type utf8): what a restore will lack
 * @manifest: (inout): gets machine, kernel and initrd
 */
gboolean machine_record_spec (StoreWriter *writer, GuestSpec *spec, const StreamFacts *facts,
                              GPtrArray *notes, Manifest *manifest, GError **error);
