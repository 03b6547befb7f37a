/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Device state with its description: sections, fields and registers lie inside it. */
#include "cpu-state.h"
#include "vmstate.h"

#include "fuzz.h"

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) bytes = g_bytes_new_static (data, size);
  g_autoptr (VmState) state = vmstate_new (bytes, &error);

  g_assert_true ((state != NULL) == (error == NULL));
  for (guint i = 0; state != NULL && i < vmstate_length (state); i++) {
    const VmSection *section = vmstate_get (state, i);
    VmField field, member;
    g_assert_true (section->data >= data && section->data + section->len <= data + size);
    if (vmstate_find (section, "env.segs", &field) &&
        vmstate_find_member (&field, field.count - 1, "flags", &member))
      vmstate_number (&member, member.count - 1);
  }
  if (state != NULL) {
    g_autoptr (GArray) cpus = cpu_states_new (state, NULL);
  }
  return 0;
}
