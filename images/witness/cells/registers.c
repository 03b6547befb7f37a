/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Register contents: x87, SSE and AVX registers hold a pattern while the cell computes and then
 * sleeps, all inside one piece of assembler, so that no compiled code can restore them by itself.
 */
#include "cells.h"

#include "../pattern.h"

#include <inttypes.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

enum { SPIN = 100000 };

/* What all three share: @harm makes the assembler change one register on the way. */
typedef struct {
  uint64_t harm;
  uint8_t in[512] __attribute__ ((aligned (64)));
  uint8_t out[512] __attribute__ ((aligned (64)));
} Registers;

/* Spins, then sleeps in the kernel, with all vector registers live. @alter runs if harm is set. */
#define HOLD(alter)                                                                                \
  "1: dec %[spin]\n jnz 1b\n syscall\n"                                                            \
  "test %[harm], %[harm]\n jz 2f\n" alter "\n2:\n"

#define HOLD_OPERANDS(spin, call) [spin] "+r"(spin), "+a"(call)

static void
registers_harm (Cell *cell)
{
  Registers *registers = cell->state;

  registers->harm = 1;
}

/* How long the registers are held while the cell sleeps. */
static struct timespec
registers_nap (const Cell *cell)
{
  return (struct timespec){ .tv_sec = (time_t)(cell->pace_ms / 1000),
                            .tv_nsec = (long)(cell->pace_ms % 1000) * 1000000 };
}

static void
registers_start (Cell *cell)
{
  (void)cell;
}

static void
registers_fill (Cell *cell, uint64_t seq, size_t size)
{
  Registers *registers = cell->state;

  pattern_fill (registers->in, size, cell->salt, seq * size);
  memset (registers->out, 0, size);
}

/* Compares @number registers of @width bytes. */
static void
registers_compare (Cell *cell, size_t number, size_t width)
{
  const Registers *registers = cell->state;

  for (size_t i = 0; i < number; i++)
    CELL_REQUIRE (cell, memcmp (registers->in + i * width, registers->out + i * width, width) == 0,
                  "register %zu differs", i);
}

/* x87: eight 80-bit numbers with full mantissas, and a control word that is not the default. */

#define X87_SLOT 16

static void
x87_check (Cell *cell, uint64_t seq)
{
  Registers *registers = cell->state;
  struct timespec nap = registers_nap (cell);
  uint64_t spin = SPIN;
  long call = SYS_nanosleep;
  const uint16_t set = 0x0b7f; /* all masked, extended precision, round up */
  uint16_t found = 0;

  memset (registers->in, 0, sizeof registers->in);
  memset (registers->out, 0, sizeof registers->out);
  for (uint64_t i = 0; i < 8; i++) {
    long double number = (long double)(pattern_word (cell->salt, seq * 8 + i) | 1);
    memcpy (registers->in + i * X87_SLOT, &number, 10);
  }
  __asm__ volatile(
      "fninit\n fldcw %[set]\n"
      "fldt 112(%[in])\n fldt 96(%[in])\n fldt 80(%[in])\n fldt 64(%[in])\n"
      "fldt 48(%[in])\n fldt 32(%[in])\n fldt 16(%[in])\n fldt 0(%[in])\n" HOLD (
          "fchs") "fstpt 0(%[out])\n fstpt 16(%[out])\n fstpt 32(%[out])\n fstpt 48(%[out])\n"
                  "fstpt 64(%[out])\n fstpt 80(%[out])\n fstpt 96(%[out])\n fstpt 112(%[out])\n"
                  "fnstcw %[found]\n fninit\n"
      : HOLD_OPERANDS (spin, call), [found] "=m"(found)
      : [in] "r"(registers->in), [out] "r"(registers->out), [set] "m"(set),
        [harm] "r"(registers->harm), "D"(&nap), "S"(0L)
      : "rcx", "r11", "cc", "memory", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)",
        "st(7)");
  CELL_REQUIRE (cell, found == set, "control word %#x, not %#x", found, set);
  registers_compare (cell, 8, X87_SLOT);
}

