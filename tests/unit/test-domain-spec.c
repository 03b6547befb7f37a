/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Live descriptions of real domains (libvirt 9.0), and what is wrong with others. */
#include <vmckpt/drivers/domain-spec.h>

#include <string.h>

#define URI "qemu:///system"

static char *
read_fixture (const char *name)
{
  g_autofree char *path =
      g_test_build_filename (G_TEST_DIST, "..", "fixtures", "domain", name, NULL);
  g_autoptr (GError) error = NULL;
  char *text = NULL;

  g_file_get_contents (path, &text, NULL, &error);
  g_assert_no_error (error);
  return text;
}

static GuestSpec *
parse (const char *xml, GError **error)
{
  return domain_spec_from_xml (xml, strlen (xml), URI, error);
}

static void
assert_disk (const GuestSpec *spec, const char *name, const char *device, DiskMode mode,
             const char *path)
{
  const GuestDisk *disk = guest_spec_find_disk (spec, name);

  g_assert_nonnull (disk);
  g_assert_cmpstr (disk->device, ==, device);
  g_assert_cmpint (disk->mode, ==, mode);
  g_assert_cmpstr (disk->path, ==, path);
}

#define IMAGES "/var/lib/libvirt/images/"

static void
assert_disks (const GuestSpec *spec)
{
  assert_disk (spec, "vda", "virtio-disk0", DISK_CAPTURE, IMAGES "top.qcow2");
  assert_disk (spec, "sda", "scsi0-0-0-0", DISK_CAPTURE, IMAGES "scsi.qcow2");
  assert_disk (spec, "vdb", "virtio-disk1", DISK_SHARED, IMAGES "shared.raw");
  assert_disk (spec, "vdc", "virtio-disk2", DISK_READONLY, IMAGES "ro.raw");
  assert_disk (spec, "sdb", "sata0-0-1", DISK_READONLY, IMAGES "cd.iso");
  assert_disk (spec, "sdc", "sata0-0-2", DISK_READONLY, NULL);
  const GuestDisk *disk = guest_spec_find_disk (spec, "vda");
  g_assert_cmpstr (disk->format, ==, "qcow2");
  g_assert_cmpuint (disk->backing->len, ==, 1);
  g_assert_cmpstr (((DiskLayer *)disk->backing->pdata[0])->path, ==, IMAGES "base.qcow2");
}

/* A spec survives guest.json. */
static void
assert_round_trip (const GuestSpec *spec)
{
  g_autoptr (JsonObject) object = guest_spec_to_json (spec);
  g_autoptr (GError) error = NULL;
  g_autoptr (GuestSpec) again = guest_spec_from_json (object, &error);

  g_assert_no_error (error);
  g_autoptr (JsonObject) object_again = guest_spec_to_json (again);
  g_autoptr (JsonNode) a = json_node_init_object (json_node_alloc(), object);
  g_autoptr (JsonNode) b = json_node_init_object (json_node_alloc(), object_again);
  g_assert_true (json_node_equal (a, b));
}

static void
test_real (void)
{
  g_autofree char *xml = read_fixture ("qemu-7.2.xml");
  g_autoptr (GError) error = NULL;
  g_autoptr (GuestSpec) spec = parse (xml, &error);

  g_assert_no_error (error);
  g_assert_cmpint (spec->driver, ==, GUEST_DRIVER_LIBVIRT);
  g_assert_cmpstr (spec->uri, ==, URI);
  g_assert_cmpstr (spec->name, ==, "full");
  g_assert_cmpuint (spec->ram_bytes, ==, 256 << 20);
  g_assert_cmpuint (spec->cpus, ==, 1);
  g_assert_cmpstr (spec->machine, ==, "pc-q35-7.2");
  g_assert_cmpstr (spec->accel, ==, "tcg");
  g_assert_cmpstr (spec->cpu, ==, "qemu64");
  g_assert_cmpstr (spec->kernel, ==, "/boot/vmlinuz");
  g_assert_cmpstr (spec->serial_log, ==, IMAGES "full.log");
  g_assert_true (spec->agent);
  g_assert_false (spec->tpm);
  /* Shared memory alone does not let its writes be followed. */
  g_assert_cmpint (spec->memory, ==, MEMORY_PRIVATE);
  assert_disks (spec);
  assert_disk (spec, "firmware", "/machine/system.flash0", DISK_READONLY,
               "/usr/share/OVMF/OVMF_CODE_4M.fd");
  assert_disk (spec, "nvram", "/machine/system.flash1", DISK_CAPTURE, IMAGES "vars.fd");
  assert_round_trip (spec);
}

/* A name that is none of ours is replaced; the log is the serial port's own file. */
static void
test_other_name (void)
{
  g_autofree char *xml = read_fixture ("qemu-10.0.xml");
  g_autoptr (GError) error = NULL;
  g_autoptr (GuestSpec) spec = parse (xml, &error);

  g_assert_no_error (error);
  g_assert_true (g_uuid_string_is_valid (spec->name));
  g_assert_cmpstr (spec->name, ==, spec->uuid);
  g_assert_cmpstr (spec->serial_log, ==, IMAGES "b10.log");
  assert_disks (spec);
  assert_round_trip (spec);
}

/* ---- What cannot be ---- */

