/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a checkpoint records about the machine that it was taken from. */
#include <vmckpt/drivers/qemu.h>

#include "cpu-features.h"
#include "disk-hashes.h"
#include "memory-devices.h"
#include "rom.h"

#include <vmckpt/drivers/disk-mark.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/json.h>

#include <string.h>

#define DEVICES_MAX 1024

/* Files are looked at each time: they may change under their names, which a restore would notice.
 */
struct _MachineRecorder {
  QemuFacts *facts; /* (nullable) */
  JsonObject *cpu;  /* (nullable): once asked */
  JsonArray *roms;  /* (nullable): likewise */
  /* Devices, given with an id or without; what depends on them was found out when they were these.
   */
  JsonArray *named, *others; /* (nullable): nothing was found out */
  JsonObject *spec;          /* with the memory that was plugged in */
  ForeignWriters writers;
  char *writers_reason;    /* (nullable) */
  DiskHashes *disk_hashes; /* (nullable): at work */
};

static JsonObject *
record_qemu (QmpClient *monitor)
{
  const QmpGreeting *greeting = qmp_client_greeting (monitor);
  g_autofree char *version =
      g_strdup_printf ("%u.%u.%u", greeting->major, greeting->minor, greeting->micro);
  JsonObject *object = json_object_new();

  json_object_set_string_member (object, "version", version);
  json_object_set_int_member (object, "major", greeting->major);
  json_object_set_int_member (object, "minor", greeting->minor);
  json_object_set_int_member (object, "micro", greeting->micro);
  json_object_set_string_member (object, "package", greeting->package);
  return object;
}

/* Of a domain libvirt's own description counts, which names models that QEMU may not know. */
static JsonObject *
record_domain_cpu (const GuestSpec *spec)
{
  JsonObject *object = json_object_new();

  json_object_set_string_member (object, "model", spec->cpu != NULL ? spec->cpu : "host");
  json_object_set_array_member (object, "features", json_array_new());
  return object;
}

static JsonObject *
record_cpu (const GuestSpec *spec, QmpClient *monitor, GError **error)
{
  if (spec->driver == GUEST_DRIVER_LIBVIRT)
    return record_domain_cpu (spec);
  g_autoptr (JsonObject) model = cpu_expand (monitor, spec->cpu, error);
  JsonArray *features = json_array_new();
  JsonObject *object;

  if (model == NULL) {
    json_array_unref (features);
    return NULL;
  }
  g_auto (GStrv) names = cpu_model_features (model);
  for (guint i = 0; names[i] != NULL; i++)
    json_array_add_string_element (features, names[i]);
  object = json_object_new();
  json_object_set_string_member (object, "model", spec->cpu);
  json_object_set_array_member (object, "features", features);
  return object;
}

/* The devices at @path in QOM: "vd0 virtio-blk-pci". */
static JsonArray *
list_devices (QmpClient *monitor, const char *path, GError **error)
{
  JsonObject *arguments = json_object_new();
  g_autoptr (JsonNode) answer = NULL;

  json_object_set_string_member (arguments, "path", path);
  answer = qmp_client_execute (monitor, "qom-list", arguments, -1, 0, NULL, error);
  if (answer == NULL)
    return NULL;

  JsonArray *devices = json_array_new();
  JsonArray *list = JSON_NODE_HOLDS_ARRAY (answer) ? json_node_get_array (answer) : devices;
  guint count = MIN (json_array_get_length (list), DEVICES_MAX);
  for (guint i = 0; i < count; i++) {
    JsonNode *node = json_array_get_element (list, i);
    if (!JSON_NODE_HOLDS_OBJECT (node))
      continue;
    JsonObject *property = json_node_get_object (node);
    const char *type = json_get_string_or (property, "type", "");
    if (!g_str_has_prefix (type, "child<"))
      continue;
    g_autofree char *text =
        g_strdup_printf ("%s %.*s", json_get_string_or (property, "name", "?"),
                         (int)strcspn (type + strlen ("child<"), ">"), type + strlen ("child<"));
    json_array_add_string_element (devices, text);
  }
  return devices;
}

/* Adds @member = { path, size, sha256 } if @path is not NULL. */
static gboolean
record_file (FileHashes *hashes, JsonObject *machine, const char *member, const char *path,
             GError **error)
{
  JsonObject *file;

  if (path == NULL)
    return TRUE;
  file = json_object_new();
  json_object_set_string_member (file, "path", path);
  json_object_set_object_member (machine, member, file);
  return file_record (hashes, path, file, error);
}

