/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "report.h"

#include <vmckpt/util/json.h>

#include <math.h>

/* Milliseconds with as many digits as mean something. */
static double
rounded (double ms)
{
  return round (ms * 1000) / 1000;
}

static JsonObject *
phases_to_json (const CaptureReport *capture, gint64 commit_began_us)
{
  JsonObject *phases = json_object_new();

  for (Phase phase = PHASE_PREPARE; phase < PHASE_COMMIT; phase++)
    json_object_set_double_member (phases, phase_name (phase), rounded (capture->phase_ms[phase]));
  json_object_set_double_member (phases, phase_name (PHASE_COMMIT),
                                 rounded ((g_get_monotonic_time() - commit_began_us) / 1000.0));
  return phases;
}

/* What the tracked engine found out; NULL members where it measured nothing. */
static JsonObject *
tracking_to_json (const CaptureTracking *tracking)
{
  JsonObject *object = json_object_new();

  json_object_set_string_member (object, "mode", tracking->mode);
  json_object_set_int_member (object, "rounds", tracking->rounds);
  json_set_string_or_null (object, "stop_reason", tracking->stop_reason);
  json_object_set_int_member (object, "live_bytes", tracking->live_bytes);
  json_object_set_int_member (object, "paused_bytes", tracking->paused_bytes);
  json_object_set_int_member (object, "behind_bytes", tracking->behind_bytes);
  json_object_set_int_member (object, "waits", tracking->waits);
  json_object_set_int_member (object, "write_rate", (gint64)tracking->write_rate);
  json_object_set_int_member (object, "copy_rate", (gint64)tracking->copy_rate);
  return object;
}

static JsonObject *
disk_to_json (const DiskReport *disk)
{
  JsonObject *object = json_object_new();

  json_object_set_string_member (object, "name", disk->name);
  json_object_set_int_member (object, "bytes", disk->bytes);
  json_object_set_int_member (object, "dirty_bytes", disk->dirty_bytes);
  json_object_set_int_member (object, "read_bytes", disk->read_bytes);
  json_object_set_int_member (object, "new_bytes", disk->pages.fresh * PAGE_SIZE_BYTES);
  json_set_string_or_null (object, "whole", disk->whole);
  return object;
}

static JsonArray *
disks_to_json (const GPtrArray *disks)
{
  JsonArray *array = json_array_new();

  for (guint i = 0; disks != NULL && i < disks->len; i++)
    json_array_add_object_element (array, disk_to_json (g_ptr_array_index (disks, i)));
  return array;
}

JsonObject *
report_new (const Manifest *manifest, const CaptureReport *capture, const GPtrArray *disks,
            const StoreWriterStats *stats, JsonArray *messages, gint64 began_us,
            gint64 commit_began_us)
{
  JsonObject *report = json_object_new();
  guint64 dirty = capture->pages.put - capture->pages.unchanged;

  /* Without a parent, a page of zeros is not something that was written. */
  if (manifest->parent == NULL)
    dirty -= capture->pages.zero;
  json_set_string_or_null (report, "parent", manifest->parent);
  json_object_set_string_member (report, "guest", manifest->guest);
  json_object_set_string_member (report, "engine", manifest->engine);
  json_object_set_string_member (report, "mode", manifest->mode);
  json_object_set_double_member (report, "pause_ms", rounded (capture->pause_ms));
  if (capture->frozen_ms > 0)
    json_object_set_double_member (report, "frozen_ms", rounded (capture->frozen_ms));
  json_object_set_double_member (report, "wall_ms",
                                 rounded ((g_get_monotonic_time() - began_us) / 1000.0));
  json_object_set_int_member (report, "ram_bytes", capture->ram_bytes);
  json_object_set_int_member (report, "dirty_bytes", dirty * PAGE_SIZE_BYTES);
  json_object_set_int_member (report, "new_bytes", stats->new_bytes);
  json_object_set_int_member (report, "stored_bytes", stats->stored_bytes);
  json_object_set_object_member (report, "phases", phases_to_json (capture, commit_began_us));
  json_object_set_array_member (report, "disks", disks_to_json (disks));
  if (capture->tracking.mode != NULL)
    json_object_set_object_member (report, "tracking", tracking_to_json (&capture->tracking));
  json_object_set_array_member (report, "messages", json_array_ref (messages));
  return report;
}
