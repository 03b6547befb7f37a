/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/drivers/domain-doctor.h>
#include <vmckpt/drivers/domain-prepare.h>
#include <vmckpt/util/json.h>

#include <glib/gstdio.h>
#include <string.h>

/* A domain with @devices, and more of it in @more. */
static char *
describe (const char *more, const char *devices)
{
  return g_strdup_printf ("<domain type='qemu'><name>g1</name>"
                          "<uuid>8ae32c28-e6ac-4959-9288-ec4c98d9a8f6</uuid>"
                          "<memory unit='KiB'>196608</memory><vcpu>1</vcpu>"
                          "<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>%s"
                          "<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>%s</devices>"
                          "</domain>",
                          more, devices);
}

static JsonObject *
examine (const char *xml, const char *inactive, const DomainCircumstances *known)
{
  g_autoptr (GError) error = NULL;
  JsonObject *result = domain_doctor (xml, inactive, known, &error);

  g_assert_no_error (error);
  return result;
}

/* The level of the finding @check, or "-". */
static const char *
level_of (JsonObject *result, const char *check)
{
  JsonArray *findings = json_object_get_array_member (result, "findings");

  for (guint i = 0; i < json_array_get_length (findings); i++) {
    JsonObject *finding = json_array_get_object_element (findings, i);
    if (g_str_equal (json_object_get_string_member (finding, "check"), check))
      return json_object_get_string_member (finding, "level");
  }
  return "-";
}

/* The part of the contents with that name. */
static JsonObject *
part_of (JsonObject *result, const char *name)
{
  JsonArray *contents = json_object_get_array_member (result, "contents");

  for (guint i = 0; i < json_array_get_length (contents); i++) {
    JsonObject *part = json_array_get_object_element (contents, i);
    if (g_str_equal (json_object_get_string_member (part, "name"), name))
      return part;
  }
  g_error ("no part %s", name);
}

/* ---- What stands against it ---- */

typedef struct {
  const char *name, *more, *devices;
  guint qemu; /* major version */
  const char *check, *level;
} Case;

#define DISK(more)                                                                                 \
  "<disk type='file'><driver name='qemu' type='raw'/><source file='/proc/self/exe'/>"              \
  "<target dev='vda' bus='virtio'/>" more "</disk>"

static const Case cases[] = {
  { "plain", "", "", 10, "tracking", "degrades" },
  { "vfio", "", "<hostdev mode='subsystem' type='pci'/>", 10, "vfio", "blocks" },
  { "vfio-card", "", "<interface type='user'/><interface type='hostdev'/>", 10, "vfio", "blocks" },
  { "mdev", "", "<hostdev mode='subsystem' type='mdev'/>", 10, "vfio", "blocks" },
  { "vhost-user", "", "<interface type='vhostuser'/>", 10, "vhost-user", "degrades" },
  { "vdpa", "", "<interface type='vdpa'/>", 10, "vdpa", "degrades" },
  { "virtiofs", "", "<filesystem type='mount'><driver type='virtiofs'/></filesystem>", 10,
    "virtiofs", "blocks" },
  { "9p", "", "<filesystem type='mount'/>", 10, "9p", "degrades" },
  { "usb", "", "<hostdev mode='subsystem' type='usb'/>", 10, "usb", "degrades" },
  { "tpm", "", "<tpm model='tpm-tis'><backend type='passthrough'/></tpm>", 10, "tpm", "blocks" },
  { "virgl", "", "<video><model type='virtio'><acceleration accel3d='yes'/></model></video>", 10,
    "video", "blocks" },
  { "host-cpu", "<cpu mode='host-passthrough'/>", "", 10, "cpu", "degrades" },
  { "model-cpu", "<cpu mode='host-model'/>", "", 10, "cpu", "degrades" },
  { "named-cpu", "<cpu mode='custom'><model>qemu64</model></cpu>", "", 10, "cpu", "-" },
  { "invtsc", "<cpu><feature policy='require' name='invtsc'/></cpu>", "", 10, "invtsc", "blocks" },
  { "encrypted", "<launchSecurity type='sev'/>", "", 10, "launch-security", "blocks" },
  { "old-qemu", "", "", 5, "qemu", "degrades" },
  { "emulated", "", "", 7, "live-migration", "degrades" },
  { "emulated-new", "", "", 10, "live-migration", "-" },
  { "iothread", "<iothreads>1</iothreads>", DISK (""), 7, "iothread", "blocks" },
  { "iothread-new", "<iothreads>1</iothreads>", DISK (""), 10, "iothread", "-" },
  { "iothread-read-only", "<iothreads>1</iothreads>", DISK ("<readonly/>"), 7, "iothread", "-" },
  { "no-disk", "",
    "<disk type='file'><driver name='qemu' type='raw'/><source file='/nowhere/x'/>"
    "<target dev='vda' bus='virtio'/></disk>",
    10, "disk", "blocks" },
  { "no-agent", "", "", 10, "agent", "note" },
};

