/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A thread that stands ready to do one thing at once: at the pause of a guest even the time that
 * making a thread takes would be the guest's. */
#pragma once

#include <gio/gio.h>

typedef gboolean (*PauseHelperFunc) (gpointer user_data, GError **error);

typedef struct _PauseHelper PauseHelper;

/* Starts the thread, which waits. */
PauseHelper *pause_helper_new (PauseHelperFunc func, gpointer user_data);

/* Lets it run @func, once. */
void pause_helper_go (PauseHelper *helper);

/* Waits for it; what @func said. TRUE if it was never let go. */
gboolean pause_helper_wait (PauseHelper *helper, GError **error);

/* Waits for the thread's end; it need not have been let go. */
void pause_helper_free (PauseHelper *helper);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PauseHelper, pause_helper_free)
