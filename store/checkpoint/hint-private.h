/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What removing, gc and check need of hints. */
#pragma once

#include <vmckpt/store/hint.h>

#include "store-private.h"

/* Removes the hint of checkpoint @id, if it has one. */
gboolean hint_remove (Store *store, const char *id, GError **error);

/* Removes hints of checkpoints that are not there, and those that cannot be read. */
gboolean hints_remove_stray (Store *store, GError **error);

/* Adds the names of hints that do not hold what they should to @damaged. */
gboolean hints_check (Store *store, GPtrArray *damaged, GError **error);
