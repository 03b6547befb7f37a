/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The socket of a monitor, cut into lines. It knows nothing of JSON, commands or main loops:
 * whoever owns it asks when the socket is ready. Never blocks, except in qmp_transport_wait(). Not
 * thread-safe.
 */
#pragma once

#include <gio/gio.h>

/*
 * The longest line taken. QEMU's longest answers are query-qmp-schema (0.2 MiB in 7.2, 0.3 MiB
 * in 10.0) and lists that grow with the guest's devices, seen below 1 MiB; QEMU takes 64 MiB
 * itself.
 */
#define QMP_MAX_LINE (16 * 1024 * 1024)

typedef struct _QmpTransport QmpTransport;

/* Takes @fd (transfer full), a connected stream socket, and makes it non-blocking. */
QmpTransport *qmp_transport_new (int fd);

/* Closes the socket. */
void qmp_transport_free (QmpTransport *transport);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (QmpTransport, qmp_transport_free)

/* The socket, borrowed, for poll(2). */
int qmp_transport_fd (QmpTransport *transport);

/**
 * qmp_transport_fill:
 *
 * Reads what the socket holds now, at most about 1 MiB, so that one peer cannot keep the caller
 * busy.
 *
 * Returns: FALSE with @error (QMP_ERROR_LOST) when the peer is gone. Lines that came before are
 * still to be had from qmp_transport_take_line().
 */
gboolean qmp_transport_fill (QmpTransport *transport, GError **error);

/**
 * qmp_transport_take_line:
 * @len: (out): length of the line, without its end
 *
 * Returns: (transfer full): the next complete line, with a NUL behind it; NULL without @error if
 * there is none, with @error (QMP_ERROR_PROTOCOL) if the line is longer than QMP_MAX_LINE.
 */
char *qmp_transport_take_line (QmpTransport *transport, gsize *len, GError **error);

/**
 * qmp_transport_queue:
 * @line: (transfer full): a line with its end
 * @pass_fd: (transfer full): a descriptor that goes with its first byte, or -1
 *
 * Appends to what is to be sent; qmp_transport_flush() sends it.
 */
void qmp_transport_queue (QmpTransport *transport, char *line, int pass_fd);

/* Sends what the socket takes now. FALSE with @error (QMP_ERROR_LOST) when the peer is gone. */
gboolean qmp_transport_flush (QmpTransport *transport, GError **error);

/* TRUE while something is still to be sent. */
gboolean qmp_transport_pending (QmpTransport *transport);

/**
 * qmp_transport_wait:
 * @deadline_us: g_get_monotonic_time() at which to give up
 *
 * Blocks until there is something to read, or room for what is still to be sent.
 *
 * Returns: FALSE with @error (QMP_ERROR_TIMEOUT) when the deadline has passed.
 */
gboolean qmp_transport_wait (QmpTransport *transport, gint64 deadline_us, GError **error);
