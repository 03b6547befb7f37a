/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* File descriptors: one owner each, whole reads and writes, and passing them over a socket. */
#pragma once

#include <gio/gio.h>
#include <sys/types.h>

/* A descriptor that is closed when it goes out of scope: `g_auto (AutoFd) fd = -1;`. */
typedef int AutoFd;

/**
 * fd_close:
 * @fd: (inout): descriptor to close, or -1
 *
 * Closes @fd once and sets it to -1; errno is kept. Safe on -1.
 */
void fd_close (AutoFd *fd);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (AutoFd, fd_close)

/* Takes the descriptor out of its guard. */
static inline int
fd_steal (AutoFd *fd)
{
  int taken = *fd;
  *fd = -1;
  return taken;
}

/**
 * fd_read_full:
 * @fd: descriptor
 * @buf: (out caller-allocates): where the bytes go
 * @len: how many bytes are wanted
 *
 * Reads until @len bytes are there or the end is reached; retries EINTR.
 *
 * Returns: bytes read (less than @len only at the end of the file), or -1 with @error (G_IO_ERROR).
 */
gssize fd_read_full (int fd, void *buf, gsize len, GError **error);

/**
 * fd_write_full:
 * @fd: descriptor
 * @buf: bytes to write
 * @len: how many
 *
 * Writes all of @buf; retries EINTR and short writes.
 *
 * Returns: FALSE with @error (G_IO_ERROR: NO_SPACE, BROKEN_PIPE, …) if not all could be written.
 */
gboolean fd_write_full (int fd, const void *buf, gsize len, GError **error);

/**
 * fd_replace_file:
 * @path: file, made with mode 0600 or replaced
 * @text: its new content
 *
 * Other processes see the old content or the new, also when this one is killed. Nothing is synced:
 * for what means nothing once the machine has crashed, where a wait for the disk would hurt.
 *
 * Returns: FALSE with @error (G_IO_ERROR): @path is as it was.
 */
gboolean fd_replace_file (const char *path, const char *text, gsize len, GError **error);

/**
 * fd_send:
 * @sock: a connected UNIX socket
 * @buf: (not nullable): the message, at least one byte
 * @len: its length
 * @pass: descriptor to pass along (SCM_RIGHTS), or -1; stays the caller's
 *
 * Sends one message, with a descriptor if @pass is not -1. SIGPIPE is not raised.
 * The descriptor goes with the first byte; the rest follows if the socket takes only a part.
 */
gboolean fd_send (int sock, const void *buf, gsize len, int pass, GError **error);

/* One attempt of that, for non-blocking sockets: bytes sent (then @pass went along), or -1 with
 * errno. */
gssize fd_send_some (int sock, const void *buf, gsize len, int pass);

/**
 * fd_receive:
 * @sock: a connected UNIX socket
 * @buf: (out caller-allocates): the message
 * @size: room in @buf
 * @passed: (out) (optional): a descriptor that came along, close-on-exec, or -1; the caller owns
 * it. Descriptors beyond the first, or when @passed is NULL, are closed.
 *
 * Receives one message.
 *
 * Returns: its length, 0 when the peer has closed, or -1 with @error.
 */
gssize fd_receive (int sock, void *buf, gsize size, AutoFd *passed, GError **error);

/**
 * fd_set_errno_error:
 * @error: (out) (optional): set to G_IO_ERROR with the code that errno maps to
 * @format: what was being attempted, without the reason: it is appended as ": strerror"
 *
 * Turns errno into a GError. Returns FALSE always, for `return fd_set_errno_error (…)`.
 */
gboolean fd_set_errno_error (GError **error, const char *format, ...) G_GNUC_PRINTF (2, 3);

/**
 * fd_connect_unix / fd_listen_unix:
 * @path: file name of the socket; bounded by sockaddr_un, a longer one is an error that says so
 *
 * Connects to a SOCK_STREAM UNIX socket, or makes one (mode 0600; a socket file that nobody listens
 * on is replaced, one that answers is G_IO_ERROR_ADDRESS_IN_USE).
 *
 * Returns: a close-on-exec descriptor, or -1 with @error (G_IO_ERROR).
 */
int fd_connect_unix (const char *path, GError **error);
int fd_listen_unix (const char *path, GError **error);

/* fd_connect_unix() that gives up after @timeout_ms (0: never) if the listener's queue is full:
 * G_IO_ERROR_WOULD_BLOCK. */
int fd_connect_unix_within (const char *path, int timeout_ms, GError **error);
