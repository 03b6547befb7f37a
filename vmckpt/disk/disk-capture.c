/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/disk/disk-capture.h>

#include "disk-copy.h"

#include <vmckpt/disk/disk-point.h>
#include <vmckpt/store/store.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>

#define SHOWN_DIGITS 12
/* How long a disk may be somebody else's. */
#define WAIT_IDLE_MS 60000

typedef struct {
  char *node;
  DiskReport *report; /* has the disk's name */
  guint64 expected;   /* bytes to be read, as far as is known before */
  gboolean has_base;
  PageMap base;       /* what it is compared with */
  PageMapWriter *map; /* (nullable): based on that */
  DiskCopy *copy;     /* (nullable) */
} CapturedDisk;

struct _DiskCapture {
  DiskCaptureContext context;
  char *socket;
  GPtrArray *disks;   /* of CapturedDisk */
  GPtrArray *reports; /* of DiskReport */
  DiskPoint *point;   /* (nullable): its disks are those, in their order */
  gboolean turned;    /* the instant was, or was tried, and is not settled */
  gboolean undone;    /* nothing of it is in QEMU but bitmaps */
  /* Bytes: of the disks before the one at work, and of all. */
  guint64 done, total;
};

/* ---- Objects ---- */

static void
disk_report_free (DiskReport *report)
{
  g_free (report->name);
  g_free (report->whole);
  g_free (report);
}

static void
captured_disk_free (CapturedDisk *disk)
{
  disk_copy_free (disk->copy);
  page_map_writer_free (disk->map);
  g_free (disk->node);
  g_free (disk);
}

DiskCapture *
disk_capture_new (const DiskCaptureContext *context, const DiskWanted *wanted, guint count)
{
  DiskCapture *capture = g_new0 (DiskCapture, 1);

  capture->context = *context;
  capture->socket = g_strdup (context->socket);
  capture->disks = g_ptr_array_new_with_free_func ((GDestroyNotify)captured_disk_free);
  capture->reports = g_ptr_array_new_with_free_func ((GDestroyNotify)disk_report_free);
  for (guint i = 0; i < count; i++) {
    CapturedDisk *disk = g_new0 (CapturedDisk, 1);
    disk->node = g_strdup (wanted[i].node);
    disk->report = g_new0 (DiskReport, 1);
    disk->report->name = g_strdup (wanted[i].name);
    g_ptr_array_add (capture->disks, disk);
    g_ptr_array_add (capture->reports, disk->report);
  }
  return capture;
}

void
disk_capture_free (DiskCapture *capture)
{
  if (capture == NULL)
    return;
  g_ptr_array_unref (capture->disks);
  g_ptr_array_unref (capture->reports);
  g_clear_pointer (&capture->point, disk_point_free);
  g_free (capture->socket);
  g_free (capture);
}

const GPtrArray *
disk_capture_reports (const DiskCapture *capture)
{
  return capture->reports;
}

static void tell (const DiskCapture *capture, const char *format, ...) G_GNUC_PRINTF (2, 3);

static void
tell (const DiskCapture *capture, const char *format, ...)
{
  va_list args;

  va_start (args, format);
  g_autofree char *text = g_strdup_vprintf (format, args);
  va_end (args);
  if (capture->context.message != NULL)
    capture->context.message (text, capture->context.message_data);
}

/* ---- prepare: what each disk is relative to ---- */

/* The checkpoint that bitmaps are relative to; NULL with the reason why it is of no use. */
static Manifest *
load_base (const DiskCapture *capture, char **reason)
{
  const DiskBase *base = capture->context.base;

  if (base == NULL) {
    *reason = g_strdup ("since which checkpoint its bitmap counts is not known");
    return NULL;
  }
  if (!g_str_equal (base->store, store_id (capture->context.store))) {
    *reason = g_strdup ("its last checkpoint is in another store");
    return NULL;
  }
  Manifest *manifest = store_manifest_load (capture->context.store, base->checkpoint, NULL);
  if (manifest == NULL)
    *reason = g_strdup_printf ("checkpoint %.*s, since which its bitmap counts, is not there",
                               SHOWN_DIGITS, base->checkpoint);
  return manifest;
}

