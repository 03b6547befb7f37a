/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tag objects: a tag that a checkpoint got after it was taken. */
#pragma once

#include "store-private.h"

/* Removes the tags of checkpoint @id. */
gboolean tags_remove (Store *store, const char *id, GError **error);

/* Removes tags of checkpoints that are not there, and those that cannot be read. */
gboolean tags_remove_stray (Store *store, GError **error);

/* Names of tag objects that do not hold what their name says, added to @damaged. */
gboolean tags_check (Store *store, GPtrArray *damaged, GError **error);