const CellType cell_x87 = { .name = "x87",
                            .about = "x87 registers and control word",
                            .state_size = sizeof (Registers),
                            .rests_itself = true,
                            .start = registers_start,
                            .check = x87_check,
                            .damage = registers_harm };

/* sse: sixteen 128-bit registers and MXCSR. */

#define LOAD_XMM(n, at) "movdqu " at "(%[in]), %%xmm" n "\n"
#define SAVE_XMM(n, at) "movdqu %%xmm" n ", " at "(%[out])\n"
#define LOAD_YMM(n, at) "vmovdqu " at "(%[in]), %%ymm" n "\n"
#define SAVE_YMM(n, at) "vmovdqu %%ymm" n ", " at "(%[out])\n"
#define ALL_16(op, step)                                                                           \
  op ("0", "0*" step) op ("1", "1*" step) op ("2", "2*" step) op ("3", "3*" step)                  \
      op ("4", "4*" step) op ("5", "5*" step) op ("6", "6*" step) op ("7", "7*" step)              \
          op ("8", "8*" step) op ("9", "9*" step) op ("10", "10*" step) op ("11", "11*" step)      \
              op ("12", "12*" step) op ("13", "13*" step) op ("14", "14*" step)                    \
                  op ("15", "15*" step)
#define XMM_CLOBBERS                                                                               \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",         \
      "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"

static void
sse_check (Cell *cell, uint64_t seq)
{
  Registers *registers = cell->state;
  struct timespec nap = registers_nap (cell);
  uint64_t spin = SPIN;
  long call = SYS_nanosleep;
  const uint32_t set = 0x5f80, usual = 0x1f80; /* all masked; round up, round to nearest */
  uint32_t found = 0;

  registers_fill (cell, seq, 16 * 16);
  __asm__ volatile("ldmxcsr %[set]\n" ALL_16 (LOAD_XMM, "16") HOLD ("pxor %%xmm0, %%xmm11")
                       ALL_16 (SAVE_XMM, "16") "stmxcsr %[found]\n ldmxcsr %[usual]\n"
                   : HOLD_OPERANDS (spin, call), [found] "=m"(found)
                   : [in] "r"(registers->in), [out] "r"(registers->out), [set] "m"(set),
                     [usual] "m"(usual), [harm] "r"(registers->harm), "D"(&nap), "S"(0L)
                   : "rcx", "r11", "cc", "memory", XMM_CLOBBERS);
  CELL_REQUIRE (cell, found == set, "MXCSR %#x, not %#x", found, set);
  registers_compare (cell, 16, 16);
}

const CellType cell_sse = { .name = "sse",
                            .about = "SSE registers and MXCSR",
                            .state_size = sizeof (Registers),
                            .rests_itself = true,
                            .start = registers_start,
                            .check = sse_check,
                            .damage = registers_harm };

/* avx: sixteen 256-bit registers, where the CPU has them. */

static const char *
avx_absent (void)
{
  return __builtin_cpu_supports ("avx") ? NULL : "the CPU has no AVX";
}

static void
avx_check (Cell *cell, uint64_t seq)
{
  Registers *registers = cell->state;
  struct timespec nap = registers_nap (cell);
  uint64_t spin = SPIN;
  long call = SYS_nanosleep;

  registers_fill (cell, seq, 16 * 32);
  __asm__ volatile(
      ALL_16 (LOAD_YMM, "32") HOLD ("vxorps %%ymm0, %%ymm11, %%ymm11")
          ALL_16 (SAVE_YMM, "32") "vzeroupper\n"
      : HOLD_OPERANDS (spin, call)
      : [in] "r"(registers->in), [out] "r"(registers->out), [harm] "r"(registers->harm), "D"(&nap),
        "S"(0L)
      : "rcx", "r11", "cc", "memory", XMM_CLOBBERS);
  registers_compare (cell, 16, 32);
}

const CellType cell_avx = { .name = "avx",
                            .about = "AVX registers",
                            .state_size = sizeof (Registers),
                            .rests_itself = true,
                            .absent = avx_absent,
                            .start = registers_start,
                            .check = avx_check,
                            .damage = registers_harm };
