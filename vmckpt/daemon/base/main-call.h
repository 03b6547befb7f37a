/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From a worker thread to the main thread, and back when it is done. */
#pragma once

#include <glib.h>

typedef void (*MainCallFunc) (gpointer user_data);

/* Runs @func on the main thread (which must run its loop, or be the caller) and waits for it. */
void main_call (MainCallFunc func, gpointer user_data);
