/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "memory-layout.h"

#include <vmckpt/exchange/sink.h>

#define GIB (G_GUINT64_CONSTANT (1) << 30)

static void
assert_low (const char *machine, guint64 length, guint64 low)
{
  g_autoptr (GError) error = NULL;
  MemoryRange ranges[2];
  guint count;

  g_assert_true (memory_layout (machine, length, ranges, &count, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (ranges[0].physical, ==, 0);
  g_assert_cmpuint (ranges[0].length, ==, low);
  g_assert_cmpuint (count, ==, low < length ? 2 : 1);
  if (count == 2) {
    g_assert_cmpuint (ranges[1].physical, ==, 4 * GIB);
    g_assert_cmpuint (ranges[1].offset, ==, low);
    g_assert_cmpuint (ranges[1].length, ==, length - low);
  }
}

/* As QEMU 7.2's hw/i386/pc_q35.c and pc_piix.c decide. */
static void
test_hole_below_4_gib (void)
{
  assert_low ("pc-q35-7.2", GIB, GIB);
  assert_low ("pc-q35-7.2", 0xb0000000 - (1 << 20), 0xb0000000 - (1 << 20));
  assert_low ("pc-q35-7.2", 0xb0000000, 0x80000000);
  assert_low ("pc-q35-10.0", 8 * GIB, 2 * GIB);
  assert_low ("pc-i440fx-7.2", 3 * GIB, 3 * GIB);
  assert_low ("pc-i440fx-7.2", 0xe0000000, 0xc0000000);
  assert_low ("pc-i440fx-7.2", 8 * GIB, 3 * GIB);
}

static void
test_unknown_machines_are_refused (void)
{
  g_autoptr (GError) error = NULL;
  MemoryRange ranges[2];
  guint count;

  g_assert_false (memory_layout ("virt-7.2", GIB, ranges, &count, &error));
  g_assert_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_UNSUPPORTED);
  g_clear_error (&error);
  g_assert_false (memory_layout ("pc-q35-7.2", 1010 * GIB, ranges, &count, &error));
  g_assert_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_UNSUPPORTED);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/memory-layout/hole", test_hole_below_4_gib);
  g_test_add_func ("/memory-layout/unknown", test_unknown_machines_are_refused);
  return g_test_run();
}
