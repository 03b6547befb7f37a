/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Disks held at an instant in real QEMUs, the installed and a newer one. */
#include <vmckpt/disk/disk-point.h>

#include "nbd-link.h"
#include "qemu-disks.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>
#include <vmckpt/qmp/commands.h>

#define KIB (1 << 10)
#define MIB (1 << 20)
#define PATIENCE_MS 30000

static const char *const one_raw[] = { "disk0 raw virtio-blk-pci,id=vd0", NULL };

/* Every test is for both; the program is NULL, and the test skipped, where there is none. */
typedef char *(*FindProgram) (void);

/* ---- a point of all disks ---- */

static DiskPoint *
new_point (const QemuDisks *guest, gboolean incremental, const char *const *nodes)
{
  DiskPointDisk disks[8];
  GuestDrive drives[8] = { 0 };
  guint n = 0;

  for (; nodes[n] != NULL; n++) {
    drives[n].node = (char *)nodes[n];
    disks[n] = (DiskPointDisk){ nodes[n], &drives[n], incremental };
  }
  return disk_point_new (guest->monitor, guest->dir, guest->socket, disks, n);
}

static const char *const disk0_only[] = { "disk0", NULL };

static DiskPoint *
prepare_point (const QemuDisks *guest, gboolean incremental)
{
  g_autoptr (GError) error = NULL;
  DiskPoint *point = new_point (guest, incremental, disk0_only);

  disk_point_prepare (point, NULL, &error);
  g_assert_no_error (error);
  return point;
}

static void
hold (DiskPoint *point)
{
  g_autoptr (GError) error = NULL;

  disk_point_instant (point, &error);
  g_assert_no_error (error);
}

static void export(DiskPoint *point)
{
  g_autoptr (GError) error = NULL;

  disk_point_export (point, &error);
  g_assert_no_error (error);
}

static void
end_point (DiskPoint *point, gboolean committed)
{
  g_autoptr (GError) error = NULL;

  disk_point_undo (point, &error);
  g_assert_no_error (error);
  if (committed)
    disk_point_commit (point, &error);
  else
    disk_point_rollback (point, &error);
  g_assert_no_error (error);
}

static NbdLink *
connect_to (DiskPoint *point, guint index, const char *context)
{
  g_autoptr (GError) error = NULL;
  NbdLink *link =
      nbd_link_connect (disk_point_socket (point), disk_point_source (point, index)->export_name,
                        context, PATIENCE_MS, NULL, &error);

  g_assert_no_error (error);
  return link;
}

/* FALSE with @error if the point cannot be read there. */
static gboolean
read_block (NbdLink *link, guint64 offset, guint8 *pattern, GError **error)
{
  guint8 bytes[4096];
  gboolean done = FALSE;

  if (!nbd_link_read (link, offset, sizeof bytes, bytes, &done, error))
    return FALSE;
  while (!done)
    if (!nbd_link_wait (link, NULL, error))
      return FALSE;
  *pattern = bytes[0];
  for (guint i = 0; i < sizeof bytes; i++)
    g_assert_cmpuint (bytes[i], ==, *pattern);
  return TRUE;
}

