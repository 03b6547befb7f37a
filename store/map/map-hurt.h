/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What of a page map cannot be read: where map_walk() stops at the first damage, this goes on. */
#pragma once

#include "map-names.h"

typedef struct {
  /* TRUE in *@usable if the chunk can be read. */
  gboolean (*usable) (const ChunkName *name, gboolean *usable, gpointer user_data, GError **error);
  /* A page whose content cannot be read; what it is called is known. */
  gboolean (*lost) (guint64 page, const ChunkName *name, gpointer user_data, GError **error);
  /* Pages of which nobody knows what they are: a node of the map is lost. */
  gboolean (*unknown) (guint64 first, guint64 count, gpointer user_data, GError **error);
  /* (nullable): A node of the map is lost: a reader cannot do without, even if newer runs replace
   * all that it may have had. */
  void (*broken) (gpointer user_data);
  gpointer user_data;
} MapHurtVisitor;

/**
 * map_hurt:
 *
 * Resolves the map as a reader does (the newest run that has a page counts), past nodes that are
 * lost. Content that a newer run replaces hurts nobody. Pages come in any order, each once.
 *
 * Returns: FALSE with @error if a visitor said so or the store does not answer.
 */
gboolean map_hurt (Store *store, const PageMap *map, const MapHurtVisitor *visitor,
                   GCancellable *cancellable, GError **error);
