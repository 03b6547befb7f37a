/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/drivers/domain-adapt.h>

#include <vmckpt/drivers/domain-spec.h>

#include <string.h>

#define UUID "2f9a5e0e-4d5c-4e0b-9c55-1f8b7d7a6f10"
#define OTHER_UUID "7d1f3a52-0c44-4a1e-8f0e-5a4c3b2a1908"

/* As libvirt 9.0 writes it, with what matters here. */
static const char live[] =
    "<domain type='kvm' id='3'><name>g1</name><uuid>" UUID "</uuid>"
    "<genid>0d5f1a90-6a57-4bb7-9d0d-3d0a6a1fd3c1</genid><memory unit='KiB'>196608</memory>"
    "<vcpu placement='static'>2</vcpu>"
    "<sysinfo type='smbios'><system><entry name='serial'>7</entry><entry name='uuid'>" UUID
    "</entry></system></sysinfo>"
    "<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type>"
    "<loader readonly='yes' type='pflash'>/fw/CODE.fd</loader><nvram>/nv/g1.fd</nvram>"
    "<kernel>/boot/k</kernel></os>"
    "<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>"
    "<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'/>"
    "<source file='/old/a.qcow2' index='2'><seclabel model='dac' relabel='no'/></source>"
    "<backingStore type='file'><format type='raw'/><source file='/old/base.raw'/>"
    "<backingStore/></backingStore><target dev='vda' bus='virtio'/><alias name='virtio-disk0'/>"
    "</disk>"
    "<disk type='block' device='disk'><driver name='qemu' type='raw'/>"
    "<source dev='/dev/vg/b'/><target dev='vdb' bus='virtio'/></disk>"
    "<disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>"
    "<interface type='network'><mac address='52:54:00:11:22:33'/><model type='virtio'/></interface>"
    "<interface type='user'><mac address='52:54:00:11:22:34'/></interface>"
    "<serial type='file'><source path='/log/g1.log'/><target port='0'/></serial>"
    "<console type='file'><source path='/log/g1.log'/><target type='serial' port='0'/></console>"
    "<channel type='unix'><source mode='bind' path='/run/agent'/>"
    "<target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
    "<graphics type='vnc' port='5901' autoport='no'/>"
    "<vsock model='virtio'><cid auto='no' address='5'/></vsock>"
    "</devices></domain>";

static xmlDoc *
adapt (const DomainChanges *changes, GPtrArray *notes)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *text = domain_adapt (live, changes, notes, &error);

  g_assert_no_error (error);
  xmlDoc *doc = domain_xml_parse (text, strlen (text), &error);
  g_assert_no_error (error);
  return doc;
}

static void
assert_text (xmlDoc *doc, const char *path, const char *wanted)
{
  g_autofree char *text = domain_xml_text (domain_xml_root (doc), path);

  g_assert_cmpstr (text, ==, wanted);
}

static void
assert_attribute (xmlNode *node, const char *path, const char *name, const char *wanted)
{
  g_autofree char *value = domain_xml_attribute (node, path, name);

  g_assert_cmpstr (value, ==, wanted);
}

static void
test_nothing (void)
{
  const DomainChanges none = { 0 };
  g_autoptr (xmlDoc) doc = adapt (&none, NULL);
  g_autoptr (xmlDoc) former = domain_xml_parse (live, strlen (live), NULL);
  g_autofree char *now = domain_xml_to_text (doc);
  g_autofree char *before = domain_xml_to_text (former);

  g_assert_cmpstr (now, ==, before);
}

static void
test_disks (void)
{
  g_autoptr (GPtrArray) disks = g_ptr_array_new_with_free_func ((GDestroyNotify)guest_disk_free);
  const char *const placed[][3] = { { "vda", "/new/a.raw", "raw" },
                                    { "vdb", "/new/b.qcow2", "qcow2" },
                                    { "nvram", "/new/nvram.raw", "raw" },
                                    { "firmware", "/new/CODE.fd", "raw" } };
  const DomainChanges changes = { .disks = disks };

  for (guint i = 0; i < G_N_ELEMENTS (placed); i++) {
    GuestDisk *disk = guest_disk_new (placed[i][1]);
    disk->name = g_strdup (placed[i][0]);
    disk->format = g_strdup (placed[i][2]);
    g_ptr_array_add (disks, disk);
  }
  g_autoptr (xmlDoc) doc = adapt (&changes, NULL);
  xmlNode *a = domain_xml_find (domain_xml_root (doc), "devices/disk");
  xmlNode *b = domain_xml_next (a);
  assert_attribute (a, "source", "file", "/new/a.raw");
  assert_attribute (a, "source", "index", NULL);
  assert_attribute (a, "driver", "type", "raw");
  assert_attribute (a, "driver", "cache", "none");
  /* What was behind it must not come back, nor may libvirt look for it. */
  g_assert_nonnull (domain_xml_find (a, "backingStore"));
  g_assert_null (domain_xml_find (a, "backingStore/source"));
  assert_attribute (b, "", "type", "file");
  assert_attribute (b, "source", "file", "/new/b.qcow2");
  assert_attribute (b, "source", "dev", NULL);
  assert_attribute (b, "driver", "type", "qcow2");
  assert_text (doc, "os/nvram", "/new/nvram.raw");
  assert_text (doc, "os/loader", "/new/CODE.fd");
  assert_text (doc, "uuid", UUID);

  /* The same as a spec. */
  g_autofree char *text = domain_xml_to_text (doc);
  g_autoptr (GError) error = NULL;
  g_autoptr (GuestSpec) spec = domain_spec_from_xml (text, strlen (text), "qemu:///x", &error);
  g_assert_no_error (error);
  g_assert_cmpstr (guest_spec_find_disk (spec, "vda")->path, ==, "/new/a.raw");
  g_assert_cmpuint (guest_spec_find_disk (spec, "vda")->backing->len, ==, 0);
}

