/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the appliance calls a device, and what people do. */
#include "volume-name.h"

static const char *const disks[] = { "disk0", "data", NULL };

static void
test_names (void)
{
  static const struct {
    const char *device, *volume;
  } cases[] = {
    { "/dev/sda", "disk0" },    { "/dev/sdb", "data" },
    { "/dev/sda1", "disk0p1" }, { "/dev/sdb12", "datap12" },
    { "/dev/sdc1", "sdc1" }, /* no disk of the guest */
    { "/dev/sdaa1", "sdaa1" },  { "/dev/vg0/root", "vg0/root" },
    { "/dev/md127", "md127" },  { "btrfsvol:/dev/sda2/@home", "disk0p2/@home" },
    { "/dev/sd", "sd" },        { "odd", "odd" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree char *volume = volume_name (disks, cases[i].device);
    g_assert_cmpstr (volume, ==, cases[i].volume);
  }
}

static void
test_on_disk (void)
{
  g_assert_true (volume_is_on_disk ("disk1", "disk1"));
  g_assert_true (volume_is_on_disk ("disk1p2", "disk1"));
  g_assert_true (volume_is_on_disk ("disk1/@", "disk1"));
  g_assert_false (volume_is_on_disk ("disk10", "disk1"));
  g_assert_false (volume_is_on_disk ("disk1part", "disk1"));
  g_assert_false (volume_is_on_disk ("disk", "disk1"));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/volume-name/names", test_names);
  g_test_add_func ("/volume-name/on-disk", test_on_disk);
  return g_test_run();
}
