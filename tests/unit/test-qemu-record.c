/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Recording a machine, and holding the record against this host. */
#include "tiny-guest.h"

#include "disk.h"
#include "host.h"
#include "rom.h"

#include <vmckpt/util/json.h>

#include <glib/gstdio.h>
#include <string.h>

#define MIB (G_GUINT64_CONSTANT (1) << 20)

/* A tiny guest that runs, and its record. */
typedef struct {
  TinyGuest guest;
  JsonObject *machine;
} Recorded;

static void
recorded_clear (Recorded *recorded)
{
  g_clear_pointer (&recorded->machine, json_object_unref);
  tiny_guest_clear (&recorded->guest);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Recorded, recorded_clear)

static void
record (Recorded *recorded)
{
  g_autoptr (GError) error = NULL;
  TinyGuest *guest = &recorded->guest;

  tiny_guest_init (guest);
  tiny_guest_start (guest, FALSE);
  /* Any file does as a record's kernel; QEMU was not started with it. */
  guest->spec->kernel = g_strdup (guest->disk);
  g_autoptr (MachineRecorder) recorder = machine_recorder_new (NULL);
  recorded->machine = machine_recorder_record (recorder, guest->spec, guest->qemu.monitor, &error);
  g_assert_no_error (error);
  g_clear_pointer (&guest->spec->kernel, g_free);
}

static void
test_record (void)
{
  g_auto (Recorded) recorded = { 0 };
  g_autoptr (GError) error = NULL;

  if (skip_without_qemu())
    return;
  record (&recorded);
  JsonObject *machine = recorded.machine;
  g_assert_cmpstr (json_get_string_or (machine, "driver", ""), ==, "qemu");
  g_assert_cmpstr (json_get_string_or (machine, "machine", ""), ==, recorded.guest.spec->machine);
  g_assert_cmpstr (json_get_string_or (machine, "accel", ""), ==, "tcg");
  JsonObject *qemu = json_get_object (machine, "qemu", &error);
  g_assert_no_error (error);
  g_assert_cmpuint (json_get_uint64_or (qemu, "major", 0), >=, 6);
  JsonObject *cpu = json_get_object (machine, "cpu", &error);
  g_assert_cmpstr (json_get_string_or (cpu, "model", ""), ==, "qemu64-v1");
  g_assert_cmpuint (json_array_get_length (json_get_array (cpu, "features", &error)), >, 10);

  g_autofree char *text = json_to_line (machine);
  g_assert_nonnull (strstr (text, "\"disk0 virtio-blk-pci\""));
  g_assert_nonnull (strstr (text, "\"vmgenid0 vmgenid\""));
  g_assert_nonnull (strstr (text, "bios"));
  JsonObject *kernel = json_get_object (machine, "kernel", &error);
  g_assert_cmpuint (json_get_uint64_or (kernel, "size", 0), ==, MIB);
  g_assert_cmpuint (strlen (json_get_string_or (kernel, "sha256", "")), ==, 64);
  g_assert_false (json_object_has_member (machine, "initrd"));

  /* At least the firmware was found and hashed. */
  JsonObject *rom = json_array_get_object_element (json_get_array (machine, "roms", &error), 0);
  g_assert_nonnull (json_get_string_or (rom, "sha256", NULL));
}

/* The spec as a restore gets it. */
static GuestSpec *
spec_of (JsonObject *machine)
{
  g_autoptr (GError) error = NULL;
  GuestSpec *spec = guest_spec_from_json (json_get_object (machine, "spec", NULL), &error);

  g_assert_no_error (error);
  return spec;
}

static void
assert_impossible (JsonObject *machine, GuestSpec *made, guint64 ram, const char *says)
{
  g_autoptr (GuestSpec) spec = made;
  g_autoptr (GError) error = NULL;

  g_assert_false (qemu_preflight (machine, spec, &(QemuPreflight){ .ram_needed = ram }, &error));
  g_assert_error (error, DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE);
  if (strstr (error->message, says) == NULL)
    g_error ("should say '%s': %s", says, error->message);
}

static void
test_preflight_same (void)
{
  g_auto (Recorded) recorded = { 0 };
  g_autoptr (GError) error = NULL;

  if (skip_without_qemu())
    return;
  record (&recorded);
  g_autoptr (GuestSpec) spec = spec_of (recorded.machine);
  g_free (spec->qemu);
  spec->qemu = g_strdup ("qemu-system-x86_64");
  g_free (spec->accel);
  spec->accel = g_strdup ("auto");
  qemu_preflight (recorded.machine, spec, &(QemuPreflight){ .ram_needed = 128 * MIB }, &error);
  g_assert_no_error (error);
  g_assert_true (g_path_is_absolute (spec->qemu));
  g_assert_cmpstr (spec->accel, ==, "tcg");
}

