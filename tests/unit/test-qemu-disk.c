/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/drivers/qemu-disk.h>

#include <vmckpt/util/json.h>

#include <string.h>

/* A guest with disks as --disk says them. */
static GuestSpec *
spec_with (const char *const *texts)
{
  GuestSpec *spec = guest_spec_new ("g1");
  g_autoptr (GError) error = NULL;

  g_free (spec->machine);
  spec->machine = g_strdup ("pc-q35-7.2");
  for (; *texts != NULL; texts++) {
    g_ptr_array_add (spec->disks, guest_disk_parse (*texts, &error));
    g_assert_no_error (error);
  }
  g_assert_true (guest_disks_name (spec->disks, &error));
  g_assert_no_error (error);
  return spec;
}

#define SPEC_WITH(...) spec_with ((const char *const[]){ __VA_ARGS__, NULL })

/* All arguments, one on each line. */
static char *
arguments (const GuestSpec *spec)
{
  g_autoptr (GPtrArray) args = g_ptr_array_new_with_free_func (g_free);

  qemu_disk_arguments (spec, args);
  g_ptr_array_add (args, NULL);
  return g_strjoinv ("\n", (char **)args->pdata);
}

static void
assert_has (const char *text, const char *part)
{
  if (strstr (text, part) == NULL)
    g_error ("'%s' is not in:\n%s", part, text);
}

static void
test_buses (void)
{
  g_autoptr (GuestSpec) spec =
      SPEC_WITH ("/a", "/b,iothread", "/c,bus=scsi", "/d,bus=scsi,iothread", "/e,bus=scsi",
                 "/f,bus=ide", "/g,bus=nvme", "/h,cdrom", "/i,cdrom,bus=scsi");
  g_autofree char *text = arguments (spec);

  assert_has (text, "virtio-blk-pci,id=disk0,serial=disk0,drive=disk0\n");
  assert_has (text, "iothread,id=disk1-iothread\n");
  assert_has (text, "virtio-blk-pci,id=disk1,serial=disk1,iothread=disk1-iothread,drive=disk1\n");
  assert_has (text, "virtio-scsi-pci,id=scsi-bus\n");
  assert_has (text, "scsi-hd,id=disk2,bus=scsi-bus.0,scsi-id=0,serial=disk2,drive=disk2\n");
  assert_has (text, "virtio-scsi-pci,id=scsi-threaded,iothread=scsi-iothread\n");
  assert_has (text, "scsi-hd,id=disk3,bus=scsi-threaded.0,scsi-id=1,serial=disk3,drive=disk3\n");
  assert_has (text, "scsi-hd,id=disk4,bus=scsi-bus.0,scsi-id=2,serial=disk4,drive=disk4\n");
  assert_has (text, "ide-hd,id=disk5,bus=ide.0,serial=disk5,drive=disk5\n");
  assert_has (text, "nvme,id=disk6,serial=disk6,drive=disk6\n");
  assert_has (text, "ide-cd,id=cdrom0,bus=ide.1,serial=cdrom0,drive=cdrom0\n");
  assert_has (text, "scsi-cd,id=cdrom1,bus=scsi-bus.0,scsi-id=3,serial=cdrom1,drive=cdrom1");
  /* Each controller is there once. */
  g_assert_null (strstr (strstr (text, "id=scsi-bus\n") + 1, "id=scsi-bus\n"));
}

static void
test_i440fx (void)
{
  g_autoptr (GuestSpec) spec = SPEC_WITH ("/a,bus=ide", "/b,bus=ide", "/c,cdrom");

  g_free (spec->machine);
  spec->machine = g_strdup ("pc-i440fx-7.2");
  g_autofree char *text = arguments (spec);
  assert_has (text, "ide-hd,id=disk1,bus=ide.0,unit=1,");
  assert_has (text, "ide-cd,id=cdrom0,bus=ide.1,unit=0,");
}

/* Nothing is left for QEMU to look up in a header. */
static void
test_nodes (void)
{
  g_autoptr (GuestSpec) spec = SPEC_WITH ("/top,format=qcow2", "/dev/x,readonly");
  GuestDisk *disk = spec->disks->pdata[0];

  g_autofree char *alone = arguments (spec);
  assert_has (alone, "{\"driver\":\"qcow2\",\"node-name\":\"disk0\",\"read-only\":false,"
                     "\"discard\":\"unmap\",\"file\":\"disk0-file\",\"backing\":null}");
  g_ptr_array_add (disk->backing, disk_layer_new ("/mid", "qcow2", DISK_STORAGE_FILE));
  g_ptr_array_add (disk->backing, disk_layer_new ("/base", "raw", DISK_STORAGE_FILE));
  disk = spec->disks->pdata[1];
  disk->storage = DISK_STORAGE_BLOCK;
  g_autofree char *text = arguments (spec);
  g_assert_true (g_str_has_prefix (text, "-blockdev\n{\"driver\":\"file\",\"node-name\":"
                                         "\"disk0-backing2-file\",\"read-only\":true,"
                                         "\"filename\":\"/base\"}\n"));
  assert_has (text, "{\"driver\":\"qcow2\",\"node-name\":\"disk0-backing1\",\"read-only\":true,"
                    "\"file\":\"disk0-backing1-file\",\"backing\":\"disk0-backing2\"}");
  assert_has (text, "\"backing\":\"disk0-backing1\"}");
  assert_has (text, "{\"driver\":\"host_device\",\"node-name\":\"disk1-file\",\"read-only\":true,"
                    "\"filename\":\"/dev/x\"}");
}

