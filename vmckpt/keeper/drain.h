/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads an orphaned migration stream to its end and drops it, in a thread of its own: QEMU's main
 * loop may wait for its stream to be read, so whoever talks to QEMU must not be the one who reads.
 */
#pragma once

#include <gio/gio.h>

typedef struct _Drain Drain;

/* @stream: (transfer full): the read end, or -1: an empty stream that is at its end. */
Drain *drain_new (int stream);

/* Reads what is there now, stops, closes the stream. */
void drain_free (Drain *drain);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Drain, drain_free)

/* Bytes read so far. Any thread. */
guint64 drain_bytes (Drain *drain);
