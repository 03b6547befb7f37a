/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the missing pages of a guest's memory come from, for a daemon that finds the guest again:
 * fill.json in its directory. It is there before the guest first runs and for as long as pages are
 * missing; which store and checkpoint they are of is also in the guest's log, which counts.
 */
#pragma once

#include <gio/gio.h>

/* Durable when this returns. */
gboolean fill_source_write (const char *directory, const char *store_path, const char *checkpoint,
                            GError **error);

/* The store's path, newly allocated; NULL with G_IO_ERROR if there is none. */
char *fill_source_read (const char *directory, GError **error);

/* All pages are there. */
void fill_source_remove (const char *directory);
