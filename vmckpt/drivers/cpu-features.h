/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* CPU models as QEMU's -cpu takes them, and the features that they stand for. */
#pragma once

#include <vmckpt/qmp/client.h>

/**
 * cpu_expand:
 * @cpu: a model with or without properties, e.g. "qemu64-v1,avx=on", as -cpu takes it
 *
 * Asks QEMU what @cpu is under its accelerator on this host (query-cpu-model-expansion, "static").
 *
 * Returns: (transfer full): the expanded model { "name": "base", "props": { … } }.
 * DRIVER_ERROR_INVALID if QEMU does not know the model or a property, _FAILED if the answer makes
 * no sense.
 */
JsonObject *cpu_expand (QmpClient *monitor, const char *cpu, GError **error);

/* The expanded model as -cpu takes it: the same features on every QEMU that has them. */
char *cpu_model_to_text (JsonObject *model);

/* Names of the features that are on in an expanded model, sorted. */
GStrv cpu_model_features (JsonObject *model);

/* TRUE for a name whose meaning depends on the host or on QEMU's version. */
gboolean cpu_is_unportable (const char *cpu);
