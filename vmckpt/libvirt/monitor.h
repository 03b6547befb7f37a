/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One run of a domain, which is one QEMU: commands to its monitor and events from it, through
 * libvirt. libvirt's daemon may go and come meanwhile: the monitor connects anew. Any thread.
 */
#pragma once

#include "host.h"

#include <vmckpt/util/process.h>

#include <json-glib/json-glib.h>

typedef struct _Monitor Monitor;

/**
 * MonitorEventFunc:
 * @event: as QEMU's protocol has it: "timestamp", "event", "data"
 *
 * Runs in libvirt's event thread, and in that of monitor_watch().
 */
typedef void (*MonitorEventFunc) (JsonObject *event, gpointer user_data);

/**
 * monitor_open:
 * @host: borrowed
 *
 * Finds the domain and its QEMU, which must be on this host: the process that has open what is
 * passed to the domain.
 *
 * Returns: (transfer full): NULL with @error (LIBVIRT_ERROR_NOT_FOUND: it does not run).
 */
Monitor *monitor_open (Host *host, const char *uuid, MonitorEventFunc func, gpointer user_data,
                       GError **error);

/* Its QEMU. */
ProcessId monitor_qemu (const Monitor *monitor);

/* Until that QEMU has ended, or is the domain's no more; keeps the connection meanwhile, and tells
 * of events that were lost with it. Blocks. */
void monitor_watch (Monitor *monitor);

/**
 * monitor_domain:
 *
 * The domain, on a connection that lives; waits some seconds for libvirt's daemon to come back.
 *
 * Returns: (transfer full): NULL with @error (LIBVIRT_ERROR_UNREACHABLE).
 */
virDomainPtr monitor_domain (Monitor *monitor, GError **error);

/**
 * monitor_execute:
 * @command: one of QEMU's protocol, on a line, without "id"
 * @fd: a descriptor that goes with it, or -1; stays the caller's
 *
 * Waits for the answer. Events that QEMU sent before it have been told then. A command that only
 * asks ("query-…") is asked again if libvirt's daemon went away with it.
 *
 * Returns: (transfer full): QEMU's answer: an object with "return" or "error"; NULL with @error.
 */
JsonObject *monitor_execute (Monitor *monitor, const char *command, int fd, GError **error);