/* Why @bitmap does not name all that was written; NULL: it does. */
static const char *
bitmap_fault (const DriveBitmap *bitmap)
{
  if (!bitmap->there)
    return "its bitmap is not there";
  if (bitmap->inconsistent)
    return "its bitmap is not consistent";
  if (!bitmap->recording)
    return "its bitmap does not record";
  return bitmap->busy ? "its bitmap is in use by somebody else" : NULL;
}

/* Why a disk cannot be known by its bitmap, newly allocated; NULL: it can. @part: (nullable): it,
 * in the checkpoint @base (nullable) */
static char *
why_whole (const GuestDrive *drive, const Manifest *base, const ManifestPart *part,
           const char *no_base)
{
  const char *fault = bitmap_fault (&drive->collect);

  if (fault != NULL || base == NULL)
    return g_strdup (fault != NULL ? fault : no_base);
  if (part == NULL)
    return g_strdup_printf ("checkpoint %.*s does not have it", SHOWN_DIGITS, base->id);
  if (part->map.length != drive->size)
    return g_strdup_printf ("it had %" G_GUINT64_FORMAT " bytes then, and has %" G_GUINT64_FORMAT,
                            part->map.length, drive->size);
  return NULL;
}

/* A base that is gone is done without. */
static gboolean
open_map (const DiskCapture *capture, CapturedDisk *disk, GError **error)
{
  g_autoptr (GError) reason = NULL;
  StoreWriter *writer = capture->context.writer;
  guint64 length = disk->report->bytes;

  g_clear_pointer (&disk->map, page_map_writer_free);
  if (disk->has_base) {
    disk->map = page_map_writer_new (writer, length, &disk->base, &reason);
    if (disk->map != NULL)
      return TRUE;
    if (!g_error_matches (reason, STORE_ERROR, STORE_ERROR_NOT_FOUND)) {
      g_propagate_error (error, g_steal_pointer (&reason));
      return FALSE;
    }
    disk->has_base = FALSE;
    g_free (disk->report->whole);
    disk->report->whole = g_strdup ("what it is to be compared with is not in the store");
  }
  disk->map = page_map_writer_new (writer, length, NULL, error);
  return disk->map != NULL;
}

static gboolean
check_drive (const CapturedDisk *disk, const GuestDrive *drive, GError **error)
{
  const char *why = drive == NULL         ? "QEMU has no such drive"
                    : !drive->inserted    ? "there is nothing in the drive"
                    : drive->read_only    ? "QEMU has it read-only"
                    : drive->node == NULL ? "it has no node"
                                          : NULL;

  if (why == NULL)
    return TRUE;
  g_set_error (error, DISK_ERROR, DISK_ERROR_IMPOSSIBLE, "%s cannot be captured: %s",
               disk->report->name, why);
  return FALSE;
}

/* Decides how one disk is read. @base: (nullable), with @no_base the reason */
static gboolean
plan_disk (DiskCapture *capture, CapturedDisk *disk, const GuestDrive *drive, const Manifest *base,
           const char *no_base, GError **error)
{
  const Manifest *parent = capture->context.parent;
  DiskReport *report = disk->report;
  const char *name = report->name;
  const ManifestPart *known = base != NULL ? manifest_find_part (base, "disk", name) : NULL;
  const ManifestPart *former = parent != NULL ? manifest_find_part (parent, "disk", name) : NULL;

  g_free (report->whole);
  report->bytes = drive->size;
  report->whole = why_whole (drive, base, known, no_base);
  former = report->whole == NULL || former == NULL ? known : former;
  disk->has_base = former != NULL;
  if (former != NULL)
    disk->base = former->map;
  if (!open_map (capture, disk, error))
    return FALSE;
  if (report->whole != NULL && former == NULL) {
    /* No reason to be told: there is nothing that it could be compared with. */
    g_free (report->whole);
    report->whole = g_strdup ("it is the first checkpoint of it");
  } else if (report->whole != NULL)
    tell (capture, "%s is read whole and compared: %s", name, report->whole);
  disk->expected = report->whole == NULL ? drive->collect.count : drive->size;
  capture->total += disk->expected;
  return TRUE;
}

