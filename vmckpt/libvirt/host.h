/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The connection to libvirt's daemon, made when it is needed and made anew when it is lost. */
#pragma once

#include <glib.h>
#include <libvirt/libvirt.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC (virDomain, virDomainFree)

typedef struct _Host Host;

/* Registers libvirt's event loop and runs it in a thread; once in a process, before all else. */
void host_init_library (void);

/* Not connected yet. */
Host *host_new (const char *uri);
/* Closes the connection. Nobody may use @host any more. */
void host_free (Host *host);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Host, host_free)

const char *host_uri (const Host *host);

/**
 * host_connect:
 *
 * The connection, made anew if there is none that lives. One to another host (a URI with a
 * transport and a host) is for reading; one that this user may not have in full, too. Any thread.
 *
 * Returns: a reference, for virConnectClose(); NULL with @error (LIBVIRT_ERROR_UNREACHABLE).
 */
virConnectPtr host_connect (Host *host, GError **error);

/* Whether that connection is for reading only. */
gboolean host_read_only (Host *host);

/**
 * host_set_error:
 * @conn: (nullable): on which it happened: one that is lost meanwhile is LIBVIRT_ERROR_LOST
 *
 * Turns this thread's last error of libvirt into @error (LIBVIRT_ERROR). Returns FALSE.
 */
gboolean host_set_error (virConnectPtr conn, GError **error);

/* Whether @uri leads to another host: it names one. */
gboolean host_uri_is_remote (const char *uri);
