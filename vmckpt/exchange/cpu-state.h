/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The registers of x86 CPUs, from the sections "cpu" (QEMU: target/i386/machine.c). */
#pragma once

#include "vmstate.h"

/* As QEMU numbers general registers and segments. */
enum { CPU_RAX, CPU_RCX, CPU_RDX, CPU_RBX, CPU_RSP, CPU_RBP, CPU_RSI, CPU_RDI, CPU_R8 };
enum {
  CPU_ES,
  CPU_CS,
  CPU_SS,
  CPU_DS,
  CPU_FS,
  CPU_GS,
  CPU_LDT,
  CPU_TR,
  CPU_GDT,
  CPU_IDT,
  CPU_SEGMENTS
};

typedef struct {
  guint32 selector, limit, flags;
  guint64 base;
} CpuSegment;

typedef struct {
  guint32 index; /* as QEMU numbers CPUs: there may be gaps */
  guint64 regs[16];
  guint64 rip, rflags;
  CpuSegment segments[CPU_SEGMENTS];
  guint64 cr[5];
  guint64 efer, kernel_gs_base;
} CpuState;

/* The CPUs by index, newly allocated array of CpuState. EXCHANGE_ERROR_UNSUPPORTED if there are
 * none that are understood. */
GArray *cpu_states_new (const VmState *state, GError **error);
