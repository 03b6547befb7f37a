/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Visiting all that a page map refers to, without reading pages. */
#pragma once

#include "map-names.h"

typedef struct {
  /* A node of the map, before it is read; set *@descend to FALSE to leave out what is below. */
  gboolean (*node) (const ChunkName *name, gboolean *descend, gpointer user_data, GError **error);
  /* A page's name, as a leaf or a run has it, whether or not a later run overrides it. */
  gboolean (*page) (guint64 page, const ChunkName *name, gpointer user_data, GError **error);
  gpointer user_data;
} MapVisitor;

/* Stops with FALSE at the first error, also of a visitor. Checks that nodes fit together. */
gboolean map_walk (Store *store, const PageMap *map, const MapVisitor *visitor,
                   GCancellable *cancellable, GError **error);
