/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vmstate-build.h"

#include <string.h>
#include <vmckpt/util/bytes.h>

void
vmstate_build_init (VmStateBuild *build)
{
  *build = (VmStateBuild){ g_byte_array_new(), g_string_new (NULL), 0 };
}

void
vmstate_build_clear (VmStateBuild *build)
{
  g_byte_array_unref (build->data);
  g_string_free (build->devices, TRUE);
}

void
vmstate_build_add (VmStateBuild *build, const char *name, guint32 instance, const guint8 *data,
                   gsize len, const char *members)
{
  GByteArray *out = build->data;

  bytes_add_u8 (out, 4);
  bytes_add_be32 (out, build->section);
  bytes_add_u8 (out, strlen (name));
  g_byte_array_append (out, (const guint8 *)name, strlen (name));
  bytes_add_be32 (out, instance);
  bytes_add_be32 (out, 1);
  if (len > 0)
    g_byte_array_append (out, data, len);
  bytes_add_u8 (out, 0x7e);
  bytes_add_be32 (out, build->section++);
  g_string_append_printf (build->devices, "%s{\"name\": \"%s\", \"instance_id\": %u, %s}",
                          build->devices->len > 0 ? ", " : "", name, instance, members);
}

static void
add_field (GString *fields, const char *name, guint size, guint count, const char *more)
{
  g_string_append_printf (fields, "%s{\"name\": \"%s\", \"size\": %u", fields->len > 0 ? ", " : "",
                          name, size);
  if (count > 1)
    g_string_append_printf (fields, ", \"array_len\": %u", count);
  g_string_append_printf (fields, "%s}", more);
}

static void
add_number (GByteArray *data, GString *fields, const char *name, guint64 value)
{
  bytes_add_be64 (data, value);
  add_field (fields, name, 8, 1, "");
}

/* The members of a segment register that are sent. */
#define SEGMENT                                                                                    \
  ", \"struct\": {\"fields\": [{\"name\": \"selector\", \"size\": 4}, {\"name\": \"base\", "       \
  "\"size\": 8}, {\"name\": \"limit\", \"size\": 4}, {\"name\": \"flags\", \"size\": 4}]}"

static void
add_segments (GByteArray *data, GString *fields, const char *name, guint count, guint64 seed)
{
  for (guint i = 0; i < count; i++) {
    bytes_add_be32 (data, 0x10 + i);
    bytes_add_be64 (data, seed + i);
    bytes_add_be32 (data, 0xffff);
    bytes_add_be32 (data, 0x93);
  }
  add_field (fields, name, 20, count, SEGMENT);
}

void
vmstate_build_add_cpu (VmStateBuild *build, guint32 instance, guint64 seed)
{
  static const char *const numbers[] = { "env.eip", "env.eflags" };
  static const char *const tables[] = { "env.ldt", "env.tr", "env.gdt", "env.idt" };
  static const char *const later[] = { "env.cr[0]", "env.cr[2]", "env.cr[3]",
                                       "env.cr[4]", "env.efer",  "env.kernelgsbase" };
  g_autoptr (GByteArray) data = g_byte_array_new();
  g_autoptr (GString) fields = g_string_new (NULL);

  for (guint i = 0; i < 16; i++)
    bytes_add_be64 (data, seed * 256 + i);
  add_field (fields, "env.regs", 8, 16, "");
  for (guint i = 0; i < G_N_ELEMENTS (numbers); i++)
    add_number (data, fields, numbers[i], seed * 256 + 16 + i);
  add_segments (data, fields, "env.segs", 6, seed * 256 + 32);
  for (guint i = 0; i < G_N_ELEMENTS (tables); i++)
    add_segments (data, fields, tables[i], 1, seed * 256 + 38 + i);
  for (guint i = 0; i < G_N_ELEMENTS (later); i++)
    add_number (data, fields, later[i], seed * 256 + 48 + i);
  g_autofree char *members = g_strdup_printf ("\"fields\": [%s]", fields->str);
  vmstate_build_add (build, "cpu", instance, data->data, data->len, members);
}

GBytes *
vmstate_build_described (const guint8 *data, gsize len, const char *description)
{
  g_autoptr (GByteArray) all = g_byte_array_new();

  if (len > 0)
    g_byte_array_append (all, data, len);
  bytes_add_u8 (all, 0);
  bytes_add_u8 (all, 6);
  bytes_add_be32 (all, strlen (description));
  g_byte_array_append (all, (const guint8 *)description, strlen (description));
  return g_byte_array_free_to_bytes (g_steal_pointer (&all));
}

GBytes *
vmstate_build_bytes (const VmStateBuild *build)
{
  g_autofree char *text =
      g_strdup_printf ("{\"page_size\": 4096, \"devices\": [%s]}", build->devices->str);
  return vmstate_build_described (build->data->data, build->data->len, text);
}
