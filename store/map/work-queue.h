/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A few threads that do what is pushed, in that order. (GThreadPool does the same, but how it hands
 * work over cannot be seen by the thread sanitizer, so it would hide our own mistakes.)
 */
#pragma once

#include <gio/gio.h>

typedef struct _WorkQueue WorkQueue;

typedef void (*WorkFunc) (gpointer item, gpointer user_data);

/* Starts as many threads as there are processors, at most @max_threads; @func is called from them.
 */
WorkQueue *work_queue_new (guint max_threads, WorkFunc func, gpointer user_data, GError **error);

guint work_queue_threads (const WorkQueue *queue);

void work_queue_push (WorkQueue *queue, gpointer item);

/* Waits until all that was pushed is done, and ends the threads. */
void work_queue_free (WorkQueue *queue);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (WorkQueue, work_queue_free)
