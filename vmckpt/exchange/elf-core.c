/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   Elf64_Ehdr │ PT_NOTE, PT_LOAD… │ notes │ RAM
 *   notes: per CPU "CORE" NT_PRSTATUS, then per CPU "QEMU" type 0, then VMCOREINFO
 */
#include "elf-core.h"

#include <vmckpt/util/bytes.h>

#include <elf.h>
#include <string.h>

#define PRSTATUS_BYTES 336
#define PRSTATUS_PID 32
#define PRSTATUS_REGS 112
#define QEMU_STATE_VERSION 1
#define QEMU_STATE_BYTES 440

static void
pad (GByteArray *notes)
{
  while (notes->len % 4 != 0)
    bytes_add_u8 (notes, 0);
}

static void
add_note (GByteArray *notes, const char *name, guint32 type, const guint8 *data, gsize len)
{
  bytes_add_le32 (notes, strlen (name) + 1);
  bytes_add_le32 (notes, len);
  bytes_add_le32 (notes, type);
  g_byte_array_append (notes, (const guint8 *)name, strlen (name) + 1);
  pad (notes);
  g_byte_array_append (notes, data, len);
  pad (notes);
}

/* struct elf_prstatus of x86-64 Linux: pid, and the registers in the order of user_regs_struct. */
static void
add_prstatus (GByteArray *notes, const CpuState *cpu)
{
  const guint64 *r = cpu->regs;
  const CpuSegment *s = cpu->segments;
  const guint64 regs[] = {
    r[15],
    r[14],
    r[13],
    r[12],
    r[CPU_RBP],
    r[CPU_RBX],
    r[11],
    r[10],
    r[9],
    r[CPU_R8],
    r[CPU_RAX],
    r[CPU_RCX],
    r[CPU_RDX],
    r[CPU_RSI],
    r[CPU_RDI],
    0,
    cpu->rip,
    s[CPU_CS].selector,
    cpu->rflags,
    r[CPU_RSP],
    s[CPU_SS].selector,
    s[CPU_FS].base,
    s[CPU_GS].base,
    s[CPU_DS].selector,
    s[CPU_ES].selector,
    s[CPU_FS].selector,
    s[CPU_GS].selector,
  };
  g_autoptr (GByteArray) status = g_byte_array_new();

  while (status->len < PRSTATUS_PID)
    bytes_add_u8 (status, 0);
  bytes_add_le32 (status, cpu->index + 1);
  while (status->len < PRSTATUS_REGS)
    bytes_add_u8 (status, 0);
  for (guint i = 0; i < G_N_ELEMENTS (regs); i++)
    bytes_add_le64 (status, regs[i]);
  while (status->len < PRSTATUS_BYTES)
    bytes_add_u8 (status, 0);
  add_note (notes, "CORE", NT_PRSTATUS, status->data, status->len);
}

/* What the other note has no room for: descriptor tables and control registers. */
static void
add_qemu_state (GByteArray *notes, const CpuState *cpu)
{
  static const guint8 order[] = { CPU_RAX, CPU_RBX, CPU_RCX, CPU_RDX, CPU_RSI, CPU_RDI,
                                  CPU_RSP, CPU_RBP, 8,       9,       10,      11,
                                  12,      13,      14,      15 };
  static const guint8 segments[] = { CPU_CS, CPU_DS,  CPU_ES, CPU_FS,  CPU_GS,
                                     CPU_SS, CPU_LDT, CPU_TR, CPU_GDT, CPU_IDT };
  g_autoptr (GByteArray) state = g_byte_array_new();

  bytes_add_le32 (state, QEMU_STATE_VERSION);
  bytes_add_le32 (state, QEMU_STATE_BYTES);
  for (guint i = 0; i < G_N_ELEMENTS (order); i++)
    bytes_add_le64 (state, cpu->regs[order[i]]);
  bytes_add_le64 (state, cpu->rip);
  bytes_add_le64 (state, cpu->rflags);
  for (guint i = 0; i < G_N_ELEMENTS (segments); i++) {
    const CpuSegment *segment = &cpu->segments[segments[i]];
    bytes_add_le32 (state, segment->selector);
    bytes_add_le32 (state, segment->limit);
    bytes_add_le32 (state, segment->flags);
    bytes_add_le32 (state, 0);
    bytes_add_le64 (state, segment->base);
  }
  for (guint i = 0; i < G_N_ELEMENTS (cpu->cr); i++)
    bytes_add_le64 (state, cpu->cr[i]);
  bytes_add_le64 (state, cpu->kernel_gs_base);
  add_note (notes, "QEMU", 0, state->data, state->len);
}

static GByteArray *
make_notes (GArray *cpus, GBytes *note)
{
  GByteArray *notes = g_byte_array_new();

  for (guint i = 0; i < cpus->len; i++)
    add_prstatus (notes, &g_array_index (cpus, CpuState, i));
  for (guint i = 0; i < cpus->len; i++)
    add_qemu_state (notes, &g_array_index (cpus, CpuState, i));
  if (note != NULL) {
    gsize len;
    const guint8 *data = g_bytes_get_data (note, &len);
    g_byte_array_append (notes, data, len);
    pad (notes);
  }
  return notes;
}

static void
add_segment (GByteArray *head, guint32 type, guint64 offset, guint64 physical, guint64 length)
{
  Elf64_Phdr segment = { .p_type = GUINT32_TO_LE (type),
                         .p_offset = GUINT64_TO_LE (offset),
                         .p_vaddr = GUINT64_TO_LE (physical),
                         .p_paddr = GUINT64_TO_LE (physical),
                         .p_filesz = GUINT64_TO_LE (length),
                         .p_memsz = GUINT64_TO_LE (length) };

  g_byte_array_append (head, (const guint8 *)&segment, sizeof segment);
}

GBytes *
elf_core_head (GArray *cpus, const MemoryRange *ranges, guint count, GBytes *note)
{
  g_autoptr (GByteArray) head = g_byte_array_new();
  g_autoptr (GByteArray) notes = make_notes (cpus, note);
  Elf64_Ehdr elf = { .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
                                  EV_CURRENT },
                     .e_type = GUINT16_TO_LE (ET_CORE),
                     .e_machine = GUINT16_TO_LE (EM_X86_64),
                     .e_version = GUINT32_TO_LE (EV_CURRENT),
                     .e_phoff = GUINT64_TO_LE (sizeof elf),
                     .e_ehsize = GUINT16_TO_LE (sizeof elf),
                     .e_phentsize = GUINT16_TO_LE (sizeof (Elf64_Phdr)),
                     .e_phnum = GUINT16_TO_LE (1 + count) };
  guint64 offset = sizeof elf + (1 + count) * sizeof (Elf64_Phdr);

  g_byte_array_append (head, (const guint8 *)&elf, sizeof elf);
  add_segment (head, PT_NOTE, offset, 0, notes->len);
  offset += notes->len;
  for (guint i = 0; i < count; i++) {
    add_segment (head, PT_LOAD, offset, ranges[i].physical, ranges[i].length);
    offset += ranges[i].length;
  }
  g_byte_array_append (head, notes->data, notes->len);
  return g_byte_array_free_to_bytes (g_steal_pointer (&head));
}