/* As they are once nobody else is at work on them. */
static GPtrArray *
find_idle (const DiskCapture *capture, GError **error)
{
  const DiskCaptureContext *context = &capture->context;
  g_autoptr (GPtrArray) drives = disk_find (context->monitor, error);
  gboolean waited = FALSE;

  for (guint i = 0; drives != NULL && i < capture->disks->len; i++) {
    const CapturedDisk *disk = g_ptr_array_index (capture->disks, i);
    const GuestDrive *drive = disk_find_drive (drives, disk->node);
    if (!check_drive (disk, drive, error))
      return NULL;
    if (drive->busy == NULL)
      continue;
    tell (capture, "waits for %s: %s", disk->report->name, drive->busy);
    if (!disk_wait_idle (context->monitor, disk->node, WAIT_IDLE_MS, context->cancellable, error))
      return NULL;
    waited = TRUE;
  }
  return waited ? disk_find (context->monitor, error) : g_steal_pointer (&drives);
}

/* Those of @drives in the order of the disks; borrowed. */
static gboolean
plan_disks (DiskCapture *capture, GPtrArray *drives, GPtrArray *planned, GError **error)
{
  g_autofree char *no_base = NULL;
  g_autoptr (Manifest) base = load_base (capture, &no_base);

  capture->total = 0;
  for (guint i = 0; i < capture->disks->len; i++) {
    CapturedDisk *disk = g_ptr_array_index (capture->disks, i);
    GuestDrive *drive = disk_find_drive (drives, disk->node);
    if (!check_drive (disk, drive, error) ||
        !plan_disk (capture, disk, drive, base, no_base, error))
      return FALSE;
    g_ptr_array_add (planned, drive);
  }
  return TRUE;
}

gboolean
disk_capture_prepare (DiskCapture *capture, GError **error)
{
  ERROR_PREFIX (error, "preparing the disks");
  const DiskCaptureContext *context = &capture->context;
  g_autoptr (GPtrArray) planned = g_ptr_array_new();

  disk_capture_finish (capture, FALSE); /* an attempt before this one */
  g_autoptr (GPtrArray) drives = find_idle (capture, error);
  if (drives == NULL || !plan_disks (capture, drives, planned, error))
    return FALSE;
  g_autofree DiskPointDisk *disks = g_new0 (DiskPointDisk, planned->len);
  for (guint i = 0; i < planned->len; i++) {
    const DiskReport *report = g_ptr_array_index (capture->reports, i);
    disks[i] =
        (DiskPointDisk){ report->name, g_ptr_array_index (planned, i), report->whole == NULL };
  }
  capture->point =
      disk_point_new (context->monitor, context->temporary, capture->socket, disks, planned->len);
  capture->undone = FALSE;
  return disk_point_prepare (capture->point, context->cancellable, error);
}

gboolean
disk_capture_instant (DiskCapture *capture, GError **error)
{
  ERROR_PREFIX (error, "holding the disks");

  capture->turned = TRUE;
  return disk_point_instant (capture->point, error);
}

/* ---- copy ---- */

/* A ProgressFunc: of one disk, as a part of all. */
static void
forward_progress (Phase phase, guint64 done, guint64 total, gpointer user_data)
{
  const DiskCapture *capture = user_data;
  guint64 all = capture->done + done;

  progress_report (capture->context.progress, phase, all, MAX (all, capture->total));
}

