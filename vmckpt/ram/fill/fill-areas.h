/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which parts of a guest's RAM are registered how with its userfaultfd while it is filled:
 *
 *   before     data: missing and write-protected      long zeros: write-protected
 *   after      the same, and zeros among the data of some length: write-protected
 *
 * Each change of kind is the border of a memory area, of which a process may have vm.max_map_count
 * (65530); so there are bounds on how many are made, and shorter stretches of zeros are missing, or
 * filled with zeros, where there would be more.
 */
#pragma once

#include "page-delivery.h"

/* Borders, at most, of either step. */
#define FILL_AREAS_MAX 8192

/* @data: a bit for each PAGE_MAP_STRETCH pages that may have data. Pages of the others become
 * present. What is protected stays so. */
gboolean fill_areas_register (PageDelivery *delivery, const guint64 *data, GError **error);

/* Everything as missing, nothing protected. */
gboolean fill_areas_register_untracked (PageDelivery *delivery, GError **error);

/**
 * fill_areas_settle:
 * @zero: bitmap of the pages that are zeros in the map; all others are present
 * @discards: the guest gives pages back: no page may be missing from now on, at the price that all
 * count as written once
 *
 * After this nobody waits for a page any more, but for those that are given back. Nobody may look
 * for written pages meanwhile.
 */
gboolean fill_areas_settle (PageDelivery *delivery, const guint64 *zero, gboolean untracked,
                            gboolean discards, GError **error);
