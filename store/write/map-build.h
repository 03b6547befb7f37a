/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writing page maps: a run of overrides on top of a former map, or a new tree. */
#pragma once

#include "map-names.h"
#include "pipeline.h"

/**
 * map_build:
 * @base: (nullable): the map that the changes are against
 * @changes: (element-type RunEntry): sorted by page, each page once
 * @map: (inout): its length is given, its root is set
 *
 * Chooses what is cheaper in the long run (docs/store-format.md, "When a map is folded").
 */
gboolean map_build (Pipeline *pipeline, MapNames *base, GArray *changes, PageMap *map,
                    GError **error);
