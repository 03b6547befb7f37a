/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The description of a libvirt domain. */
#include <vmckpt/drivers/domain-spec.h>

#include "fuzz.h"

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GuestSpec) spec =
      domain_spec_from_xml ((const char *)data, size, "qemu:///system", &error);

  g_assert_true ((spec != NULL) == (error == NULL));
  if (spec == NULL)
    return 0;
  /* What was accepted can be kept. */
  g_autoptr (JsonObject) object = guest_spec_to_json (spec);
  g_autoptr (GuestSpec) again = guest_spec_from_json (object, &error);
  g_assert_no_error (error);
  return 0;
}
