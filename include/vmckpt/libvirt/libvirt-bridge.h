/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A domain's bridge: a process that gives a libvirt domain the sockets that a guest of vmckpt's own
 * has. Like the keeper it outlives the daemon. It works in the guest's directory:
 *
 *   qmp.sock, kqmp.sock   QMP through libvirt, descriptors and events with it; any number of
 *                         clients, one for the daemon and one for the keeper is the habit
 *   agent.sock            the guest agent, if the domain has its channel; one client at a time
 *   console.sock          the domain's console, which is opened while somebody is connected
 *   bridge.json           who it is and what it serves (libvirt_bridge_find)
 *
 * QMP clients stay connected while libvirt's daemon is away; a command fails with the class
 * GenericError meanwhile, also one that was under way. When it is back, clients get the event
 * VMCKPT_EVENTS_LOST: what happened in between was not told. The domain's end, or another QEMU
 * under its name, ends the bridge and all connections.
 */
#pragma once

#include <vmckpt/util/process.h>

#include <gio/gio.h>

#define LIBVIRT_BRIDGE_QMP "qmp.sock"
#define LIBVIRT_BRIDGE_KEEPER_QMP "kqmp.sock"
#define LIBVIRT_BRIDGE_AGENT "agent.sock"
#define LIBVIRT_BRIDGE_CONSOLE "console.sock"
#define LIBVIRT_BRIDGE_RECORD "bridge.json"

/* What bridge.json says. Free with libvirt_bridge_clear(). */
typedef struct {
  ProcessId bridge; /* the process; alive when this was returned */
  ProcessId qemu;   /* the domain's QEMU, found by a descriptor that was passed to it */
  char *uri;
  char *uuid;
  gboolean agent;   /* there is agent.sock */
  gboolean console; /* there is console.sock */
} LibvirtBridge;

/* Frees what it holds and resets that; the process goes on. */
void libvirt_bridge_clear (LibvirtBridge *bridge);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (LibvirtBridge, libvirt_bridge_clear)

/**
 * libvirt_bridge_start:
 * @uri, @uuid: a running domain on this host
 * @directory: the guest's, which is there; an absolute path
 * @bridge: (out): what was started, or what was there already
 *
 * Starts the domain's bridge and waits until its sockets are there. If one lives in @directory it
 * is left alone and told. Sockets of one that was killed are replaced. Blocks for at most 20 s.
 *
 * Returns: FALSE with @error: LIBVIRT_ERROR (NOT_FOUND: no such domain runs).
 */
gboolean libvirt_bridge_start (const char *uri, const char *uuid, const char *directory,
                               LibvirtBridge *bridge, GError **error);

/* The bridge that lives in @directory; FALSE with @error (G_IO_ERROR_NOT_FOUND) if none does. */
gboolean libvirt_bridge_find (const char *directory, LibvirtBridge *bridge, GError **error);

/* Ends @bridge (SIGTERM, then SIGKILL), its sockets and its record. The domain is not touched. */
void libvirt_bridge_end (const LibvirtBridge *bridge, const char *directory);
