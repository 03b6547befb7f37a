/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "elf-core.h"

#include <elf.h>
#include <string.h>

#define GIB (G_GUINT64_CONSTANT (1) << 30)

/* Offsets in struct elf_prstatus of x86-64 Linux, and in QEMU's note. */
#define PRSTATUS_PID 32
#define PRSTATUS_R15 112
#define PRSTATUS_RIP (112 + 16 * 8)
#define PRSTATUS_FS_BASE (112 + 21 * 8)
#define QEMU_RIP (8 + 16 * 8)
#define QEMU_CS (8 + 18 * 8)
#define QEMU_CR3 (8 + 18 * 8 + 10 * 24 + 3 * 8)

static GArray *
make_cpus (guint count)
{
  GArray *cpus = g_array_new (FALSE, TRUE, sizeof (CpuState));

  for (guint i = 0; i < count; i++) {
    CpuState cpu = { .index = i * 3, .rip = 0x1000 + i, .cr = { [3] = 0x2000 + i } };
    cpu.regs[15] = 0x3000 + i;
    cpu.segments[CPU_FS].base = 0x4000 + i;
    cpu.segments[CPU_CS] = (CpuSegment){ .selector = 0x10, .limit = 0xfffff, .base = 0x5000 + i };
    g_array_append_val (cpus, cpu);
  }
  return cpus;
}

typedef struct {
  const char *name;
  guint32 type, len;
  const guint8 *data;
} Note;

/* Takes the note at *@at and goes on to the next. */
static Note
take_note (const guint8 *head, gsize len, gsize *at)
{
  Elf64_Nhdr note;

  g_assert_cmpuint (*at % 4, ==, 0);
  g_assert_cmpuint (*at + sizeof note, <=, len);
  memcpy (&note, head + *at, sizeof note);
  gsize name = *at + sizeof note, data = name + (note.n_namesz + 3) / 4 * 4;
  *at = data + (note.n_descsz + 3) / 4 * 4;
  g_assert_cmpuint (*at, <=, len);
  g_assert_cmpuint (head[name + note.n_namesz - 1], ==, 0);
  return (Note){ (const char *)head + name, note.n_type, note.n_descsz, head + data };
}

static guint64
number_at (const Note *note, gsize at)
{
  guint64 value;

  g_assert_cmpuint (at + sizeof value, <=, note->len);
  memcpy (&value, note->data + at, sizeof value);
  return GUINT64_FROM_LE (value);
}

static void
check_notes (const guint8 *head, gsize len, gsize at, guint cpus, gboolean more)
{
  for (guint i = 0; i < cpus; i++) {
    Note note = take_note (head, len, &at);
    guint32 pid;
    g_assert_cmpstr (note.name, ==, "CORE");
    g_assert_cmpuint (note.type, ==, NT_PRSTATUS);
    g_assert_cmpuint (note.len, ==, 336);
    memcpy (&pid, note.data + PRSTATUS_PID, sizeof pid);
    g_assert_cmpuint (GUINT32_FROM_LE (pid), ==, i * 3 + 1);
    g_assert_cmpuint (number_at (&note, PRSTATUS_R15), ==, 0x3000 + i);
    g_assert_cmpuint (number_at (&note, PRSTATUS_RIP), ==, 0x1000 + i);
    g_assert_cmpuint (number_at (&note, PRSTATUS_FS_BASE), ==, 0x4000 + i);
  }
  for (guint i = 0; i < cpus; i++) {
    Note note = take_note (head, len, &at);
    g_assert_cmpstr (note.name, ==, "QEMU");
    g_assert_cmpuint (note.type, ==, 0);
    g_assert_cmpuint (note.len, ==, 440);
    g_assert_cmpuint (number_at (&note, QEMU_RIP), ==, 0x1000 + i);
    g_assert_cmpuint (number_at (&note, QEMU_CS), ==, 0x10 | 0xfffffLL << 32);
    g_assert_cmpuint (number_at (&note, QEMU_CS + 16), ==, 0x5000 + i);
    g_assert_cmpuint (number_at (&note, QEMU_CR3), ==, 0x2000 + i);
  }
  if (more) {
    Note note = take_note (head, len, &at);
    g_assert_cmpstr (note.name, ==, "X");
    g_assert_cmpuint (note.len, ==, 5);
  }
  g_assert_cmpuint (at, ==, len);
}

