/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A checkpoint as what `virsh save` would have written at that instant, for `virsh restore` and
 * virDomainRestore(): header, the domain's description, the migration stream with all of RAM.
 * Disks are not in it.
 */
#pragma once

#include <vmckpt/exchange/sink.h>
#include <vmckpt/ram/stream-compose.h>
#include <vmckpt/store/manifest.h>
#include <vmckpt/store/store.h>

/* A domain as its checkpoint recorded it. Borrowed from the manifest. */
typedef struct {
  const char *xml;      /* of the running domain, as libvirt migrates it */
  const char *cookie;   /* (nullable): what libvirt notes beside: the CPU as it was asked for */
  gboolean was_running; /* else the domain stays paused when it was restored */
} SavedDomain;

/**
 * saved_domain_of:
 * @domain: (out)
 *
 * Returns: FALSE with EXCHANGE_ERROR_UNSUPPORTED if @manifest is not of a libvirt domain. For
 * another guest no description is made up: libvirt would put devices at other addresses than those
 * that are in the stream.
 */
gboolean saved_domain_of (const Manifest *manifest, SavedDomain *domain, GError **error);

/**
 * libvirt_save_write:
 * @domain: what is written before the stream: of saved_domain_of(), or with another description
 * @omission: (nullable): what is left out of the stream
 *
 * Blocks; any thread.
 *
 * Returns: FALSE with STORE_ERROR, or what @sink said.
 */
gboolean libvirt_save_write (Store *store, const Manifest *manifest, const SavedDomain *domain,
                             const StreamOmission *omission, const ExportSink *sink,
                             GError **error);
