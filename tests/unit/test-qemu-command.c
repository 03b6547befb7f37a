/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/drivers/qemu.h>

#include <string.h>

static GuestSpec *
make_spec (void)
{
  GuestSpec *spec = guest_spec_new ("g1");

  spec->uuid = g_strdup ("3f1c2a64-5a0e-4c38-9a52-0f6d7f6a3f11");
  spec->genid = g_strdup ("9d3b5f0e-7a43-4a36-8f44-2a0b6a1c9e77");
  spec->cpu = g_strdup ("qemu64-v1");
  g_free (spec->machine);
  spec->machine = g_strdup ("pc-q35-7.2");
  return spec;
}

/* The value behind the @nth occurrence of @option, or NULL. */
static const char *
value_of (char **argv, const char *option, guint nth)
{
  for (guint i = 0; argv[i] != NULL; i++)
    if (g_str_equal (argv[i], option) && nth-- == 0)
      return argv[i + 1];
  return NULL;
}

static gboolean
has (char **argv, const char *option)
{
  return g_strv_contains ((const char *const *)argv, option);
}

static void
test_plain (void)
{
  g_autoptr (GuestSpec) spec = make_spec();
  g_auto (GStrv) argv = qemu_command_line (spec, "/run/g1", &(QemuLaunch){ 0 });

  g_assert_cmpstr (argv[0], ==, spec->qemu);
  g_assert_cmpstr (value_of (argv, "-machine", 0), ==, "pc-q35-7.2");
  g_assert_cmpstr (value_of (argv, "-cpu", 0), ==, "qemu64-v1");
  g_assert_cmpstr (value_of (argv, "-m", 0), ==, "2048M");
  g_assert_cmpstr (value_of (argv, "-uuid", 0), ==, spec->uuid);
  g_assert_nonnull (strstr (value_of (argv, "-device", 0), spec->genid));
  g_assert_true (has (argv, "-S"));
  g_assert_true (has (argv, "-nodefaults"));
  g_assert_false (has (argv, "-incoming"));
  g_assert_false (has (argv, "-kernel"));
  /* No socket name holds the directory, which may be long. */
  for (guint i = 0; argv[i] != NULL; i++)
    g_assert_null (strstr (argv[i], "/run/g1"));
}

/* RAM that is shared is a file under the number that QEMU inherits, and the machine's own block. */
static void
test_memory (void)
{
  g_autoptr (GuestSpec) spec = make_spec();
  spec->ram_id = g_strdup ("pc.ram");
  g_auto (GStrv) argv = qemu_command_line (spec, "/run/g1", &(QemuLaunch){ 0 });

  g_assert_cmpstr (value_of (argv, "-machine", 0), ==, "pc-q35-7.2,memory-backend=pc.ram");
  g_assert_cmpstr (value_of (argv, "-m", 0), ==, "2048M");
  g_assert_cmpstr (value_of (argv, "-object", 0), ==,
                   "memory-backend-file,id=pc.ram,size=2048M,share=on,mem-path=/proc/self/fd/80,"
                   "x-use-canonical-path-for-ramblock-id=off");
  g_auto (GStrv) fork = qemu_command_line (spec, "/run/g1", &(QemuLaunch){ .copy_on_write = TRUE });
  g_assert_nonnull (strstr (value_of (fork, "-object", 0), ",share=off,"));
  spec->memory = MEMORY_PRIVATE;
  g_auto (GStrv) own = qemu_command_line (spec, "/run/g1", &(QemuLaunch){ 0 });
  g_assert_cmpstr (value_of (own, "-machine", 0), ==, "pc-q35-7.2");
  g_assert_false (has (own, "-object"));
}

static void
test_incoming (void)
{
  g_autoptr (GuestSpec) spec = make_spec();
  g_auto (GStrv) argv = qemu_command_line (spec, "/run/g1", &(QemuLaunch){ .incoming = TRUE });

  g_assert_cmpstr (value_of (argv, "-incoming", 0), ==, "defer");
  g_assert_true (has (argv, "-S"));
}

/* Names with commas and quotes reach QEMU as they are; extra arguments come last. */
static void
test_names (void)
{
  g_autoptr (GuestSpec) spec = make_spec();
  GuestDisk *disk = guest_disk_parse ("/d,\"1\",readonly", NULL);

  disk->format = g_strdup ("qcow2");
  disk->name = g_strdup ("disk0");
  g_ptr_array_add (spec->disks, disk);
  spec->kernel = g_strdup ("/k,1");
  spec->append = g_strdup ("a=b,c \"d\"");
  g_strfreev (spec->extra);
  spec->extra = g_strsplit ("-device virtio-rng", " ", 0);
  g_auto (GStrv) argv = qemu_command_line (spec, "/run/g1", &(QemuLaunch){ 0 });
  guint length = g_strv_length (argv);

  g_assert_cmpstr (value_of (argv, "-kernel", 0), ==, "/k,1");
  g_assert_cmpstr (value_of (argv, "-append", 0), ==, "a=b,c \"d\"");
  g_assert_nonnull (strstr (value_of (argv, "-blockdev", 0), "\"filename\":\"/d,\\\"1\\\"\""));
  g_assert_cmpstr (argv[length - 2], ==, "-device");
  g_assert_cmpstr (argv[length - 1], ==, "virtio-rng");
}

/* The agent's port has a number, so that it is the same in each run of the guest. */
static void
test_agent (void)
{
  g_autoptr (GuestSpec) spec = make_spec();
  g_auto (GStrv) without = qemu_command_line (spec, "/run/g1", &(QemuLaunch){ 0 });

  spec->agent = TRUE;
  g_auto (GStrv) with = qemu_command_line (spec, "/run/g1", &(QemuLaunch){ 0 });
  g_assert_null (value_of (without, "-device", 1));
  g_assert_nonnull (strstr (value_of (with, "-chardev", 3), "path=" GUEST_FILE_AGENT ","));
  g_assert_nonnull (strstr (value_of (with, "-device", 2), "name=org.qemu.guest_agent.0"));
  g_assert_nonnull (strstr (value_of (with, "-device", 2), "nr=1,"));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/qemu-command/plain", test_plain);
  g_test_add_func ("/qemu-command/memory", test_memory);
  g_test_add_func ("/qemu-command/incoming", test_incoming);
  g_test_add_func ("/qemu-command/names", test_names);
  g_test_add_func ("/qemu-command/agent", test_agent);
  return g_test_run();
}
