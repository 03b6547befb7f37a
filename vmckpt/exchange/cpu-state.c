/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cpu-state.h"

#include <vmckpt/exchange/sink.h>

/* A field that is a number, or FALSE. */
static gboolean
take_number (const VmSection *section, const char *name, guint64 *value)
{
  VmField field;

  if (!vmstate_find (section, name, &field) || field.size > sizeof *value)
    return FALSE;
  *value = vmstate_number (&field, 0);
  return TRUE;
}

static gboolean
take_segment (const VmField *field, guint index, CpuSegment *segment)
{
  VmField selector, base, limit, flags;

  if (!vmstate_find_member (field, index, "selector", &selector) ||
      !vmstate_find_member (field, index, "base", &base) ||
      !vmstate_find_member (field, index, "limit", &limit) ||
      !vmstate_find_member (field, index, "flags", &flags))
    return FALSE;
  *segment = (CpuSegment){ .selector = vmstate_number (&selector, 0),
                           .base = vmstate_number (&base, 0),
                           .limit = vmstate_number (&limit, 0),
                           .flags = vmstate_number (&flags, 0) };
  return TRUE;
}

static gboolean
take_segments (const VmSection *section, CpuState *cpu)
{
  static const char *const tables[] = { "env.ldt", "env.tr", "env.gdt", "env.idt" };
  VmField field;

  if (!vmstate_find (section, "env.segs", &field))
    return FALSE;
  for (guint i = CPU_ES; i <= CPU_GS; i++)
    if (!take_segment (&field, i, &cpu->segments[i]))
      return FALSE;
  for (guint i = 0; i < G_N_ELEMENTS (tables); i++)
    if (!vmstate_find (section, tables[i], &field) ||
        !take_segment (&field, 0, &cpu->segments[CPU_LDT + i]))
      return FALSE;
  return TRUE;
}

static gboolean
take_cpu (const VmSection *section, CpuState *cpu)
{
  VmField regs;

  if (!vmstate_find (section, "env.regs", &regs) || regs.count != G_N_ELEMENTS (cpu->regs) ||
      regs.size != sizeof cpu->regs[0])
    return FALSE;
  for (guint i = 0; i < regs.count; i++)
    cpu->regs[i] = vmstate_number (&regs, i);
  return take_number (section, "env.eip", &cpu->rip) &&
         take_number (section, "env.eflags", &cpu->rflags) && take_segments (section, cpu) &&
         take_number (section, "env.cr[0]", &cpu->cr[0]) &&
         take_number (section, "env.cr[2]", &cpu->cr[2]) &&
         take_number (section, "env.cr[3]", &cpu->cr[3]) &&
         take_number (section, "env.cr[4]", &cpu->cr[4]) &&
         take_number (section, "env.efer", &cpu->efer) &&
         take_number (section, "env.kernelgsbase", &cpu->kernel_gs_base);
}

static gint
compare_index (gconstpointer a, gconstpointer b)
{
  guint32 first = ((const CpuState *)a)->index, second = ((const CpuState *)b)->index;

  return first < second ? -1 : first > second;
}

GArray *
cpu_states_new (const VmState *state, GError **error)
{
  g_autoptr (GArray) cpus = g_array_new (FALSE, TRUE, sizeof (CpuState));

  for (guint i = 0; i < vmstate_length (state); i++) {
    const VmSection *section = vmstate_get (state, i);
    CpuState cpu = { .index = section->instance };
    if (!g_str_equal (section->name, "cpu"))
      continue;
    if (!take_cpu (section, &cpu)) {
      g_set_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_UNSUPPORTED,
                   "CPU %u is not described as a 64-bit x86 one", cpu.index);
      return NULL;
    }
    g_array_append_val (cpus, cpu);
  }
  g_array_sort (cpus, compare_index);
  if (cpus->len > 0)
    return g_steal_pointer (&cpus);
  g_set_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_UNSUPPORTED,
               "the device state describes no CPUs");
  return NULL;
}
