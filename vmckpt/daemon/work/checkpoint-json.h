/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Manifests as the API shows them (docs/api.md, "Checkpoints"). */
#pragma once

#include <vmckpt/store/manifest.h>
#include <vmckpt/store/store.h>

/* The members that lists have; newly allocated. Tags that cannot be read are left out. */
JsonObject *checkpoint_to_json (Store *store, const Manifest *manifest);

/* With parts, machine record and report. */
JsonObject *checkpoint_to_json_full (Store *store, const Manifest *manifest);

/* The report of a checkpoint just made: its id first. */
JsonObject *checkpoint_report (const Manifest *manifest);

/* What differs between two checkpoints of one store. */
JsonObject *checkpoint_diff (Store *store, const Manifest *a, const Manifest *b, GError **error);
