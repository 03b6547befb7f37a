/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Errors say what was being attempted, once. A function that has the identifiers in hand declares
 *
 *   ERROR_PREFIX (error, "checkpoint of guest %s", name);
 *
 * first, and whatever error it returns, from however deep, then reads "checkpoint of guest g1: …".
 * (The pattern is OSTree's GLNX_AUTO_PREFIX_ERROR.) Each module has one GError domain in its
 * header.
 */
#pragma once

#include <glib.h>

typedef struct {
  GError **error;
  char *prefix;
} ErrorPrefix;

/* Not to be called directly: it runs at the end of the scope that declared the prefix. */
static inline void
error_prefix_apply (ErrorPrefix *scope)
{
  if (scope->error != NULL && *scope->error != NULL)
    g_prefix_error (scope->error, "%s: ", scope->prefix);
  g_free (scope->prefix);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (ErrorPrefix, error_prefix_apply)

#define ERROR_PREFIX(error, ...)                                                                   \
  g_auto (ErrorPrefix) error_prefix_scope G_GNUC_UNUSED = { (error), g_strdup_printf (__VA_ARGS__) }
