/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The memory of a prepared domain that libvirt restores, filled while the domain runs. libvirt
 * knows nothing of it: it reads a save image as ever, whose stream has no page of the RAM.
 *
 *   pipe   head, and the stream up to the RAM's pages ──▶ libvirt starts QEMU, which reads that
 *          │ all is read: QEMU is through with its start, and waits for more
 *          │ its RAM is found, and readied: what is touched is served from here on (guest-fill.h)
 *          devices ──▶ QEMU is loaded, libvirt's restore is over
 *
 * Where that cannot be, the pages follow in the stream.
 */
#pragma once

#include "request.h"

#include <vmckpt/libvirt/libvirt-link.h>
#include <vmckpt/ram/stream-compose.h>

/* One restore. What is not marked as (out) is borrowed, and given. */
typedef struct {
  Store *store;
  const char *store_path; /* for the next daemon */
  const Manifest *manifest;
  const GuestSpec *spec;
  const char *directory; /* the guest's; made here */
  LibvirtLink *link;
  RestoreReading reading;
  const UnitWatcher *watcher;
  int pipe;                /* the end that the image is written to */
  GuestTracking *tracking; /* (out): of the memory; to be freed before another is made */
  GuestFill *fill;         /* (out): NULL: memory comes in the stream */
} DomainFill;

/* With a @fill whose guest is not in service its QEMU is ended first. */
void domain_fill_clear (DomainFill *fill);

/**
 * domain_fill_wanted:
 * @xml: the description that the domain is restored from
 * @wanted: (out): whether its memory may be left out of the stream, by domain_fill_decide()
 *
 * What can be told before anything is started.
 *
 * Returns: FALSE with @error (RAM_ERROR_IMPOSSIBLE): it was to be so, and cannot.
 */
gboolean domain_fill_wanted (const DomainFill *fill, const char *xml, gboolean *wanted,
                             GError **error);

/* StreamOmission's decide; @fill: a DomainFill. */
gboolean domain_fill_decide (gboolean *leave_out, gpointer fill, GError **error);

/**
 * domain_fill_check_loaded:
 * @monitor: of the loaded domain, which has not run
 *
 * Whether its memory can really be served: QEMU itself is asked for what the description may not
 * tell. RAM_ERROR_IMPOSSIBLE.
 */
gboolean domain_fill_check_loaded (QmpClient *monitor, GError **error);

/* Whether the domain @uuid waits for memory that nobody but the daemon which restored it had: it is
 * not of this registry. */
gboolean domain_fill_is_left (LibvirtLink *link, const char *uuid);
