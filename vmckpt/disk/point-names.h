/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a point in time calls the things that it makes in QEMU: whoever takes them back, perhaps
 * another daemon, knows them by these names alone.
 */
#pragma once

#include <vmckpt/disk/disk-find.h>

typedef enum {
  POINT_FILE = 'e',       /* node of a temporary's file */
  POINT_TEMPORARY = 'o',  /* node of the temporary (qcow2) */
  POINT_FILTER = 'f',     /* copy-before-write, between the device and the user's node */
  POINT_SNAPSHOT = 's',   /* snapshot-access, to read the point */
  POINT_EXPORT = 'x',     /* of that */
  POINT_ACTIVATION = 'a', /* an export of the user's node, for its side effect: activation */
  POINT_OVERLAY_ACTIVATION = 'b', /* the same, of the temporary */
  POINT_CREATION = 'j',           /* job that formats a temporary */
} PointThing;

/* Bitmap that collects from the instant on, where there was none to turn: it becomes
 * DISK_BITMAP_COLLECT with the commit, and is nothing before. */
#define POINT_BITMAP_FRESH DISK_PREFIX "new"

/* Temporaries are passed to QEMU in sets of descriptors of these numbers, far from those that QEMU
 * and libvirt give. */
#define POINT_FDSET 0x766d0000u
#define POINT_FDSETS 0x10000

/* "vmckpt-" and the letter and number of a thing; newly allocated. */
char *point_name (PointThing thing, guint index);

/* Whether @name is one of @thing's. */
gboolean point_name_is (const char *name, PointThing thing);