static void
test_disk_as_it_was (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GuestSpec) spec = domain_spec_from_xml (live, strlen (live), "qemu:///x", &error);
  const DomainChanges changes = { .disks = spec->disks };
  g_autoptr (xmlDoc) doc = adapt (&changes, NULL);

  assert_attribute (domain_xml_root (doc), "devices/disk/backingStore/source", "file",
                    "/old/base.raw");
  assert_attribute (domain_xml_root (doc), "devices/disk/source", "index", "2");
}

static void
test_paths (void)
{
  g_autoptr (GHashTable) paths = g_hash_table_new (g_str_hash, g_str_equal);
  const DomainChanges changes = { .paths = paths, .emulator = "/q" };

  g_hash_table_insert (paths, (gpointer) "/old/", (gpointer) "/srv/x");
  g_hash_table_insert (paths, (gpointer) "/boot/k", (gpointer) "/boot/k2");
  g_hash_table_insert (paths, (gpointer) "/lo", (gpointer) "/wrong");
  g_autoptr (xmlDoc) doc = adapt (&changes, NULL);
  xmlNode *domain = domain_xml_root (doc);
  assert_attribute (domain, "devices/disk/source", "file", "/srv/x/a.qcow2");
  assert_attribute (domain, "devices/disk/backingStore/source", "file", "/srv/x/base.raw");
  assert_attribute (domain, "devices/serial/source", "path", "/log/g1.log");
  assert_text (doc, "os/kernel", "/boot/k2");
  assert_text (doc, "devices/emulator", "/q");
}

static void
test_new_identity (void)
{
  g_autoptr (GPtrArray) notes = g_ptr_array_new_with_free_func (g_free);
  const DomainChanges changes = { .name = "g2", .new_uuid = OTHER_UUID };
  g_autoptr (xmlDoc) doc = adapt (&changes, notes);
  g_autoptr (xmlDoc) again = adapt (&changes, NULL);
  xmlNode *domain = domain_xml_root (doc);
  xmlNode *card = domain_xml_find (domain, "devices/interface");

  assert_text (doc, "name", "g2");
  assert_text (doc, "uuid", OTHER_UUID);
  xmlNode *entry = domain_xml_next (domain_xml_find (domain, "sysinfo/system/entry"));
  g_autofree char *said = domain_xml_text (entry, "");
  g_assert_cmpstr (said, ==, OTHER_UUID);
  g_autofree char *genid = domain_xml_text (domain, "genid");
  g_assert_true (g_uuid_string_is_valid (genid));
  g_assert_cmpstr (genid, !=, "0d5f1a90-6a57-4bb7-9d0d-3d0a6a1fd3c1");
  g_autofree char *first = domain_xml_attribute (card, "mac", "address");
  g_autofree char *second = domain_xml_attribute (domain_xml_next (card), "mac", "address");
  g_assert_true (g_str_has_prefix (first, "52:54:00:"));
  g_assert_cmpstr (first, !=, "52:54:00:11:22:33");
  g_assert_cmpstr (first, !=, second);
  /* The inactive description gets the same. */
  assert_attribute (domain_xml_root (again), "devices/interface/mac", "address", first);
  assert_text (again, "genid", genid);
  assert_attribute (domain, "devices/serial/source", "path", "/log/g2.log");
  assert_attribute (domain, "devices/console/source", "path", "/log/g2.log");
  assert_attribute (domain, "devices/channel/source", "path", "/run/agent.g2");
  assert_attribute (domain, "devices/graphics", "port", NULL);
  assert_attribute (domain, "devices/graphics", "autoport", "yes");
  assert_attribute (domain, "devices/vsock/cid", "address", NULL);
  g_assert_cmpuint (notes->len, ==, 2);
}

static void
assert_no_second (const char *device)
{
  g_autofree char *xml = g_strdup_printf (
      "<domain><name>g1</name><uuid>" UUID "</uuid><devices>%s</devices></domain>", device);
  const DomainChanges changes = { .name = "g2", .new_uuid = OTHER_UUID }, same = { 0 };
  g_autoptr (GError) error = NULL;
  g_autofree char *text = domain_adapt (xml, &same, NULL, &error);

  g_assert_nonnull (text);
  g_assert_null (domain_adapt (xml, &changes, NULL, &error));
  g_assert_error (error, DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE);
}

static void
test_no_second (void)
{
  g_autoptr (GError) error = NULL;
  const DomainChanges none = { 0 };

  assert_no_second ("<hostdev mode='subsystem' type='pci'/>");
  assert_no_second ("<interface type='hostdev'/>");
  assert_no_second ("<serial type='dev'><source path='/dev/ttyS0'/></serial>");
  assert_no_second ("<serial type='tcp'><source mode='bind' host='h' service='1'/></serial>");
  g_assert_null (domain_adapt ("<pool/>", &none, NULL, &error));
  g_assert_error (error, DRIVER_ERROR, DRIVER_ERROR_INVALID);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/domain-adapt/nothing", test_nothing);
  g_test_add_func ("/domain-adapt/disks", test_disks);
  g_test_add_func ("/domain-adapt/disk-as-it-was", test_disk_as_it_was);
  g_test_add_func ("/domain-adapt/paths", test_paths);
  g_test_add_func ("/domain-adapt/new-identity", test_new_identity);
  g_test_add_func ("/domain-adapt/no-second", test_no_second);
  return g_test_run();
}