static void
check_block (NbdLink *link, guint64 offset, guint8 expected)
{
  g_autoptr (GError) error = NULL;
  guint8 pattern;

  read_block (link, offset, &pattern, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (pattern, ==, expected);
}

/* Bytes that the bitmap marks in the whole disk. */
static guint64
count_dirty (DiskPoint *point)
{
  g_autoptr (NbdLink) link = connect_to (point, 0, disk_point_source (point, 0)->bitmap);
  g_autoptr (GArray) extents = g_array_new (FALSE, FALSE, sizeof (NbdExtent));
  g_autoptr (GError) error = NULL;
  guint64 dirty = 0;

  for (guint64 at = 0; at < QEMU_DISKS_BYTES;) {
    nbd_link_extents (link, at, QEMU_DISKS_BYTES - at, extents, NULL, &error);
    g_assert_no_error (error);
    for (guint i = 0; i < extents->len; i++) {
      NbdExtent extent = g_array_index (extents, NbdExtent, i);
      at = extent.offset + extent.length;
      dirty += extent.flags & NBD_EXTENT_DIRTY ? extent.length : 0;
    }
  }
  return dirty;
}

/* ---- tests ---- */

typedef struct {
  const char *format, *device, *more;
  gboolean migrated; /* the point comes after a migration that has taken the images */
} Kind;

static const Kind kinds[] = {
  { "raw", "virtio-blk-pci,id=vd0", "", FALSE },
  { "raw", "virtio-blk-pci,id=vd0", "", TRUE },
  { "qcow2", "virtio-blk-pci,id=vd0", "", TRUE },
  { "raw", "virtio-blk-pci,iothread=io0", "-object iothread,id=io0", TRUE },
  { "qcow2", "scsi-hd,id=sd0", "-device virtio-scsi-pci,id=scsi0", TRUE },
  { "raw", "scsi-hd", "-device virtio-scsi-pci", FALSE },
  { "raw", "ide-hd,bus=ide.0", "", TRUE },
};

/* QEMU before 9.0 does not hold disks of a guest with iothreads. */
static gboolean
check_iothread (const QemuDisks *guest, const Kind *kind)
{
  static const char *const nodes[] = { "disk0", NULL };
  g_autoptr (GError) error = NULL;

  if (strstr (kind->device, "iothread=") == NULL ||
      qmp_client_greeting (guest->monitor)->major >= 9)
    return TRUE;
  g_autoptr (DiskPoint) point = new_point (guest, FALSE, nodes);
  g_assert_false (disk_point_prepare (point, NULL, &error));
  g_assert_error (error, DISK_ERROR, DISK_ERROR_IMPOSSIBLE);
  g_assert_nonnull (strstr (error->message, "iothread"));
  return FALSE;
}

static void
check_kind (const char *program, const Kind *kind)
{
  g_autofree char *line = g_strdup_printf ("disk0 %s %s", kind->format, kind->device);
  const char *disks[] = { line, NULL };
  g_auto (QemuDisks) guest = qemu_disks_start (program, disks, kind->more);
  g_autoptr (GError) error = NULL;

  g_test_message ("%s on %s%s", kind->format, kind->device, kind->migrated ? ", migrated" : "");
  if (!check_iothread (&guest, kind))
    return;
  qemu_disks_write (&guest, "disk0", 17, 0, MIB);
  g_autoptr (DiskPoint) point = prepare_point (&guest, FALSE);
  if (kind->migrated)
    qemu_disks_migrate (&guest);
  hold (point);
  qmp_cont (guest.monitor, &error);
  g_assert_no_error (error);
  qemu_disks_write (&guest, "disk0", 34, 0, 4 * KIB); /* before anybody can read */
  export(point);
  qemu_disks_write (&guest, "disk0", 34, 64 * KIB, 4 * KIB);
  {
    g_autoptr (NbdLink) link = connect_to (point, 0, "base:allocation");
    g_assert_cmpuint (nbd_link_size (link), ==, QEMU_DISKS_BYTES);
    check_block (link, 0, 17);
    check_block (link, 64 * KIB, 17);
    check_block (link, MIB, 0);
    qemu_disks_write (&guest, "disk0", 34, MIB, 4 * KIB);
    check_block (link, MIB, 0);
    end_point (point, FALSE);
  }
  qemu_disks_check_clean (&guest);
  qemu_disks_write (&guest, "disk0", 51, 128 * KIB, 4 * KIB);
  if (g_str_equal (kind->format, "raw"))
    g_assert_true (qemu_disks_holds (&guest, "disk0", 34, 64 * KIB, 4 * KIB) &&
                   qemu_disks_holds (&guest, "disk0", 51, 128 * KIB, 4 * KIB));
}

static void
test_kinds (gconstpointer data)
{
  g_autofree char *program = ((FindProgram)data)();

  for (guint i = 0; program != NULL && i < G_N_ELEMENTS (kinds); i++)
    check_kind (program, &kinds[i]);
}

/* From checkpoint to checkpoint only what was written, and what failed counts again. */
static void
test_bitmaps (gconstpointer data)
{
  g_autofree char *program = ((FindProgram)data)();

  if (program == NULL)
    return;
  g_auto (QemuDisks) guest = qemu_disks_start (program, one_raw, "");
  g_autoptr (GError) error = NULL;
  {
    g_autoptr (DiskPoint) point = prepare_point (&guest, TRUE);
    hold (point);
    g_assert_null (disk_point_source (point, 0)->bitmap); /* nothing is known yet */
    qemu_disks_write (&guest, "disk0", 17, 0, 4 * KIB);
    end_point (point, TRUE);
  }
  g_autoptr (GuestDrive) drive = qemu_disks_drive (&guest, "disk0");
  g_assert_true (drive->collect.recording);
  g_assert_cmpuint (drive->collect.granularity, ==, 4 * KIB);
  g_assert_cmpuint (drive->collect.count, ==, 4 * KIB);
  qemu_disks_write (&guest, "disk0", 34, MIB, 8 * KIB);
  for (guint attempt = 0; attempt < 2; attempt++) { /* the first of which fails */
    g_autoptr (DiskPoint) point = prepare_point (&guest, TRUE);
    hold (point);
    qemu_disks_write (&guest, "disk0", 51, (2 + attempt) * MIB, 4 * KIB);
    export(point);
    g_assert_true (disk_point_source (point, 0)->partial);
    g_assert_cmpuint (count_dirty (point), ==, (12 + 4 * attempt) * KIB);
    g_autoptr (NbdLink) link = connect_to (point, 0, "base:allocation");
    check_block (link, 0, 17);
    check_block (link, MIB + 4 * KIB, 34);
    end_point (point, attempt == 1);
    qemu_disks_check_clean (&guest);
  }
  g_autoptr (GuestDrive) after = qemu_disks_drive (&guest, "disk0");
  g_assert_cmpuint (after->collect.count, ==, 4 * KIB);
}

/* A bitmap that began at an instant which nobody knows must not be left. */
static void
test_fresh_bitmap_is_not_left (gconstpointer data)
{
  g_autofree char *program = ((FindProgram)data)();

  if (program == NULL)
    return;
  g_auto (QemuDisks) guest = qemu_disks_start (program, one_raw, "");
  g_autoptr (GError) error = NULL;
  g_autoptr (DiskPoint) point = prepare_point (&guest, TRUE);
  hold (point);
  disk_point_recover (guest.monitor, guest.dir, guest.socket, &error);
  g_assert_no_error (error);
  g_autoptr (GuestDrive) drive = qemu_disks_drive (&guest, "disk0");
  g_assert_false (drive->collect.there);
  /* Nor one that was put out of use, but for what the commit makes of it. */
  disk_point_track (guest.monitor, drive, &error);
  g_assert_no_error (error);
  g_autoptr (JsonNode) disabled =
      qemu_disks_do (&guest, "block-dirty-bitmap-disable",
                     g_strdup ("{\"node\": \"disk0\", \"name\": \"" DISK_BITMAP_COLLECT "\"}"));
  g_autoptr (DiskPoint) second = prepare_point (&guest, TRUE);
  hold (second);
  g_assert_false (disk_point_source (second, 0)->partial);
  qemu_disks_write (&guest, "disk0", 17, 0, 4 * KIB);
  end_point (second, TRUE);
  g_autoptr (GuestDrive) after = qemu_disks_drive (&guest, "disk0");
  g_assert_true (after->collect.recording);
  g_assert_cmpuint (after->collect.count, ==, 4 * KIB);
}

/* Whoever comes after a death at any step finds all that was written, and nothing in the way. */
static void
test_recovery (gconstpointer data)
{
  g_autofree char *program = ((FindProgram)data)();

  if (program == NULL)
    return;
  g_auto (QemuDisks) guest = qemu_disks_start (program, one_raw, "");
  g_autoptr (GError) error = NULL;
  g_autoptr (GuestDrive) drive = qemu_disks_drive (&guest, "disk0");
  disk_point_track (guest.monitor, drive, &error);
  g_assert_no_error (error);
  for (guint step = 0; step < 4; step++) {
    g_autoptr (DiskPoint) point = prepare_point (&guest, TRUE);
    qemu_disks_write (&guest, "disk0", 17, step * 2 * MIB, 4 * KIB);
    if (step >= 1)
      hold (point);
    qemu_disks_write (&guest, "disk0", 17, step * 2 * MIB + MIB, 4 * KIB);
    if (step >= 2)
      export(point);
    g_autoptr (NbdLink) link = step >= 3 ? connect_to (point, 0, "base:allocation") : NULL;
    for (guint again = 0; again < 2; again++) {
      disk_point_recover (guest.monitor, guest.dir, guest.socket, &error);
      g_assert_no_error (error);
      qemu_disks_check_clean (&guest);
    }
    g_autoptr (GuestDrive) now = qemu_disks_drive (&guest, "disk0");
    g_assert_cmpuint (now->collect.count, ==, (step + 1) * 8 * KIB);
  }
}

/* Several disks are one transaction. */
static void
test_several (gconstpointer data)
{
  static const char *const disks[] = { "disk0 raw virtio-blk-pci,id=vd0",
                                       "disk1 qcow2 virtio-blk-pci,id=vd1", NULL };
  static const char *const nodes[] = { "disk0", "disk1", NULL };
  g_autofree char *program = ((FindProgram)data)();

  if (program == NULL)
    return;
  g_auto (QemuDisks) guest = qemu_disks_start (program, disks, "");
  g_autoptr (GError) error = NULL;
  g_autoptr (DiskPoint) point = new_point (&guest, FALSE, nodes);
  qemu_disks_write (&guest, "disk1", 17, 0, 4 * KIB);
  disk_point_prepare (point, NULL, &error);
  g_assert_no_error (error);
  qemu_disks_migrate (&guest);
  hold (point);
  export(point);
  qemu_disks_write (&guest, "disk0", 34, 0, 4 * KIB);
  qemu_disks_write (&guest, "disk1", 34, 0, 4 * KIB);
  for (guint i = 0; i < disk_point_count (point); i++) {
    g_autoptr (NbdLink) link = connect_to (point, i, "base:allocation");
    check_block (link, 0, i == 0 ? 0 : 17);
  }
  end_point (point, TRUE);
  qemu_disks_check_clean (&guest);
}

/* A QEMU that may not write more than 4 MiB to any file. */
static char *
limited_program (const char *dir, const char *program)
{
  char *path = g_build_filename (dir, "limited", NULL);
  g_autofree char *script =
      g_strdup_printf ("#!/bin/sh\ntrap '' XFSZ\nulimit -f 8192\nexec %s \"$@\"\n", program);
  g_autoptr (GError) error = NULL;

  g_file_set_contents_full (path, script, -1, G_FILE_SET_CONTENTS_NONE, 0700, &error);
  g_assert_no_error (error);
  return path;
}

/* A temporary that is full ends the point, and not the guest's writes. */
static void
test_full_temporary (gconstpointer data)
{
  g_autofree char *program = ((FindProgram)data)();

  if (program == NULL)
    return;
  g_autofree char *dir = g_dir_make_tmp ("vmckpt-test-XXXXXX", NULL);
  g_autofree char *limited = limited_program (dir, program);
  g_auto (QemuDisks) guest = qemu_disks_start (limited, one_raw, "");
  g_autoptr (GError) error = NULL;
  qemu_disks_write (&guest, "disk0", 51, 0, 4 * MIB); /* zeros would take no room */
  g_autoptr (DiskPoint) point = prepare_point (&guest, FALSE);
  guint8 pattern;

  hold (point);
  export(point);
  qemu_disks_write (&guest, "disk0", 17, 0, 4 * MIB);
  g_assert_true (qemu_disks_holds (&guest, "disk0", 17, 0, 4 * MIB));
  {
    g_autoptr (NbdLink) link = connect_to (point, 0, "base:allocation");
    g_assert_false (read_block (link, 0, &pattern, &error));
    g_assert_nonnull (error);
    end_point (point, FALSE);
  }
  qemu_disks_check_clean (&guest);
  g_unlink (limited);
  g_rmdir (dir);
}

static void
check_refused (const QemuDisks *guest, const char *node, DiskError code, const char *words)
{
  const char *nodes[] = { node, NULL };
  g_autoptr (DiskPoint) point = new_point (guest, FALSE, nodes);
  g_autoptr (GError) error = NULL;

  g_assert_false (disk_point_prepare (point, NULL, &error));
  g_assert_error (error, DISK_ERROR, (gint)code);
  g_assert_nonnull (strstr (error->message, words));
}

/* Others' work is not disturbed. */
static void
test_refused (gconstpointer data)
{
  static const char *const disks[] = { "disk0 raw virtio-blk-pci,id=vd0",
                                       "disk1 raw virtio-blk-pci,id=vd1", NULL };
  g_autofree char *program = ((FindProgram)data)();

  if (program == NULL)
    return;
  g_auto (QemuDisks) guest = qemu_disks_start (program, disks, "");
  g_autofree char *other = qemu_disks_file (&guest, "other.sock");
  g_autoptr (JsonNode) server = qemu_disks_do (
      &guest, "nbd-server-start",
      g_strdup_printf ("{\"addr\": {\"type\": \"unix\", \"data\": {\"path\": \"%s\"}}}", other));
  check_refused (&guest, "disk0", DISK_ERROR_BUSY, "NBD server");
  g_autoptr (JsonNode) stopped = qemu_disks_do (&guest, "nbd-server-stop", NULL);
  g_autoptr (JsonNode) node = qemu_disks_do (
      &guest, "blockdev-add",
      g_strdup_printf ("{\"driver\": \"null-co\", \"node-name\": \"null\", \"size\": %d, "
                       "\"latency-ns\": 1000000000}",
                       QEMU_DISKS_BYTES));
  g_autoptr (JsonNode) job = qemu_disks_do (
      &guest, "blockdev-backup",
      g_strdup ("{\"job-id\": \"theirs\", \"device\": \"disk0\", \"target\": \"null\", "
                "\"sync\": \"full\", \"speed\": 1}"));
  check_refused (&guest, "disk0", DISK_ERROR_BUSY, "'theirs' (backup)");
  check_refused (&guest, "nonsense", DISK_ERROR_IMPOSSIBLE, "no such drive");
  g_autoptr (GuestDrive) drive = qemu_disks_drive (&guest, "disk1");
  g_assert_null (drive->busy);
}

int
main (int argc, char **argv)
{
  static const struct {
    const char *name;
    GTestDataFunc test;
  } tests[] = {
    { "kinds", test_kinds },
    { "bitmaps", test_bitmaps },
    { "fresh-bitmap-is-not-left", test_fresh_bitmap_is_not_left },
    { "recovery", test_recovery },
    { "several", test_several },
    { "full-temporary", test_full_temporary },
    { "refused", test_refused },
  };

  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++) {
    g_autofree char *path = g_strdup_printf ("/disk-point/%s", tests[i].name);
    g_autofree char *newer = g_strdup_printf ("/disk-point/newer/%s", tests[i].name);
    g_test_add_data_func (path, (gpointer)qemu_program, tests[i].test);
    g_test_add_data_func (newer, (gpointer)qemu_program_newer, tests[i].test);
  }
  return g_test_run();
}