/* Every difference is named. */
static void
test_preflight_differences (void)
{
  g_auto (Recorded) recorded = { 0 };
  g_autoptr (GError) error = NULL;
  GuestSpec *spec;

  if (skip_without_qemu())
    return;
  record (&recorded);
  JsonObject *machine = recorded.machine;

  assert_impossible (machine, spec_of (machine), G_GUINT64_CONSTANT (1) << 50, "of memory");
  spec = spec_of (machine);
  g_free (spec->qemu);
  spec->qemu = g_strdup ("/no/such/qemu");
  assert_impossible (machine, spec, 0, "/no/such/qemu");
  spec = spec_of (machine);
  g_free (spec->machine);
  spec->machine = g_strdup ("pc-q35-99.0");
  assert_impossible (machine, spec, 0, "pc-q35-99.0");
  spec = spec_of (machine);
  g_free (spec->accel);
  spec->accel = g_strdup ("kvm");
  assert_impossible (machine, spec, 0, "ran with tcg");

  JsonObject *cpu = json_get_object (machine, "cpu", NULL);
  json_array_add_string_element (json_get_array (cpu, "features", NULL), "no-such-feature");
  assert_impossible (machine, spec_of (machine), 0, "no-such-feature");

  json_object_set_int_member (json_get_object (machine, "qemu", NULL), "major", 99);
  g_assert_true (g_file_set_contents (recorded.guest.disk, "x", 1, NULL));
  spec = spec_of (machine);
  /* Several at once. */
  assert_impossible (machine, guest_spec_copy (spec), 0, "an older QEMU does not load it");
  assert_impossible (machine, guest_spec_copy (spec), 0, "no-such-feature");
  assert_impossible (machine, spec, 0, "has 1 bytes here");

  json_object_set_string_member (machine, "driver", "other");
  assert_impossible (machine, spec_of (machine), 0, "'other'");
}

static void
test_disk (void)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *path = NULL;
  g_autoptr (GuestDisk) disk = guest_disk_new (NULL);
  int fd = g_file_open_tmp (NULL, &path, &error);

  g_assert_no_error (error);
  g_close (fd, NULL);
  disk->path = g_strdup (path);
  disk->mode = DISK_READONLY;
  g_assert_true (g_file_set_contents (path, "nine here", 9, NULL));
  g_assert_true (disk_measure (disk, &error));
  g_assert_cmpstr (disk->format, ==, "raw");
  g_assert_cmpuint (disk->size, ==, 9);
  g_assert_null (disk_compare (disk));

  disk->size++;
  g_autofree char *resized = disk_compare (disk);
  g_assert_nonnull (strstr (resized, "has 9 bytes"));
  /* An image that is written to grows. */
  disk->mode = DISK_SHARED;
  g_free (disk->format);
  disk->format = g_strdup ("qcow2");
  g_assert_null (disk_compare (disk));
  g_unlink (path);
  g_autofree char *gone = disk_compare (disk);
  g_assert_nonnull (strstr (gone, "is not here"));

  /* The format is never guessed twice: by now a guest may have written that header. */
  g_free (disk->format);
  disk->format = g_strdup ("raw");
  g_assert_true (g_file_set_contents (path, "QFI\xfb rest", 9, NULL));
  g_assert_true (disk_measure (disk, &error));
  g_assert_cmpstr (disk->format, ==, "raw");
  g_unlink (path);
}

static void
test_rom_names (void)
{
  g_auto (GStrv) names =
      rom_parse_names ("fw=genroms/kvmvapic.bin size=0x002400 name=\"kvmvapic.bin\"\r\n"
                       "addr=00000000fffc0000 size=0x040000 mem=rom name=\"bios-256k.bin\"\r\n"
                       "/rom@etc/acpi/tables size=0x200000 name=\"etc/acpi/tables\"\r\n"
                       "addr=0 size=1 name=\"../../etc/shadow\"\r\n"
                       "addr=0 size=1 name=\"kvmvapic.bin\"\r\naddr=0 name=\"\r\n");

  g_assert_cmpuint (g_strv_length (names), ==, 3);
  g_assert_cmpstr (names[0], ==, "kvmvapic.bin");
  g_assert_cmpstr (names[1], ==, "bios-256k.bin");
  g_assert_cmpstr (names[2], ==, "shadow");
}

static void
test_doctor (void)
{
  g_autoptr (JsonArray) checks = qemu_doctor (NULL);
  g_autoptr (JsonArray) without = qemu_doctor ("/no/such/qemu");
  static const char *const members[] = { "check", "found", "for", "mend" };

  g_assert_cmpuint (json_array_get_length (checks), >=, 4);
  for (guint i = 0; i < json_array_get_length (checks); i++) {
    JsonObject *check = json_array_get_object_element (checks, i);
    gboolean ok = json_get_bool_or (check, "ok", FALSE);
    for (guint j = 0; j < G_N_ELEMENTS (members); j++)
      g_assert_nonnull (json_get_string_or (check, members[j], NULL));
    /* What is missing comes with what to do, and nothing else does. */
    g_assert_cmpint (*json_get_string_or (check, "mend", "") == '\0', ==, ok);
  }
  JsonObject *qemu = json_array_get_object_element (without, 0);
  g_assert_false (json_get_bool_or (qemu, "ok", TRUE));
}

