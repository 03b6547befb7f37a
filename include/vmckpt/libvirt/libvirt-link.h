/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Asking libvirt. Its client library may block for as long as its daemon does, and belongs to a
 * program of its own, vmckpt-libvirt; this is the side of who starts that. Nothing else of vmckpt
 * needs libvirt, to be built or to run.
 *
 *   libvirt_link_open ─▶ vmckpt-libvirt --connect URI serve ─▶ libvirtd
 *   libvirt_link_ask  ── {"id":1,"request":"list"} ─▶  ◀─ {"id":1,"result":{…}}
 *
 * A link may be used by any number of threads; requests run side by side, so one that takes minutes
 * (migrate) keeps no other waiting. libvirt's daemon may go and come: a request that was under way
 * then fails with LIBVIRT_ERROR_LOST, the next one connects anew. The requests are described in
 * vmckpt/libvirt/README.md.
 */
#pragma once

#include <vmckpt/util/process.h>

#include <gio/gio.h>
#include <json-glib/json-glib.h>

#define LIBVIRT_ERROR (libvirt_error_quark())
GQuark libvirt_error_quark (void);

/* In the order of the names that the program sends. */
typedef enum {
  LIBVIRT_ERROR_FAILED,      /* anything else; the message is libvirt's */
  LIBVIRT_ERROR_USAGE,       /* the request makes no sense, or an XML that was given */
  LIBVIRT_ERROR_NOT_FOUND,   /* no such domain */
  LIBVIRT_ERROR_EXISTS,      /* a domain of that name or UUID is there already */
  LIBVIRT_ERROR_REFUSED,     /* not in the domain's state, not on a read-only connection, … */
  LIBVIRT_ERROR_BUSY,        /* a job of libvirt is under way on the domain */
  LIBVIRT_ERROR_LOST,        /* libvirt's daemon went away meanwhile: what was done is not known */
  LIBVIRT_ERROR_UNREACHABLE, /* no connection to it */
  LIBVIRT_ERROR_IMPOSSIBLE   /* this host lacks vmckpt-libvirt, or this libvirt cannot do that */
} LibvirtError;

/* The most bytes of a line either way. */
#define LIBVIRT_LINE_MAX (64u << 20)

typedef struct _LibvirtLink LibvirtLink;

/**
 * libvirt_link_open:
 * @uri: as virConnectOpen() takes it, e.g. "qemu:///system"
 *
 * Starts the program. It connects with the first request, and again whenever the connection is
 * lost. Where libvirt cannot be asked with full rights (a TLS or SSH connection to another host is
 * one for reading), requests other than list, describe, job-info, capabilities and compare-cpu are
 * refused.
 *
 * Returns: (transfer full): NULL with @error (LIBVIRT_ERROR_IMPOSSIBLE without the program).
 */
LibvirtLink *libvirt_link_open (const char *uri, GError **error);

/* A reference more, or less; the last one ends the program, and with it what is under way. */
LibvirtLink *libvirt_link_ref (LibvirtLink *link);
void libvirt_link_unref (LibvirtLink *link);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (LibvirtLink, libvirt_link_unref)

/* What it was opened with; borrowed. */
const char *libvirt_link_uri (const LibvirtLink *link);

/* FALSE once the program is gone: open another. */
gboolean libvirt_link_usable (LibvirtLink *link);

/**
 * LibvirtProgressFunc:
 * @progress: what the program tells meanwhile
 *
 * Runs in the thread that asks.
 */
typedef void (*LibvirtProgressFunc) (JsonObject *progress, gpointer user_data);

/**
 * libvirt_link_ask:
 * @request: its name, e.g. "describe"
 * @arguments: (transfer none) (nullable): members of the request
 * @pass_fd: a descriptor that goes with it (restore, open-console), or -1; stays the caller's
 * @timeout_ms: for the answer; 0: 30 s; -1: none
 * @func: (nullable): gets what is told before the answer
 * @cancellable: (nullable): the program is told to end the work (a migration's job is aborted), and
 * its answer is awaited for 30 s more
 *
 * Any thread.
 *
 * Returns: (transfer full): the result; NULL with @error: LIBVIRT_ERROR, G_IO_ERROR_CANCELLED,
 * G_IO_ERROR_TIMED_OUT.
 */
JsonObject *libvirt_link_ask (LibvirtLink *link, const char *request, JsonObject *arguments,
                              int pass_fd, int timeout_ms, LibvirtProgressFunc func,
                              gpointer user_data, GCancellable *cancellable, GError **error);

/* ---- What everybody asks ---- */

/* A domain that runs (or is paused), as "list" and "describe" tell. */
typedef struct {
  char *name;
  char *uuid;
  int id;         /* libvirt's number of this run of it; > 0 */
  char *state;    /* "running", "paused", "shutdown", "crashed", "pmsuspended", "blocked" */
  char *reason;   /* (nullable): of a pause: "user", "migration", "starting-up", … */
  ProcessId qemu; /* pid 0 if not on this host, or not found */
  gboolean persistent, autostart;
  char *type;     /* "qemu" or "kvm" */
  guint64 memory; /* bytes */
  guint cpus;
  char *job; /* (nullable): libvirt's job that is under way: "save", "migration-out", … */
} LibvirtDomain;

/* Frees @domain. */
void libvirt_domain_free (LibvirtDomain *domain);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (LibvirtDomain, libvirt_domain_free)

/* Reads one of "list"'s, or "describe"'s "domain". */
LibvirtDomain *libvirt_domain_from_json (JsonObject *object, GError **error);

/* All that run: (element-type LibvirtDomain), owned by the array. */
GPtrArray *libvirt_link_list (LibvirtLink *link, GCancellable *cancellable, GError **error);

typedef struct {
  LibvirtDomain *domain;
  char *host;         /* name of libvirt's host */
  char *xml;          /* as it runs, migratable; with secrets where they are given */
  char *live_xml;     /* the same with what libvirt added: addresses, aliases, labels, PTYs */
  char *inactive_xml; /* (nullable): what its next start will be made from, of a persistent one */
  guint version;      /* of libvirt there: 9000000 is 9.0.0 */
} LibvirtDescription;

/* Frees @description with its domain. */
void libvirt_description_free (LibvirtDescription *description);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (LibvirtDescription, libvirt_description_free)

/**
 * libvirt_link_describe:
 * @domain: its name or UUID, as all requests take it; a name of that form is a UUID
 *
 * Returns: (transfer full): of a running domain; LIBVIRT_ERROR_NOT_FOUND if none runs.
 */
LibvirtDescription *libvirt_link_describe (LibvirtLink *link, const char *domain,
                                           GCancellable *cancellable, GError **error);

/**
 * libvirt_link_command:
 * @request: "destroy", "suspend", "resume", …: one that needs no more than the domain
 *
 * Returns: FALSE with @error.
 */
gboolean libvirt_link_command (LibvirtLink *link, const char *request, const char *domain,
                               GCancellable *cancellable, GError **error);