MachineRecorder *
machine_recorder_new (QemuFacts *facts)
{
  MachineRecorder *recorder = g_new0 (MachineRecorder, 1);

  recorder->facts = facts;
  return recorder;
}

static void
forget_devices (MachineRecorder *recorder)
{
  g_clear_pointer (&recorder->named, json_array_unref);
  g_clear_pointer (&recorder->others, json_array_unref);
  g_clear_pointer (&recorder->spec, json_object_unref);
  g_clear_pointer (&recorder->writers_reason, g_free);
}

void
machine_recorder_free (MachineRecorder *recorder)
{
  if (recorder == NULL)
    return;
  g_clear_pointer (&recorder->disk_hashes, disk_hashes_free);
  g_clear_pointer (&recorder->cpu, json_object_unref);
  g_clear_pointer (&recorder->roms, json_array_unref);
  forget_devices (recorder);
  g_free (recorder);
}

/* Finds out what depends on the devices, if there are others than the last time. */
static gboolean
refresh_devices (MachineRecorder *recorder, const GuestSpec *spec, QmpClient *monitor,
                 GError **error)
{
  g_autoptr (JsonArray) named = list_devices (monitor, "/machine/peripheral", error);
  g_autoptr (JsonArray) others =
      named != NULL ? list_devices (monitor, "/machine/peripheral-anon", error) : NULL;

  if (others == NULL)
    return FALSE;
  if (recorder->named != NULL && json_array_equal (recorder->named, named) &&
      json_array_equal (recorder->others, others))
    return TRUE;
  forget_devices (recorder);
  g_autoptr (JsonObject) described = guest_spec_to_json (spec);
  if (!memory_devices_record (described, monitor, error) ||
      !qemu_foreign_writers (monitor, &recorder->writers, &recorder->writers_reason, error))
    return FALSE;
  recorder->spec = g_steal_pointer (&described);
  recorder->named = g_steal_pointer (&named);
  recorder->others = g_steal_pointer (&others);
  return TRUE;
}

void
machine_recorder_hash_disks (MachineRecorder *recorder, const GuestSpec *spec)
{
  FileHashes *hashes = qemu_facts_hashes (recorder->facts);

  if (recorder->disk_hashes == NULL && hashes != NULL)
    recorder->disk_hashes = disk_hashes_begin (spec, hashes);
}

ForeignWriters
machine_recorder_writers (MachineRecorder *recorder, const char **reason)
{
  *reason = recorder->writers_reason;
  return recorder->writers;
}

JsonObject *
machine_recorder_record (MachineRecorder *recorder, const GuestSpec *spec, QmpClient *monitor,
                         GError **error)
{
  ERROR_PREFIX (error, "recording the machine of guest %s", spec->name);
  FileHashes *hashes = qemu_facts_hashes (recorder->facts);
  g_autoptr (JsonObject) machine = json_object_new();

  if (recorder->cpu == NULL && (recorder->cpu = record_cpu (spec, monitor, error)) == NULL)
    return NULL;
  if (recorder->roms == NULL &&
      (recorder->roms = rom_record (spec, monitor, recorder->facts, error)) == NULL)
    return NULL;
  if (!refresh_devices (recorder, spec, monitor, error))
    return NULL;
  json_object_set_string_member (machine, "driver", guest_driver_name (spec->driver));
  json_object_set_object_member (machine, "spec", json_object_ref (recorder->spec));
  json_object_set_object_member (machine, "qemu", record_qemu (monitor));
  json_object_set_string_member (machine, "machine", spec->machine);
  json_object_set_string_member (machine, "accel", spec->accel);
  json_object_set_object_member (machine, "cpu", json_object_ref (recorder->cpu));
  json_object_set_array_member (machine, "devices", json_array_ref (recorder->named));
  json_object_set_array_member (machine, "roms", json_array_ref (recorder->roms));
  if (!record_file (hashes, machine, "kernel", spec->kernel, error) ||
      !record_file (hashes, machine, "initrd", spec->initrd, error))
    return NULL;
  disk_hashes_record (spec, hashes, machine);
  return g_steal_pointer (&machine);
}
