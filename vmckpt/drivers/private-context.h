/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A GMainContext for the length of a scope. A monitor that is only asked a few questions lives on
 * it, so that waiting for an answer runs nothing of the caller's:
 *
 *   g_auto (PrivateContext) home = private_context_push ();
 */
#pragma once

#include <gio/gio.h>

typedef struct {
  GMainContext *context;
} PrivateContext;

static inline PrivateContext
private_context_push (void)
{
  PrivateContext home = { g_main_context_new() };

  g_main_context_push_thread_default (home.context);
  return home;
}

/* Not to be called directly: it runs at the end of the scope. */
static inline void
private_context_pop (PrivateContext *home)
{
  g_main_context_pop_thread_default (home->context);
  g_main_context_unref (home->context);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (PrivateContext, private_context_pop)
