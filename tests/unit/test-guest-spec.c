/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/drivers/guest-spec.h>

#include <vmckpt/util/json.h>

#include <string.h>

static GuestSpec *
parse (const char *text, GError **error)
{
  g_autoptr (GError) cause = NULL;
  g_autoptr (JsonObject) object = json_parse_bounded (text, strlen (text), 1 << 20, 8, &cause);

  g_assert_no_error (cause);
  return guest_spec_from_json (object, error);
}

static void
test_defaults (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GuestSpec) spec = parse ("{\"name\":\"g1\",\"kernel\":null,\"paused\":true}", &error);

  g_assert_no_error (error);
  g_assert_cmpstr (spec->name, ==, "g1");
  g_assert_cmpuint (spec->ram_bytes, ==, G_GUINT64_CONSTANT (2) << 30);
  g_assert_cmpuint (spec->cpus, ==, 2);
  g_assert_cmpstr (spec->qemu, ==, "qemu-system-x86_64");
  g_assert_cmpstr (spec->accel, ==, "auto");
  g_assert_cmpstr (spec->machine, ==, "q35");
  g_assert_null (spec->cpu);
  g_assert_null (spec->uuid);
  g_assert_cmpuint (spec->disks->len, ==, 0);
  g_assert_cmpuint (g_strv_length (spec->extra), ==, 0);
}

#define WHOLE                                                                                      \
  "{\"name\":\"g1\",\"uuid\":\"3f1c2a64-5a0e-4c38-9a52-0f6d7f6a3f11\","                            \
  "\"genid\":\"9d3b5f0e-7a43-4a36-8f44-2a0b6a1c9e77\",\"ram_bytes\":1073741824,\"cpus\":4,"        \
  "\"kernel\":\"/k,1\",\"initrd\":\"/i\",\"append\":\"console=ttyS0 \\\"x\\\"\",\"agent\":true,"   \
  "\"disks\":[{\"path\":\"/d,1\",\"mode\":\"readonly\",\"format\":\"qcow2\",\"size\":7,"           \
  "\"mtime_us\":1700000000000000},\"/e,shared\"],\"qemu\":\"/usr/bin/q\",\"accel\":\"tcg\","       \
  "\"machine\":\"pc-q35-7.2\",\"cpu\":\"qemu64-v1\",\"tpm\":true,\"extra\":[\"-device\",\"virtio-" \
  "rng\"]}"

/* The document of a spec gives an equal spec, and so the same document. */
static void
test_round_trip (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GuestSpec) spec = parse (WHOLE, &error);

  g_assert_no_error (error);
  GuestDisk *disk = spec->disks->pdata[0];
  g_assert_cmpstr (disk->path, ==, "/d,1");
  g_assert_cmpint (disk->mode, ==, DISK_READONLY);
  g_assert_cmpint (disk->mtime_us, ==, 1700000000000000);
  disk = spec->disks->pdata[1];
  g_assert_cmpstr (disk->path, ==, "/e");
  g_assert_cmpint (disk->mode, ==, DISK_SHARED);

  g_autoptr (JsonObject) object = guest_spec_to_json (spec);
  g_autofree char *text = json_to_line (object);
  g_autoptr (GuestSpec) again = parse (text, &error);
  g_assert_no_error (error);
  g_autoptr (GuestSpec) copy = guest_spec_copy (again);
  g_autoptr (JsonObject) object_again = guest_spec_to_json (copy);
  g_autofree char *text_again = json_to_line (object_again);
  g_assert_cmpstr (text, ==, text_again);
  g_assert_nonnull (strstr (text, "\"console=ttyS0 \\\"x\\\"\""));
  g_assert_nonnull (strstr (text, "\"-device\",\"virtio-rng\""));
}

