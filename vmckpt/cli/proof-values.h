/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How a checkpoint is to be proven, for the verbs that have it done. */
#pragma once

#include "verb.h"

/* Values of --timeout, --until and --command. */
typedef struct {
  char *timeout, *until, *command;
} ProofValues;

/* Puts them into @body; they go with @option, which is @wanted or not. */
gboolean proof_values_add (const ProofValues *values, gboolean wanted, const char *option,
                           JsonObject *body, GError **error);

/* Tells the user what came of it. */
void proof_values_say (Cli *cli, JsonObject *proof, const char *id);
