/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where a store keeps its objects: a few calls that a directory, a memory table and later an object
 * service can all offer. Objects are immutable; an object is there whole or not at all.
 *
 * Duties of every backend (tests/unit/test-backend.c holds each of them against these):
 *  - put and the commit of a stream are atomic: a reader sees nothing or all of the object, also
 * after a crash, and an object that is there is never changed;
 *  - after sync() returned TRUE, every object put before it survives a power cut;
 *  - every call may be made from any thread, and from several processes at once.
 */
#pragma once

#include <gio/gio.h>

typedef struct _Backend Backend;

/* An object being written piece by piece: too large for memory, and perhaps named by a hash that is
 * known only at the end. One thread at a time. Backends put what is theirs behind it. */
typedef struct {
  Backend *backend;
} BackendStream;

/* Called for each object; return FALSE to stop the listing (which then returns TRUE). */
typedef gboolean (*BackendListFunc) (const char *name, guint64 size, gint64 mtime_us,
                                     gpointer user_data);

typedef struct {
  /* Stores @data under @name unless an object of that name exists: then *existed is TRUE, the
   * object is left as it is, and the call succeeds. Errors: G_IO_ERROR (NO_SPACE,
   * PERMISSION_DENIED, …). */
  gboolean (*put_if_absent) (Backend *backend, const char *name, GBytes *data, gboolean *existed,
                             GError **error);
  /* Reads @len bytes at @offset; @len == G_MAXSIZE: to the end. A range beyond the end is
   * G_IO_ERROR_PARTIAL_INPUT, a missing object G_IO_ERROR_NOT_FOUND. */
  GBytes *(*get) (Backend *backend, const char *name, guint64 offset, gsize len, GError **error);
  /* Size of an object; G_IO_ERROR_NOT_FOUND. */
  gboolean (*stat) (Backend *backend, const char *name, guint64 *size, GError **error);
  /* Lists the objects whose name begins with @prefix (a whole directory, "packs/"), in any order.
   */
  gboolean (*list) (Backend *backend, const char *prefix, BackendListFunc func, gpointer user_data,
                    GError **error);
  /* Removes an object; one that is not there is a success. */
  gboolean (*remove) (Backend *backend, const char *name, GError **error);
  /* Makes everything put and removed so far durable. */
  gboolean (*sync) (Backend *backend, GError **error);
  /* Bytes that can still be stored, or G_MAXUINT64 if nobody knows. */
  gboolean (*space) (Backend *backend, guint64 *available, GError **error);
  /* Begins an object without a name, which nobody sees. */
  BackendStream *(*stream_begin) (Backend *backend, GError **error);
  /* Appends to it. After FALSE the stream can only be freed. */
  gboolean (*stream_write) (BackendStream *stream, const void *data, gsize len, GError **error);
  /* Gives it the name @name, with put_if_absent's duties: whole or not at all, and whole before it
   * has the name; *existed: there was such an object, which stays. Once, and the last call but
   * stream_free. */
  gboolean (*stream_commit) (BackendStream *stream, const char *name, gboolean *existed,
                             GError **error);
  /* Frees @stream; what was not committed leaves nothing behind. */
  void (*stream_free) (BackendStream *stream);
  /* (nullable) Forgets what it remembers of objects: what is read next shows the medium as it is.
   */
  void (*forget) (Backend *backend);
  void (*free) (Backend *backend);
} BackendOps;

struct _Backend {
  const BackendOps *ops;
  char *location; /* for messages: the directory, or a URL without secrets */
};

/* A directory on a local or network file system. @create: make it if it is not there, with mode
 * 0700. */
Backend *backend_directory_open (const char *path, gboolean create, GError **error);

/* Objects in memory, for tests. */
Backend *backend_memory_new (void);

/* Frees @backend. */
void backend_free (Backend *backend);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Backend, backend_free)

/* Frees @stream, as its backend does. */
void backend_stream_free (BackendStream *stream);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (BackendStream, backend_stream_free)
