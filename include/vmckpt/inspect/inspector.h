/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Looking into a checkpoint's disks. What a guest wrote is hostile, and its file systems are parsed
 * by the kernel of a small virtual machine (libguestfs's appliance), never by this host's. That
 * machine belongs to a program of its own, vmckpt-inspect; this is the side of who starts it.
 *
 *   inspector_start ─▶ vmckpt-inspect ─▶ appliance (QEMU) ─▶ NBD socket of the checkpoint's disks
 *   inspector_run   ── a line of JSON ─▶      answers ── frames ─▶ InspectorFrameFunc
 *
 * An appliance takes seconds to start and serves any number of requests. It writes nothing to the
 * disks: what it changes goes to a layer that is thrown away with it.
 */
#pragma once

#include <gio/gio.h>
#include <json-glib/json-glib.h>

#define INSPECT_ERROR (inspect_error_quark())
GQuark inspect_error_quark (void);

/* In the order of the names that the program sends. */
typedef enum {
  INSPECT_ERROR_FAILED,
  INSPECT_ERROR_USAGE,     /* the request makes no sense for these disks */
  INSPECT_ERROR_NOT_FOUND, /* no such file or file system in the guest */
  INSPECT_ERROR_DAMAGED,   /* a file system cannot be read */
  INSPECT_ERROR_IMPOSSIBLE /* this host lacks libguestfs */
} InspectError;

/* One disk: its name, and the name of its NBD export. */
typedef struct {
  const char *name;
  const char *export_name;
} InspectorDisk;

typedef struct {
  const char *socket;         /* NBD server (unix), for all disks */
  const InspectorDisk *disks; /* in the guest's order */
  guint n_disks;
  gboolean kvm; /* run the appliance under KVM, else TCG */
} InspectorOptions;

/* The most disks that are looked into at once: what the appliance takes. */
#define INSPECTOR_DISKS_MAX 24

typedef struct _Inspector Inspector;

/**
 * inspector_start:
 *
 * Starts the program; the appliance starts meanwhile, and the first request waits for it.
 * The inspector is used by one thread at a time.
 *
 * Returns: (transfer full): NULL with @error (INSPECT_ERROR_IMPOSSIBLE if there is no such
 * program).
 */
Inspector *inspector_start (const InspectorOptions *options, GError **error);

/* Ends the program and its appliance, whatever they do, and removes what they wrote. */
void inspector_free (Inspector *inspector);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Inspector, inspector_free)

/**
 * InspectorFrameFunc:
 * @type: 'D' (bytes of a file), 'Z' (le64: so many zeros) or 'J'
 * @object: (nullable): of 'J', with a member "type": "status", "message" or "files"
 *
 * Gets an answer's frames before the last. Returns FALSE with @error to end the request; the
 * inspector is of no use afterwards.
 */
typedef gboolean (*InspectorFrameFunc) (char type, const guint8 *data, gsize len,
                                        JsonObject *object, gpointer user_data, GError **error);

/**
 * inspector_run:
 * @request: a member "command" and what that takes (vmckpt/inspect/README.md)
 * @cancellable: (nullable): cancelling leaves the inspector of no use
 *
 * Returns: (transfer full): the result; NULL with @error: INSPECT_ERROR, G_IO_ERROR_CANCELLED.
 */
JsonObject *inspector_run (Inspector *inspector, JsonObject *request, InspectorFrameFunc func,
                           gpointer user_data, GCancellable *cancellable, GError **error);

/* FALSE once a request was cut off, or the program is gone: start another. */
gboolean inspector_usable (const Inspector *inspector);
