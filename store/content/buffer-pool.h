/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Buffers of one size that are used again and again. What goes back to malloc at every turn comes
 * back as fresh pages, which the kernel must find and zero: up to a fifth of the time that
 * reading or writing much takes. Threads: any.
 */
#pragma once

#include <gio/gio.h>

typedef struct _BufferPool BufferPool;

/* A pool of buffers of @size bytes, of which it keeps at most @keep that nobody uses. */
BufferPool *buffer_pool_new (gsize size, guint keep);

/* Buffers that are given back keep the pool, whoever made it may go first. */
void buffer_pool_unref (BufferPool *pool);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (BufferPool, buffer_pool_unref)

/* Returns: a buffer of the pool's size, with whatever was in it: buffer_pool_give() takes it back.
 */
guint8 *buffer_pool_take (BufferPool *pool);

/* Takes a buffer back; @buffer: (nullable): one of the pool's, which may have been made longer with
 * g_realloc(). */
void buffer_pool_give (BufferPool *pool, guint8 *buffer);

/* Frees what nobody uses. */
void buffer_pool_trim (BufferPool *pool);

/* An empty array with the room of a buffer. */
GByteArray *buffer_pool_take_array (BufferPool *pool);

/* Takes back the buffer of an array that nobody else refers to; @array: (nullable) (transfer full).
 */
void buffer_pool_give_array (BufferPool *pool, GByteArray *array);
