/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which checkpoint the bitmaps of a guest's disks are relative to: they name at least what was
 * written since. One per guest, for all its disks; it must outlive the daemon as the bitmaps do, in
 * daemon.json, and is written after the checkpoint exists and before the bitmaps are relative to it
 * alone. It need not be synced: a crash of the host takes QEMU and the bitmaps along.
 */
#pragma once

#include <json-glib/json-glib.h>

typedef struct {
  char *store;      /* its id */
  char *checkpoint; /* id in there */
} DiskBase;

/* Copies both; both are full ids. */
DiskBase *disk_base_new (const char *store, const char *checkpoint);
/* Frees @base. */
void disk_base_free (DiskBase *base);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (DiskBase, disk_base_free)

/* @base (nullable) is checkpoint @checkpoint of store @store. */
gboolean disk_base_is (const DiskBase *base, const char *store, const char *checkpoint);

/* For daemon.json. NULL if @object is no such thing. */
JsonObject *disk_base_to_json (const DiskBase *base);
DiskBase *disk_base_from_json (JsonObject *object);
