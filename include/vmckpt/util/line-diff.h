/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What differs between two short texts, for people: as diff(1) -u writes it. */
#pragma once

#include <glib.h>

/**
 * line_diff:
 * @old_name, @new_name: for the two lines at the beginning
 * @context: lines around each change
 *
 * The shortest change of whole lines from @old to @new. Texts in which more than a few thousand
 * lines differ are shown as one replacement there.
 *
 * Returns: (transfer full): a unified diff; "" if they are equal.
 */
char *line_diff (const char *old_name, const char *old, const char *new_name, const char *new,
                 guint context);
