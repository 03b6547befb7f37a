/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An ELF core of a guest, as QEMU's dump-guest-memory makes it (QEMU: dump/dump.c,
 * target/i386/arch_dump.c): a PT_NOTE with the registers, a PT_LOAD per range of RAM.
 */
#pragma once

#include "cpu-state.h"
#include "memory-layout.h"

/**
 * elf_core_head:
 * @note: (nullable): another note, whole, to be appended (VMCOREINFO)
 *
 * Everything before the first byte of RAM, newly allocated.
 */
GBytes *elf_core_head (GArray *cpus, const MemoryRange *ranges, guint count, GBytes *note);
