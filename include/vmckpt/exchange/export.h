/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A checkpoint in forms that other programs read. Every page is verified on its way out; nothing is
 * kept of the guest's size in memory. Calls block; any thread.
 */
#pragma once

#include <vmckpt/exchange/sink.h>
#include <vmckpt/store/manifest.h>
#include <vmckpt/store/store.h>

typedef enum {
  EXPORT_ARCHIVE, /* the whole checkpoint in one file (docs/export-format.md) */
  EXPORT_ELF,     /* RAM and CPU registers as an ELF core: gdb, crash, Volatility */
  EXPORT_RAM,     /* one RAM block, or RAM as the guest sees it, byte by byte */
  EXPORT_DISK,    /* a disk, raw */
  EXPORT_LIBVIRT, /* of a libvirt domain, what `virsh restore` takes (libvirt-save.h) */
} ExportFormat;

/* Names of the formats, in the order of the enumeration, NULL-terminated. */
extern const char *const export_format_names[];

typedef struct {
  const char *part;  /* (nullable): ram, disk: which block or disk; NULL: the main one */
  gboolean physical; /* ram: by guest-physical address, with holes of zeros */
} ExportOptions;

/**
 * export_checkpoint:
 * @sink: where the bytes go, from the first to the last
 *
 * Returns: FALSE with EXCHANGE_ERROR (no such part, a machine whose layout is not known),
 * STORE_ERROR (damaged, …) or what the sink said.
 */
gboolean export_checkpoint (Store *store, const Manifest *manifest, ExportFormat format,
                            const ExportOptions *options, const ExportSink *sink, GError **error);

/**
 * export_check:
 *
 * Refuses before the first byte what export_checkpoint() would refuse later for want of a part or
 * of knowledge about the machine.
 */
gboolean export_check (Store *store, const Manifest *manifest, ExportFormat format,
                       const ExportOptions *options, GError **error);
