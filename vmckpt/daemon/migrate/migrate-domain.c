/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "migrate-domain.h"

#include "api-error.h"
#include "claims.h"
#include "schedule-move.h"

#include <vmckpt/util/json.h>

#include <string.h>

#define PAGE_BYTES 4096

gboolean
migrate_domain_is_uri (const char *to)
{
  return strstr (to, "://") != NULL;
}

/* What libvirt tells of its job, as lines of ours. */
static void
on_progress (JsonObject *progress, gpointer user_data)
{
  Request *request = user_data;
  JsonObject *stats = json_get_object (progress, "stats", NULL);
  JsonObject *line;

  if (stats == NULL)
    return;
  guint64 total = json_get_uint64_or (stats, "memory_total", 0);
  guint64 remaining = json_get_uint64_or (stats, "memory_remaining", 0);
  double rate = (double)json_get_uint64_or (stats, "memory_bps", 0);
  double dirty = (double)json_get_uint64_or (stats, "memory_dirty_rate", 0) * PAGE_BYTES;
  line = json_object_new();
  json_object_set_string_member (line, "phase", "copy");
  json_object_set_int_member (line, "transferred_bytes",
                              (gint64)json_get_uint64_or (stats, "memory_processed", 0));
  json_object_set_int_member (line, "remaining_bytes", (gint64)remaining);
  json_object_set_int_member (line, "total_bytes", (gint64)total);
  json_object_set_int_member (line, "bytes_done", (gint64)(total - MIN (remaining, total)));
  json_object_set_double_member (line, "rate", rate);
  json_object_set_double_member (line, "dirty_rate", dirty);
  json_object_set_double_member (line, "expected_downtime_ms",
                                 (double)json_get_uint64_or (stats, "downtime", 0));
  if (rate > dirty)
    json_object_set_double_member (line, "seconds_remaining", (double)remaining / (rate - dirty));
  else
    json_object_set_null_member (line, "seconds_remaining");
  request->send_line ("migration", line, request->watcher.user_data);
}

/* Whether a disk of it has to be copied. */
static gboolean
has_own_disks (const GuestSpec *spec)
{
  for (guint i = 0; i < spec->disks->len; i++) {
    const GuestDisk *disk = spec->disks->pdata[i];
    if (disk->mode == DISK_CAPTURE && disk->path != NULL && disk->media == DISK_MEDIA_DISK)
      return TRUE;
  }
  return FALSE;
}

/* A domain that is defined goes with its definition: two of them could both be started. */
static JsonObject *
describe_order (const GuestSpec *spec, const DomainMove *move, gboolean persistent)
{
  const LiveOptions *options = move->options;
  JsonObject *order = json_object_new();

  json_object_set_string_member (order, "domain", spec->uuid);
  json_object_set_string_member (order, "uri", move->uri);
  json_object_set_boolean_member (order, "persist", persistent);
  json_object_set_boolean_member (order, "undefine_source", persistent);
  json_object_set_boolean_member (order, "postcopy", options->postcopy);
  json_object_set_boolean_member (order, "postcopy_after_round", options->postcopy);
  json_object_set_boolean_member (order, "auto_converge", options->auto_converge);
  json_object_set_boolean_member (order, "copy_storage",
                                  !move->shared_disks && has_own_disks (spec));
  /* By the user's word: libvirt does not know of every storage that is shared. */
  json_object_set_boolean_member (order, "unsafe", move->shared_disks);
  json_object_set_boolean_member (order, "abort_on_error", TRUE);
  if (options->channels > 1)
    json_object_set_int_member (order, "connections", options->channels);
  if (options->bandwidth > 0)
    json_object_set_int_member (order, "bandwidth_mib", (gint64)MAX (options->bandwidth >> 20, 1));
  return order;
}

static JsonObject *
describe (Guest *guest, const DomainMove *move, JsonObject *answer, gint64 began_us)
{
  JsonObject *job =
      json_object_has_member (answer, "job") ? json_get_object (answer, "job", NULL) : NULL;
  JsonObject *stats = job != NULL ? json_get_object (job, "stats", NULL) : NULL;
  g_autofree char *id = g_uuid_string_random();
  g_autofree char *checkpoint = guest_checkpoint (guest);
  JsonObject *result = json_object_new();

  json_object_set_string_member (result, "id", id);
  json_object_set_string_member (result, "guest", guest_name (guest));
  json_object_set_string_member (result, "to", move->uri);
  json_object_set_string_member (result, "way", "live");
  json_object_set_double_member (
      result, "downtime_ms", stats != NULL ? (double)json_get_uint64_or (stats, "downtime", 0) : 0);
  json_object_set_double_member (result, "wall_ms", (g_get_monotonic_time() - began_us) / 1000.0);
  json_object_set_int_member (
      result, "transferred_bytes",
      stats != NULL ? (gint64)json_get_uint64_or (stats, "memory_processed", 0) : 0);
  json_object_set_int_member (
      result, "rounds",
      stats != NULL ? (gint64)json_get_uint64_or (stats, "memory_iteration", 0) : 0);
  json_object_set_boolean_member (result, "postcopied", FALSE);
  /* libvirt takes no word of ours along: in the same store its newest checkpoint is found by its
   * uuid, and compared with. */
  json_object_set_string_member (result, "lineage", checkpoint != NULL ? "compared" : "none");
  json_object_set_array_member (result, "disks", json_array_new());
  json_object_set_array_member (result, "messages", json_array_new());
  return result;
}

JsonObject *
migrate_domain (Request *request, Guest *guest, const DomainMove *move, GError **error)
{
  Daemon *daemon = request->daemon;
  const GuestSpec *spec = guest_spec (guest);
  gint64 began_us = g_get_monotonic_time();
  gboolean persistent = FALSE;

  if (!migrate_domain_is_uri (move->uri)) {
    g_set_error_literal (
        error, API_ERROR, API_NOT_POSSIBLE,
        "libvirt moves its domains itself: HOST has to be the other libvirt's URI, "
        "as qemu+tls://host/system");
    return NULL;
  }
  g_autoptr (JsonObject) record =
      domains_record (daemon->domains, spec, &persistent, NULL, request->cancellable, error);
  g_autoptr (LibvirtLink) link =
      record != NULL ? domains_link (daemon->domains, spec->uri, error) : NULL;
  if (link == NULL)
    return NULL;
  g_autoptr (JsonObject) order = describe_order (spec, move, persistent);
  g_autoptr (JsonObject) answer = libvirt_link_ask (link, "migrate", order, -1, -1, on_progress,
                                                    request, request->cancellable, error);
  if (answer == NULL)
    return NULL;
  g_autofree char *reason = g_strdup_printf ("migrated to %s", move->uri);
  schedules_leave (daemon, guest, move->uri);
  guest_set_exited (guest, reason);
  claims_release (guest, daemon->runtime, daemon->stores);
  return describe (guest, move, answer, began_us);
}