static void
test_memory (void)
{
  g_assert_cmpuint (host_parse_memory ("MemTotal: 9 kB\nMemAvailable:    2048 kB\n"), ==, 2 * MIB);
  g_assert_cmpuint (host_parse_memory ("MemTotal: 9 kB\n"), ==, 0);
  g_assert_cmpuint (host_memory_available(), >, 0);
}

static void
execute (TinyGuest *guest, const char *command, const char *arguments)
{
  g_autoptr (GError) error = NULL;
  JsonObject *object = json_parse_bounded (arguments, strlen (arguments), 4096, 4, &error);
  g_assert_no_error (error);
  g_autoptr (JsonNode) done =
      qmp_client_execute (guest->qemu.monitor, command, object, -1, 0, NULL, &error);
  g_assert_no_error (error);
}

/* What is kept from one record to the next is not what can change. */
static void
test_again (void)
{
  g_auto (TinyGuest) guest = TINY_GUEST_NONE;
  g_autoptr (MachineRecorder) recorder = machine_recorder_new (NULL);
  g_autoptr (GError) error = NULL;
  const char *reason;

  if (skip_without_qemu())
    return;
  tiny_guest_init (&guest);
  g_strfreev (guest.spec->extra);
  guest.spec->extra = g_strsplit ("-m slots=4,maxmem=1G", " ", 0);
  tiny_guest_start (&guest, FALSE);
  g_autoptr (JsonObject) first =
      machine_recorder_record (recorder, guest.spec, guest.qemu.monitor, &error);
  g_assert_no_error (error);
  g_autoptr (JsonObject) second =
      machine_recorder_record (recorder, guest.spec, guest.qemu.monitor, &error);
  g_assert_no_error (error);
  g_autofree char *a = json_to_line (first);
  g_autofree char *b = json_to_line (second);
  g_assert_cmpstr (a, ==, b);
  g_assert_cmpint (machine_recorder_writers (recorder, &reason), ==, WRITERS_NONE);
  g_assert_null (reason);

  execute (&guest, "object-add",
           "{\"qom-type\":\"memory-backend-ram\",\"id\":\"mem1\",\"size\":134217728}");
  execute (&guest, "device_add", "{\"driver\":\"pc-dimm\",\"id\":\"dimm1\",\"memdev\":\"mem1\"}");
  g_autoptr (JsonObject) third =
      machine_recorder_record (recorder, guest.spec, guest.qemu.monitor, &error);
  g_assert_no_error (error);
  g_autofree char *c = json_to_line (third);
  g_assert_nonnull (strstr (c, "dimm1 pc-dimm"));
  g_assert_nonnull (strstr (c, "memory-backend-ram,id=mem1"));
  g_assert_null (strstr (b, "dimm1"));
}

/* What a program says of itself decides; one that is not there, or too old, lacks. */
static void
test_doctor_programs (void)
{
  g_autofree char *path = g_strdup (g_getenv ("PATH"));
  g_autofree char *directory = g_dir_make_tmp (NULL, NULL);
  g_autofree char *program = g_build_filename (directory, "nbdkit", NULL);

  g_assert_true (g_file_set_contents (program, "#!/bin/sh\necho nbdkit 1.31.9\n", -1, NULL));
  g_assert_cmpint (g_chmod (program, 0700), ==, 0);
  g_setenv ("PATH", directory, TRUE);
  g_autoptr (JsonArray) checks = qemu_doctor ("/no/such/qemu");
  g_setenv ("PATH", path, TRUE);
  guint lacking = 0;
  for (guint i = 0; i < json_array_get_length (checks); i++) {
    JsonObject *check = json_array_get_object_element (checks, i);
    const char *found = json_get_string_or (check, "found", "");
    if (g_str_equal (found, "nbdkit 1.31.9") || g_str_equal (found, "it is not in PATH")) {
      g_assert_false (json_get_bool_or (check, "ok", TRUE));
      lacking++;
    }
  }
  g_assert_cmpuint (lacking, ==, 3);
  g_unlink (program);
  g_rmdir (directory);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/qemu-record/record", test_record);
  g_test_add_func ("/qemu-record/preflight-same", test_preflight_same);
  g_test_add_func ("/qemu-record/preflight-differences", test_preflight_differences);
  g_test_add_func ("/qemu-record/disk", test_disk);
  g_test_add_func ("/qemu-record/rom-names", test_rom_names);
  g_test_add_func ("/qemu-record/doctor", test_doctor);
  g_test_add_func ("/qemu-record/doctor-programs", test_doctor_programs);
  g_test_add_func ("/qemu-record/memory", test_memory);
  g_test_add_func ("/qemu-record/again", test_again);
  return g_test_run();
}
