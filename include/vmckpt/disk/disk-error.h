/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The errors of the room that captures and serves disks. */
#pragma once

#include <glib.h>

#define DISK_ERROR (disk_error_quark())
GQuark disk_error_quark (void);

typedef enum {
  DISK_ERROR_IMPOSSIBLE, /* this disk cannot be captured, or this QEMU cannot do it */
  DISK_ERROR_BUSY,       /* somebody else is at work on it; the message says who, and what to do */
  DISK_ERROR_FAILED,     /* QEMU or a server did not do what it should; the message ends with why */
  DISK_ERROR_BROKEN,     /* the point in time is lost: what the guest overwrote could not be kept */
  DISK_ERROR_STALLED,    /* no answer for long */
} DiskError;