static void
test_nbd (void)
{
  g_autoptr (GuestSpec) spec =
      SPEC_WITH ("nbd://[::1]:1234/a%20b", "nbd+unix:///?socket=/s%2520,1", "nbd://h/x");
  g_autofree char *text = arguments (spec);

  assert_has (text, "\"server\":{\"type\":\"inet\",\"host\":\"::1\",\"port\":\"1234\"},"
                    "\"export\":\"a b\",\"reconnect-delay\":5}");
  assert_has (text, "\"server\":{\"type\":\"unix\",\"path\":\"/s%20,1\"},\"export\":\"\"");
  assert_has (text, "\"host\":\"h\",\"port\":\"10809\"}");
}

/* A disk that is still being filled: its overlay is on the export itself, and errors stop the
 * guest. */
static void
test_overlay (void)
{
  g_autoptr (GuestSpec) spec = SPEC_WITH ("/o,format=qcow2");
  GuestDisk *disk = spec->disks->pdata[0];

  g_ptr_array_add (disk->backing,
                   disk_layer_new ("nbd+unix:///disk0?socket=disks.sock", "raw", DISK_STORAGE_NBD));
  disk->stop_on_error = TRUE;
  g_autofree char *text = arguments (spec);
  g_assert_true (g_str_has_prefix (text, "-blockdev\n{\"driver\":\"nbd\",\"node-name\":"
                                         "\"disk0-export\",\"read-only\":true,"));
  assert_has (text, "\"backing\":\"disk0-export\"}");
  assert_has (text, ",drive=disk0,rerror=stop,werror=stop");
}

static void
test_flash (void)
{
  g_autoptr (GuestSpec) spec = SPEC_WITH ("/a");
  GuestDisk *vars = guest_disk_new ("/vars");
  g_autoptr (GError) error = NULL;

  g_autofree char *none = qemu_disk_machine_options (spec);
  g_assert_cmpstr (none, ==, "");
  vars->name = g_strdup (DISK_NAME_NVRAM);
  vars->bus = DISK_BUS_PFLASH;
  g_ptr_array_add (spec->disks, vars);
  g_assert_false (qemu_disk_check (spec, &error));
  assert_has (error->message, "--firmware");
  GuestDisk *code = guest_disk_copy (vars);
  g_free (code->name);
  code->name = g_strdup (DISK_NAME_FIRMWARE);
  code->mode = DISK_READONLY;
  g_ptr_array_add (spec->disks, code);
  g_assert_true (qemu_disk_check (spec, NULL));
  g_autofree char *both = qemu_disk_machine_options (spec);
  g_assert_cmpstr (both, ==, ",pflash0=firmware,pflash1=nvram");
  g_autofree char *text = arguments (spec);
  g_assert_null (strstr (text, "drive=nvram"));
}

static void
test_refused (void)
{
  g_autoptr (GuestSpec) ports = SPEC_WITH ("/a,bus=ide", "/b,bus=ide", "/c,bus=ide", "/d,bus=ide",
                                           "/e,bus=ide", "/f,bus=ide", "/g,bus=ide");
  g_autoptr (GuestSpec) readonly = SPEC_WITH ("/a,bus=ide,readonly");
  g_autoptr (GError) error = NULL;

  g_assert_false (qemu_disk_check (ports, &error));
  g_assert_error (error, DRIVER_ERROR, DRIVER_ERROR_INVALID);
  assert_has (error->message, "disk6");
  g_clear_error (&error);
  g_assert_false (qemu_disk_check (readonly, &error));
  assert_has (error->message, "no readonly disks");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/qemu-disk/buses", test_buses);
  g_test_add_func ("/qemu-disk/i440fx", test_i440fx);
  g_test_add_func ("/qemu-disk/nodes", test_nodes);
  g_test_add_func ("/qemu-disk/nbd", test_nbd);
  g_test_add_func ("/qemu-disk/overlay", test_overlay);
  g_test_add_func ("/qemu-disk/flash", test_flash);
  g_test_add_func ("/qemu-disk/refused", test_refused);
  return g_test_run();
}