/* Each bad document names its member. */
static void
test_invalid (void)
{
  static const struct {
    const char *text;
    const char *names;
  } bad[] = {
    { "{}", "'name'" },
    { "{\"name\":\"../x\"}", "guest name" },
    { "{\"name\":5}", "'name'" },
    { "{\"name\":\"g\",\"ram\":5}", "'ram'" },
    { "{\"name\":\"g\",\"ram_bytes\":1048577}", "'ram_bytes'" },
    { "{\"name\":\"g\",\"ram_bytes\":-1}", "'ram_bytes'" },
    { "{\"name\":\"g\",\"ram_bytes\":1048576}", "'ram_bytes'" },
    { "{\"name\":\"g\",\"ram_bytes\":9223372036854775807}", "'ram_bytes'" },
    { "{\"name\":\"g\",\"cpus\":0}", "'cpus'" },
    { "{\"name\":\"g\",\"cpus\":256}", "'cpus'" },
    { "{\"name\":\"g\",\"cpus\":\"2\"}", "'cpus'" },
    { "{\"name\":\"g\",\"uuid\":\"x\"}", "'uuid'" },
    { "{\"name\":\"g\",\"kernel\":\"vmlinuz\"}", "'kernel'" },
    { "{\"name\":\"g\",\"initrd\":\"/i\"}", "'kernel'" },
    { "{\"name\":\"g\",\"qemu\":\"bin/q\"}", "'qemu'" },
    { "{\"name\":\"g\",\"qemu\":\"\"}", "'qemu'" },
    { "{\"name\":\"g\",\"accel\":\"xen\"}", "'accel'" },
    { "{\"name\":\"g\",\"agent\":1}", "'agent'" },
    { "{\"name\":\"g\",\"machine\":\"q35,x=y\"}", "'machine'" },
    { "{\"name\":\"g\",\"machine\":\"\"}", "'machine'" },
    { "{\"name\":\"g\",\"disks\":\"/d,shared\"}", "'disks'" },
    { "{\"name\":\"g\",\"disks\":[\"d,shared\"]}", "'disks'" },
    { "{\"name\":\"g\",\"disks\":[{\"path\":\"/d\",\"mode\":\"rw\"}]}", "'disks'" },
    { "{\"name\":\"g\",\"disks\":[\"/d,name=a\",\"/e,name=a\"]}", "name a" },
    { "{\"name\":\"g\",\"disks\":[\"/d,bus=ide,iothread\"]}", "iothread" },
    { "{\"name\":\"g\",\"disks\":[\"/d,cdrom,bus=virtio\"]}", "cdrom" },
    { "{\"name\":\"g\",\"disks\":[\"/d,cdrom,capture\"]}", "readonly" },
    { "{\"name\":\"g\",\"disks\":[\"/d,name=nvram\"]}", "nvram" },
    { "{\"name\":\"g\",\"disks\":[{\"path\":\"/d\",\"backing\":[{\"path\":\"b\"}]}]}",
      "'backing'" },
    { "{\"name\":\"g\",\"disks\":[{\"mode\":\"shared\"}]}", "'disks'" },
    { "{\"name\":\"g\",\"disks\":[{\"path\":\"/d\",\"mode\":\"shared\",\"format\":\"vmdk\"}]}",
      "'disks'" },
    { "{\"name\":\"g\",\"disks\":[null]}", "'disks'" },
    { "{\"name\":\"g\",\"extra\":[1]}", "'extra'" },
    { "{\"name\":\"g\",\"extra\":{}}", "'extra'" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (GError) error = NULL;
    g_assert_null (parse (bad[i].text, &error));
    g_assert_error (error, DRIVER_ERROR, DRIVER_ERROR_INVALID);
    if (strstr (error->message, bad[i].names) == NULL)
      g_error ("%s: should name %s: %s", bad[i].text, bad[i].names, error->message);
  }
}

/* Text and lists have bounds. */
static void
test_bounds (void)
{
  g_autofree char *long_text = g_strnfill (GUEST_TEXT_MAX + 1, 'a');
  g_autofree char *append =
      g_strdup_printf ("{\"name\":\"g\",\"kernel\":\"/k\",\"append\":\"%s\"}", long_text);
  g_autoptr (GString) many = g_string_new ("{\"name\":\"g\",\"extra\":[\"\"");
  g_autoptr (GError) error = NULL;

  g_assert_null (parse (append, &error));
  g_assert_error (error, DRIVER_ERROR, DRIVER_ERROR_INVALID);
  g_clear_error (&error);
  for (guint i = 0; i < GUEST_EXTRA_MAX; i++)
    g_string_append (many, ",\"\"");
  g_string_append (many, "]}");
  g_assert_null (parse (many->str, &error));
  g_assert_error (error, DRIVER_ERROR, DRIVER_ERROR_INVALID);
}

static GuestDisk *
disk_of (const char *text)
{
  g_autoptr (GError) error = NULL;
  GuestDisk *disk = guest_disk_parse (text, &error);

  g_assert_no_error (error);
  return disk;
}

/* What is not said has a default; what is no option belongs to the path. */
static void
test_disk (void)
{
  g_autoptr (GuestDisk) plain = disk_of ("/d");
  g_autoptr (GuestDisk) exclude = disk_of ("a,b,exclude");
  g_autoptr (GuestDisk) all = disk_of ("/d,x,bus=scsi,name=root,format=qcow2,iothread,shared");
  g_autoptr (GuestDisk) twice = disk_of ("/d,shared,readonly");
  g_autoptr (GuestDisk) cdrom = disk_of ("/c.iso,cdrom");
  g_autoptr (GuestDisk) nbd = disk_of ("nbd://h:1/x,bus=virtio");

  g_assert_cmpstr (plain->path, ==, "/d");
  g_assert_cmpint (plain->mode, ==, DISK_CAPTURE);
  g_assert_cmpint (plain->bus, ==, DISK_BUS_VIRTIO);
  g_assert_null (plain->format);
  g_assert_cmpstr (exclude->path, ==, "a,b");
  g_assert_cmpint (exclude->mode, ==, DISK_EXCLUDE);
  g_assert_cmpstr (all->path, ==, "/d,x");
  g_assert_cmpstr (all->name, ==, "root");
  g_assert_cmpstr (all->format, ==, "qcow2");
  g_assert_cmpint (all->bus, ==, DISK_BUS_SCSI);
  g_assert_cmpint (all->mode, ==, DISK_SHARED);
  g_assert_true (all->iothread);
  g_assert_cmpstr (twice->path, ==, "/d,shared");
  g_assert_cmpint (cdrom->media, ==, DISK_MEDIA_CDROM);
  g_assert_cmpint (cdrom->mode, ==, DISK_READONLY);
  g_assert_cmpint (cdrom->bus, ==, DISK_BUS_IDE);
  g_assert_cmpint (nbd->storage, ==, DISK_STORAGE_NBD);
}

static void
test_bad_disk (void)
{
  static const char *const bad[] = {
    "",          ",shared",           "/d,bus=floppy",
    "/d,bus=",   "/d,format=vmdk",    "/d,name=9",
    "/d,name=-", "/d,name=a-b",       "/d,name=averyverylongdiskname",
    "/d,name=",  "/d,format=,shared",
  };

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (GError) error = NULL;
    g_assert_null (guest_disk_parse (bad[i], &error));
    g_assert_error (error, DRIVER_ERROR, DRIVER_ERROR_INVALID);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/guest-spec/defaults", test_defaults);
  g_test_add_func ("/guest-spec/round-trip", test_round_trip);
  g_test_add_func ("/guest-spec/invalid", test_invalid);
  g_test_add_func ("/guest-spec/bounds", test_bounds);
  g_test_add_func ("/guest-spec/disk", test_disk);
  g_test_add_func ("/guest-spec/bad-disk", test_bad_disk);
  return g_test_run();
}