/* Everything before RAM is in the head, segments follow each other in the file, in any size. */
static void
check (guint cpu_count, const MemoryRange *ranges, guint count, GBytes *note)
{
  g_autoptr (GArray) cpus = make_cpus (cpu_count);
  g_autoptr (GBytes) bytes = elf_core_head (cpus, ranges, count, note);
  gsize len;
  const guint8 *head = g_bytes_get_data (bytes, &len);
  guint64 next = len;
  Elf64_Ehdr elf;
  Elf64_Phdr segment;

  g_assert_cmpuint (len, >, sizeof elf + (1 + count) * sizeof segment);
  memcpy (&elf, head, sizeof elf);
  g_assert_cmpmem (elf.e_ident, SELFMAG, ELFMAG, SELFMAG);
  g_assert_cmpuint (elf.e_ident[EI_CLASS], ==, ELFCLASS64);
  g_assert_cmpuint (GUINT16_FROM_LE (elf.e_type), ==, ET_CORE);
  g_assert_cmpuint (GUINT16_FROM_LE (elf.e_machine), ==, EM_X86_64);
  g_assert_cmpuint (GUINT64_FROM_LE (elf.e_phoff), ==, sizeof elf);
  g_assert_cmpuint (GUINT16_FROM_LE (elf.e_phnum), ==, 1 + count);
  memcpy (&segment, head + sizeof elf, sizeof segment);
  g_assert_cmpuint (GUINT32_FROM_LE (segment.p_type), ==, PT_NOTE);
  g_assert_cmpuint (GUINT64_FROM_LE (segment.p_offset) + GUINT64_FROM_LE (segment.p_filesz), ==,
                    len);
  check_notes (head, len, GUINT64_FROM_LE (segment.p_offset), cpu_count, note != NULL);
  for (guint i = 0; i < count; i++) {
    memcpy (&segment, head + sizeof elf + (1 + i) * sizeof segment, sizeof segment);
    g_assert_cmpuint (GUINT32_FROM_LE (segment.p_type), ==, PT_LOAD);
    g_assert_cmpuint (GUINT64_FROM_LE (segment.p_offset), ==, next);
    g_assert_cmpuint (GUINT64_FROM_LE (segment.p_paddr), ==, ranges[i].physical);
    g_assert_cmpuint (GUINT64_FROM_LE (segment.p_vaddr), ==, ranges[i].physical);
    g_assert_cmpuint (GUINT64_FROM_LE (segment.p_filesz), ==, ranges[i].length);
    g_assert_cmpuint (GUINT64_FROM_LE (segment.p_memsz), ==, ranges[i].length);
    next += ranges[i].length;
  }
}

static void
test_small (void)
{
  const MemoryRange range = { 0, 0, 192 << 20 };

  check (1, &range, 1, NULL);
}

static void
test_beyond_4_gib (void)
{
  MemoryRange ranges[2];
  guint count;

  g_assert_true (memory_layout ("pc-q35-7.2", 900 * GIB, ranges, &count, NULL));
  g_assert_cmpuint (count, ==, 2);
  g_assert_cmpuint (ranges[0].length + ranges[1].length, ==, 900 * GIB);
  check (255, ranges, count, NULL);
}

/* A note of an odd length is padded, within what the header says. */
static void
test_more_notes (void)
{
  static const guint8 note[] = { 2, 0, 0, 0, 5, 0, 0, 0, 9, 0, 0, 0, 'X', 0, 0, 0, 1, 2, 3, 4, 5 };
  g_autoptr (GBytes) bytes = g_bytes_new_static (note, sizeof note);
  const MemoryRange range = { 0, 0, 192 << 20 };

  check (3, &range, 1, bytes);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/elf-core/small", test_small);
  g_test_add_func ("/elf-core/beyond-4-gib", test_beyond_4_gib);
  g_test_add_func ("/elf-core/more-notes", test_more_notes);
  return g_test_run();
}
