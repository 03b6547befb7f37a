/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A dirty bitmap, read from what QEMU says of its node. */
#pragma once

#include <vmckpt/disk/disk-find.h>

/* Bitmap @name of @node, an element of the answer to query-named-block-nodes. */
DriveBitmap drive_bitmap_read (JsonObject *node, const char *name);
