/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The head of a libvirt save image: header and domain. */
#include "libvirt-image.h"

#include "fuzz.h"

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  g_autoptr (GPtrArray) notes = g_ptr_array_new_with_free_func (g_free);
  LibvirtHeader header;
  const char *program;

  if (size < LIBVIRT_HEADER_BYTES || !libvirt_header_parse (data, &header, NULL) ||
      !libvirt_header_program (&header, &program, NULL))
    return 0;
  g_autoptr (GError) error = NULL;
  g_autoptr (GuestSpec) spec = libvirt_xml_parse ((const char *)data + LIBVIRT_HEADER_BYTES,
                                                  size - LIBVIRT_HEADER_BYTES, notes, &error);
  g_assert_true ((spec != NULL) == (error == NULL));
  return 0;
}