/* What came with the instant has to be what was prepared for. */
static gboolean
check_source (CapturedDisk *disk, const DiskPointSource *source, GError **error)
{
  DiskReport *report = disk->report;

  if (source->size != report->bytes) {
    g_set_error_literal (error, DISK_ERROR, DISK_ERROR_FAILED, "its size was changed meanwhile");
    return FALSE;
  }
  if (report->whole == NULL && source->bitmap == NULL)
    report->whole = g_strdup ("its bitmap was lost meanwhile");
  return TRUE;
}

static gboolean
connect_disk (DiskCapture *capture, CapturedDisk *disk, const DiskPointSource *from, GError **error)
{
  const DiskSource source = { .socket = disk_point_socket (capture->point),
                              .export_name = from->export_name,
                              .length = from->size,
                              .bitmap = disk->report->whole == NULL ? from->bitmap : NULL };

  disk->copy = disk_copy_connect (&source, capture->context.cancellable, error);
  return disk->copy != NULL;
}

static gboolean
copy_disk (DiskCapture *capture, guint index, PageMap *map, GError **error)
{
  CapturedDisk *disk = g_ptr_array_index (capture->disks, index);
  DiskReport *report = disk->report;
  ERROR_PREFIX (error, "%s", report->name);
  const DiskPointSource *source = disk_point_source (capture->point, index);
  const Progress progress = { forward_progress, capture };
  DiskCopyStats stats = { 0 };

  if (!check_source (disk, source, error) || !connect_disk (capture, disk, source, error))
    return FALSE;
  gboolean ok =
      disk_copy_run (disk->copy, disk->map, &progress, &stats, capture->context.cancellable, error);
  report->dirty_bytes = stats.dirty_bytes;
  report->read_bytes = stats.read_bytes;
  capture->done += disk->expected;
  return ok && page_map_writer_finish (disk->map, map, &report->pages, error);
}

/* Exports go before whoever reads them does (disk-point.h). */
static gboolean
undo (DiskCapture *capture, GError **error)
{
  if (capture->undone)
    return TRUE;
  capture->undone = disk_point_undo (capture->point, error);
  for (guint i = 0; capture->undone && i < capture->disks->len; i++) {
    CapturedDisk *disk = g_ptr_array_index (capture->disks, i);
    g_clear_pointer (&disk->copy, disk_copy_free);
  }
  return capture->undone;
}

gboolean
disk_capture_copy (DiskCapture *capture, Manifest *manifest, GError **error)
{
  ERROR_PREFIX (error, "reading the disks");

  progress_report (capture->context.progress, PHASE_STORE, 0, capture->total);
  capture->done = 0;
  if (!capture->turned) {
    g_set_error_literal (error, DISK_ERROR, DISK_ERROR_FAILED, "they were not held at the instant");
    return FALSE;
  }
  if (!disk_point_export (capture->point, error))
    return FALSE;
  for (guint i = 0; i < capture->disks->len; i++) {
    const DiskReport *report = g_ptr_array_index (capture->reports, i);
    PageMap map;
    if (!copy_disk (capture, i, &map, error))
      return FALSE;
    manifest_add_part (manifest, "disk", report->name, &map);
  }
  return fault_visit (FAULT_DISK_READ, error) && undo (capture, error);
}

/* ---- finish ---- */

void
disk_capture_finish (DiskCapture *capture, gboolean committed)
{
  g_autoptr (GError) error = NULL;

  if (capture->point == NULL)
    return;
  if (!undo (capture, &error) ||
      (capture->turned && !(committed ? disk_point_commit (capture->point, &error)
                                      : disk_point_rollback (capture->point, &error))))
    tell (capture,
          "what the checkpoint has put into QEMU for the disks stays there until the next one: %s",
          error->message);
  capture->turned = FALSE;
  g_clear_pointer (&capture->point, disk_point_free);
}