static void
test_case (gconstpointer data)
{
  const Case *expected = data;
  const DomainCircumstances known = { .qemu_major = expected->qemu };
  g_autofree char *xml = describe (expected->more, expected->devices);
  g_autoptr (JsonObject) result = examine (xml, NULL, &known);
  gboolean blocked = g_str_equal (expected->level, "blocks");

  g_assert_cmpstr (level_of (result, expected->check), ==, expected->level);
  g_assert_cmpint (json_object_get_boolean_member (result, "possible"), ==, !blocked);
  g_assert_cmpstr (json_object_get_string_member (result, "engine"), ==,
                   blocked ? "none" : "stream");
}

/* ---- Who writes to its memory ---- */

static void
test_foreign_writer (void)
{
  static const struct {
    const char *devices, *says; /* NULL: nobody */
  } writers[] = {
    { "", NULL },
    { "<interface type='user'/><hostdev mode='subsystem' type='usb'/>", NULL },
    { "<interface type='user'/><interface type='vhostuser'/>", "vhost-user" },
    { "<interface type='vdpa'/>", "vDPA" },
    { "<hostdev mode='subsystem' type='mdev'/>", "VFIO" },
    { "<filesystem type='mount'><driver type='virtiofs'/></filesystem>", "virtiofs" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (writers); i++) {
    g_autofree char *xml = describe ("", writers[i].devices);
    const char *found = domain_doctor_foreign_writer (xml);
    if (writers[i].says == NULL)
      g_assert_null (found);
    else
      g_assert_nonnull (strstr (found, writers[i].says));
  }
}

/* ---- What will be in it ---- */

static void
test_contents (void)
{
  const DomainCircumstances known = { .qemu_major = 10 };
  g_autofree char *path = NULL;
  int fd = g_file_open_tmp (NULL, &path, NULL);
  g_assert_true (g_close (fd, NULL));
  g_assert_true (g_file_set_contents (path, "0123456789abcdef", -1, NULL));
  g_autofree char *devices =
      g_strdup_printf ("<disk type='file'><driver name='qemu' type='raw'/><source file='%s'/>"
                       "<target dev='vda' bus='virtio'/></disk>"
                       "<disk type='file'><driver name='qemu' type='raw'/><source file='%s'/>"
                       "<target dev='vdb' bus='virtio'/><shareable/></disk>"
                       "<disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>"
                       "<tpm model='tpm-tis'><backend type='emulator'/></tpm>",
                       path, path);
  g_autofree char *xml = describe ("", devices);
  g_autoptr (JsonObject) result = examine (xml, NULL, &known);

  g_unlink (path);
  g_assert_cmpint (json_object_get_int_member (part_of (result, "pc.ram"), "bytes"), ==, 192 << 20);
  g_assert_cmpint (json_object_get_int_member (part_of (result, "vda"), "bytes"), ==, 16);
  g_assert_true (json_object_get_boolean_member (part_of (result, "vda"), "kept"));
  g_assert_false (json_object_get_boolean_member (part_of (result, "vdb"), "kept"));
  g_assert_false (json_object_get_boolean_member (part_of (result, "sda"), "kept"));
  g_assert_true (json_object_get_boolean_member (part_of (result, "tpm"), "kept"));
}

/* ---- Prepared, now or next time ---- */

static void
test_prepared (void)
{
  g_autofree char *plain = describe ("", "");
  g_autoptr (xmlDoc) doc = domain_xml_parse (plain, strlen (plain), NULL);
  g_assert_true (domain_prepare (doc, "/usr/lib/vmckpt-preload.so", NULL));
  g_autofree char *prepared = domain_xml_to_text (doc);
  DomainCircumstances known = { .qemu_major = 10, .running = TRUE };

  g_autoptr (JsonObject) next = examine (plain, prepared, &known);
  g_assert_cmpstr (json_object_get_string_member (next, "prepared"), ==, "next-start");
  g_assert_cmpstr (json_object_get_string_member (next, "engine"), ==, "stream");
  g_assert_cmpstr (level_of (next, "tracking"), ==, "note");

  g_autoptr (JsonObject) now = examine (prepared, prepared, &known);
  g_assert_cmpstr (json_object_get_string_member (now, "prepared"), ==, "yes");
  g_assert_cmpstr (json_object_get_string_member (now, "engine"), ==, "tracked");
  g_assert_cmpstr (level_of (now, "tracking"), ==, "-");

  known.untracked = "somebody removed it";
  g_autoptr (JsonObject) broken = examine (prepared, prepared, &known);
  g_assert_cmpstr (json_object_get_string_member (broken, "engine"), ==, "stream");
  g_assert_cmpstr (level_of (broken, "tracking"), ==, "degrades");
}

static void
test_no_description (void)
{
  const DomainCircumstances known = { 0 };
  g_autoptr (GError) error = NULL;

  g_assert_null (domain_doctor ("<network/>", NULL, &known, &error));
  g_assert_error (error, DRIVER_ERROR, DRIVER_ERROR_INVALID);
}

/* ---- Whose QEMU it is ---- */

static void
test_user (void)
{
  static const char host[] =
      "<capabilities><host><secmodel><model>apparmor</model><baselabel type='kvm'>7</baselabel>"
      "</secmodel><secmodel><model>dac</model><doi>0</doi>"
      "<baselabel type='kvm'>+64055:+103</baselabel></secmodel></host></capabilities>";
  g_autofree char *plain = describe ("", "");
  g_autofree char *own = describe ("<seclabel type='static' model='dac' relabel='no'>"
                                   "<label>+0:+0</label></seclabel>",
                                   "");
  g_autofree char *named = describe ("<seclabel type='static' model='dac'>"
                                     "<label>joe:joe</label></seclabel>",
                                     "");
  guint uid = 1;

  g_assert_true (domain_doctor_user (plain, host, &uid));
  g_assert_cmpuint (uid, ==, 64055);
  g_assert_true (domain_doctor_user (own, host, &uid));
  g_assert_cmpuint (uid, ==, 0);
  g_assert_false (domain_doctor_user (named, NULL, &uid));
  g_assert_false (domain_doctor_user (plain, "<capabilities/>", &uid));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree char *path = g_strconcat ("/domain-doctor/", cases[i].name, NULL);
    g_test_add_data_func (path, &cases[i], test_case);
  }
  g_test_add_func ("/domain-doctor/contents", test_contents);
  g_test_add_func ("/domain-doctor/prepared", test_prepared);
  g_test_add_func ("/domain-doctor/user", test_user);
  g_test_add_func ("/domain-doctor/no-description", test_no_description);
  g_test_add_func ("/domain-doctor/foreign-writer", test_foreign_writer);
  return g_test_run();
}