#define HEAD "<domain type='kvm'><name>g</name><uuid>3f1c2a64-5a0e-4c38-9a52-0f6d7f6a3f11</uuid>"
#define SIZES "<memory unit='GiB'>1</memory><vcpu>2</vcpu>"
#define DISK(source) "<devices><disk " source "<target dev='vda'/></disk></devices>"

static void
test_refused (void)
{
  static const struct {
    const char *xml, *says;
    int code;
  } cases[] = {
    { "", "no XML", DRIVER_ERROR_INVALID },
    { "<network/>", "something else", DRIVER_ERROR_INVALID },
    { "<!DOCTYPE d [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>" HEAD SIZES "</domain>",
      "document type", DRIVER_ERROR_INVALID },
    { HEAD "<vcpu>2</vcpu></domain>", "size of memory", DRIVER_ERROR_INVALID },
    { HEAD "<memory unit='parsec'>1</memory></domain>", "size of memory", DRIVER_ERROR_INVALID },
    { HEAD "<memory>1048576</memory><vcpu>4096</vcpu></domain>", "CPUs", DRIVER_ERROR_INVALID },
    { HEAD "<memory>1048577</memory><vcpu>1</vcpu></domain>", "MiB", DRIVER_ERROR_IMPOSSIBLE },
    { "<domain><name>g</name>" SIZES "</domain>", "UUID", DRIVER_ERROR_INVALID },
    { HEAD SIZES DISK ("type='file'><driver type='vmdk'/><source file='/d'/>") "</domain>", "vmdk",
      DRIVER_ERROR_IMPOSSIBLE },
    { HEAD SIZES DISK ("type='network'><source protocol='rbd' name='p/i'/>") "</domain>", "rbd",
      DRIVER_ERROR_IMPOSSIBLE },
    { HEAD SIZES DISK ("type='block' device='lun'><source dev='/dev/sda'/>") "</domain>",
      "passed through", DRIVER_ERROR_IMPOSSIBLE },
    { HEAD SIZES "<devices><disk type='file'><source file='/d'/></disk></devices></domain>",
      "target", DRIVER_ERROR_INVALID },
    { HEAD SIZES DISK ("type='file'><source file='../d'/>") "</domain>", "absolute",
      DRIVER_ERROR_IMPOSSIBLE },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (GError) error = NULL;
    g_autoptr (GuestSpec) spec = parse (cases[i].xml, &error);
    g_assert_error (error, DRIVER_ERROR, cases[i].code);
    g_assert_nonnull (strstr (error->message, cases[i].says));
    g_assert_null (spec);
  }
}

static void
test_disks_elsewhere (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GuestSpec) spec = parse (
      HEAD SIZES "<devices><disk type='network'><source protocol='nbd' name='a b'><host "
                 "name='h' port='10810'/></source><target dev='vda'/></disk>"
                 "<disk type='block'><source dev='/dev/vg/x'/><target dev='vdb'/><transient/>"
                 "</disk></devices></domain>",
      &error);

  g_assert_no_error (error);
  assert_disk (spec, "vda", NULL, DISK_CAPTURE, "nbd://h:10810/a%20b");
  assert_disk (spec, "vdb", NULL, DISK_EXCLUDE, "/dev/vg/x");
  g_assert_cmpstr (spec->accel, ==, "kvm");
}

/* Shared memory and our object in its QEMU. */
static void
test_prepared (void)
{
  static const char *const memory[] = { "",
                                        "<memoryBacking><access mode='shared'/></memoryBacking>" };

  for (guint i = 0; i < G_N_ELEMENTS (memory); i++) {
    g_autoptr (GError) error = NULL;
    g_autofree char *xml = g_strconcat (
        HEAD SIZES, memory[i],
        "<c:commandline xmlns:c='http://libvirt.org/schemas/domain/qemu/1.0'><c:env name='A' "
        "value='1'/><c:env name='LD_PRELOAD' value='/usr/lib/vmckpt/vmckpt-preload.so'/>"
        "</c:commandline></domain>",
        NULL);
    g_autoptr (GuestSpec) spec = parse (xml, &error);
    g_assert_no_error (error);
    g_assert_cmpint (spec->memory, ==, i == 1 ? MEMORY_SHARED : MEMORY_PRIVATE);
  }
}

/* Memory can be given back, unless it is said that it cannot. */
static void
test_balloon (void)
{
  static const char *const devices[] = { "", "<memballoon model='virtio'/>",
                                         "<memballoon model='none'/>" };

  for (guint i = 0; i < G_N_ELEMENTS (devices); i++) {
    g_autofree char *xml =
        g_strconcat (HEAD SIZES "<devices>", devices[i], "</devices></domain>", NULL);
    g_autoptr (GError) error = NULL;
    g_autoptr (GuestSpec) spec = parse (xml, &error);
    g_assert_no_error (error);
    g_assert_cmpint (spec->balloon, ==, i < 2);
    assert_round_trip (spec);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/domain-spec/real", test_real);
  g_test_add_func ("/domain-spec/other-name", test_other_name);
  g_test_add_func ("/domain-spec/refused", test_refused);
  g_test_add_func ("/domain-spec/disks-elsewhere", test_disks_elsewhere);
  g_test_add_func ("/domain-spec/prepared", test_prepared);
  g_test_add_func ("/domain-spec/balloon", test_balloon);
  return g_test_run();
}
