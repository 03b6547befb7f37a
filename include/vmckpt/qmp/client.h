/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A client of the QEMU Machine Protocol (docs/interop/qmp-spec in QEMU), on GLib's main loop.
 *
 * Threads: a client does its I/O on the GMainContext that was thread-default where it was made (its
 * "home"). qmp_client_execute() may be called from any thread: called at home it iterates the
 * context until the answer is there; called elsewhere it waits, and somebody must be running the
 * home context. Event handlers run at home.
 */
#pragma once

#include <gio/gio.h>
#include <json-glib/json-glib.h>

#define QMP_ERROR (qmp_error_quark())
GQuark qmp_error_quark (void);

typedef enum {
  QMP_ERROR_COMMAND,  /* the server refused: "Class: description"; qmp_error_is_class() tells which
                       */
  QMP_ERROR_TIMEOUT,  /* no answer before the deadline; the monitor stays usable, a late answer is
                         dropped */
  QMP_ERROR_LOST,     /* the monitor is gone (in mid-command too): QEMU exited or closed it */
  QMP_ERROR_PROTOCOL, /* not QMP, or beyond the bounds (line length, nesting); the monitor is closed
                       */
} QmpError;

/* What the greeting says. Servers other than QEMU send less: absent numbers are 0, text is "". */
typedef struct {
  guint major, minor, micro;
  char *package;
  gboolean oob; /* out-of-band execution was offered, and is enabled */
} QmpGreeting;

typedef struct _QmpClient QmpClient;

/**
 * qmp_client_connect:
 * @path: the monitor's UNIX socket
 * @timeout_ms: for connecting, greeting and capabilities negotiation together
 *
 * Returns: (transfer full): a ready client; NULL with @error (QMP_ERROR or G_IO_ERROR). QEMU lets
 * one client in at a time: while another is connected this times out.
 */
QmpClient *qmp_client_connect (const char *path, int timeout_ms, GError **error);

/**
 * qmp_client_new_for_fd:
 * @fd: (transfer full): a connected stream socket on which the greeting is still to come
 *
 * The same over a descriptor; @fd belongs to the client, also on failure.
 */
QmpClient *qmp_client_new_for_fd (int fd, int timeout_ms, GError **error);

/* Takes a reference. */
QmpClient *qmp_client_ref (QmpClient *client);
/* Drops a reference; the last one frees. */
void qmp_client_unref (QmpClient *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (QmpClient, qmp_client_unref)

/* Borrowed; lives as long as the client. */
const QmpGreeting *qmp_client_greeting (QmpClient *client);

/* FALSE once the monitor is lost; safe from any thread. */
gboolean qmp_client_connected (QmpClient *client);

/* Closes the monitor: commands in flight fail with QMP_ERROR_LOST; no event comes any more. */
void qmp_client_close (QmpClient *client);

/**
 * QmpEventFunc:
 * @event: its name, e.g. "STOP"; NULL once, when the monitor is lost
 * @data: (nullable): its data
 * @time_us: QEMU's timestamp, microseconds since 1970; 0 if it gave none
 */
typedef void (*QmpEventFunc) (QmpClient *client, const char *event, JsonObject *data,
                              gint64 time_us, gpointer user_data);

/* Sets the one receiver of events (NULL: none). To be called at home. */
void qmp_client_set_event_func (QmpClient *client, QmpEventFunc func, gpointer user_data);

/**
 * qmp_client_execute:
 * @command: e.g. "query-status"
 * @arguments: (transfer full) (nullable): the arguments, or NULL
 * @pass_fd: descriptor to send along (for getfd and add-fd), or -1; stays the caller's
 * @timeout_ms: deadline for the answer, milliseconds; 0 = the default of 30 s
 * @cancellable: (nullable): gives up waiting (the command may still be carried out)
 *
 * Returns: (transfer full): the "return" member, whatever its type; NULL with @error.
 */
JsonNode *qmp_client_execute (QmpClient *client, const char *command, JsonObject *arguments,
                              int pass_fd, int timeout_ms, GCancellable *cancellable,
                              GError **error);

/* The same out of band ("exec-oob"), which a server that offers it carries out even while another
 * command blocks it; in band where it does not. */
JsonNode *qmp_client_execute_oob (QmpClient *client, const char *command, JsonObject *arguments,
                                  int timeout_ms, GCancellable *cancellable, GError **error);

/* The same without waiting: @callback runs at home; end it with the _finish function. */
void qmp_client_execute_async (QmpClient *client, const char *command, JsonObject *arguments,
                               int pass_fd, int timeout_ms, GCancellable *cancellable,
                               GAsyncReadyCallback callback, gpointer user_data);
JsonNode *qmp_client_execute_finish (QmpClient *client, GAsyncResult *result, GError **error);

/* TRUE if @error is QMP_ERROR_COMMAND of that class, e.g. "CommandNotFound". */
gboolean qmp_error_is_class (const GError *error, const char *class_name);
