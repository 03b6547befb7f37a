/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Checkpoints from elsewhere: an archive, a file of `virsh save`, or the migration stream of a
 * QEMU. One transaction: the checkpoint is there whole, or nothing is visible. Calls block; any
 * thread.
 */
#pragma once

#include <vmckpt/drivers/guest-spec.h>
#include <vmckpt/exchange/sink.h>
#include <vmckpt/store/manifest.h>
#include <vmckpt/store/store.h>
#include <vmckpt/util/progress.h>

typedef enum { IMPORT_AUTO, IMPORT_ARCHIVE, IMPORT_LIBVIRT, IMPORT_QEMU } ImportFormat;

/* Names of the formats, in the order of the enumeration, NULL-terminated. */
extern const char *const import_format_names[];

typedef struct {
  ImportFormat format;
  const char *name;     /* (nullable): the guest's name; NULL: as the file says */
  const char *host;     /* this host's name, for files that do not say */
  const char *tag;      /* (nullable) */
  const char *note;     /* (nullable) */
  const Manifest *like; /* (nullable): its machine is taken, and its pages are compared with */
  GuestSpec *spec;      /* (nullable): the machine, for files that do not say, if not @like's */
  /* (nullable): told what could not be mapped, and which odd program a restore would run */
  void (*message) (const char *text, gpointer user_data);
  gpointer user_data;
  const Progress *progress;
  GCancellable *cancellable;
} ImportOptions;

/**
 * import_checkpoint:
 * @fd: a socket or a regular file, read to its end
 *
 * Returns: (transfer full): the manifest, durable, with its id; NULL with EXCHANGE_ERROR,
 * STREAM_ERROR, STORE_ERROR, G_IO_ERROR.
 */
Manifest *import_checkpoint (Store *store, int fd, const ImportOptions *options, GError **error);
