/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the main RAM block of a PC is in the guest's physical address space. A machine type decides
 * it by the amount of RAM alone (QEMU: hw/i386/pc_q35.c, pc_piix.c, microvm.c).
 */
#pragma once

#include <vmckpt/store/manifest.h>

typedef struct {
  guint64 physical; /* guest-physical address */
  guint64 offset;   /* in the block */
  guint64 length;
} MemoryRange;

/* The checkpoint's main RAM block: "pc.ram", or the one of the size that the guest was given. NULL
 * with EXCHANGE_ERROR_NOT_FOUND. */
const ManifestPart *memory_main_part (const Manifest *manifest, GError **error);

/* The ranges of @length bytes of RAM on @machine ("pc-q35-7.2"), in ascending order, one or two.
 * EXCHANGE_ERROR_UNSUPPORTED for a machine that is not known. */
gboolean memory_layout (const char *machine, guint64 length, MemoryRange ranges[2], guint *count,
                        GError **error);

/* The same for a checkpoint, by its record of the machine. */
gboolean memory_layout_of (const Manifest *manifest, MemoryRange ranges[2], guint *count,
                           GError **error);
