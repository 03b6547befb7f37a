/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/drivers/guest-spec.h>

#include "spec-member.h"

#include <vmckpt/util/json.h>
#include <vmckpt/util/name.h>

#include <string.h>

GQuark
driver_error_quark (void)
{
  return g_quark_from_static_string ("vmckpt-driver-error");
}

#define RAM_DEFAULT (G_GUINT64_CONSTANT (2) << 30)
#define RAM_STEP (G_GUINT64_CONSTANT (1) << 20)
#define CPUS_DEFAULT 2

static const char *const memory_names[] = {
  [MEMORY_SHARED] = "shared",
  [MEMORY_PRIVATE] = "private",
};

const char *
memory_kind_name (MemoryKind kind)
{
  return memory_names[kind];
}

static const char *const driver_names[] = {
  [GUEST_DRIVER_QEMU] = "qemu",
  [GUEST_DRIVER_LIBVIRT] = "libvirt",
  NULL,
};

const char *
guest_driver_name (GuestDriver driver)
{
  return driver_names[driver];
}

/* Members of the document; "paused" is for whoever starts the guest. */
static const char *const known_members[] = {
  "name",          "uuid",           "genid",   "ram_bytes", "cpus",   "kernel",
  "initrd",        "append",         "disks",   "qemu",      "accel",  "machine",
  "cpu",           "extra",          "paused",  "memory",    "ram_id", DISK_NAME_FIRMWARE,
  DISK_NAME_NVRAM, "agent",          "tpm",     "driver",    "uri",    "serial_log",
  "priority",      "start_delay_ms", "balloon",
};

GuestSpec *
guest_spec_new (const char *name)
{
  GuestSpec *spec = g_new0 (GuestSpec, 1);

  spec->name = g_strdup (name);
  spec->ram_bytes = RAM_DEFAULT;
  spec->cpus = CPUS_DEFAULT;
  spec->priority = GUEST_PRIORITY_DEFAULT;
  spec->disks = g_ptr_array_new_with_free_func ((GDestroyNotify)guest_disk_free);
  spec->qemu = g_strdup ("qemu-system-x86_64");
  spec->accel = g_strdup ("auto");
  spec->machine = g_strdup ("q35");
  spec->extra = g_new0 (char *, 1);
  return spec;
}

GuestSpec *
guest_spec_copy (const GuestSpec *spec)
{
  GuestSpec *copy = g_new0 (GuestSpec, 1);

  *copy = *spec;
  copy->uri = g_strdup (spec->uri);
  copy->serial_log = g_strdup (spec->serial_log);
  copy->name = g_strdup (spec->name);
  copy->uuid = g_strdup (spec->uuid);
  copy->genid = g_strdup (spec->genid);
  copy->kernel = g_strdup (spec->kernel);
  copy->initrd = g_strdup (spec->initrd);
  copy->append = g_strdup (spec->append);
  copy->ram_id = g_strdup (spec->ram_id);
  copy->qemu = g_strdup (spec->qemu);
  copy->accel = g_strdup (spec->accel);
  copy->machine = g_strdup (spec->machine);
  copy->cpu = g_strdup (spec->cpu);
  copy->extra = g_strdupv (spec->extra);
  copy->disks = g_ptr_array_new_with_free_func ((GDestroyNotify)guest_disk_free);
  for (guint i = 0; i < spec->disks->len; i++)
    g_ptr_array_add (copy->disks, guest_disk_copy (spec->disks->pdata[i]));
  return copy;
}

void
guest_spec_free (GuestSpec *spec)
{
  if (spec == NULL)
    return;
  g_free (spec->uri);
  g_free (spec->serial_log);
  g_free (spec->name);
  g_free (spec->uuid);
  g_free (spec->genid);
  g_free (spec->ram_id);
  g_free (spec->kernel);
  g_free (spec->initrd);
  g_free (spec->append);
  g_ptr_array_unref (spec->disks);
  g_free (spec->qemu);
  g_free (spec->accel);
  g_free (spec->machine);
  g_free (spec->cpu);
  g_strfreev (spec->extra);
  g_free (spec);
}

GuestDisk *
guest_spec_find_disk (const GuestSpec *spec, const char *name)
{
  for (guint i = 0; i < spec->disks->len; i++) {
    GuestDisk *disk = spec->disks->pdata[i];
    if (g_str_equal (disk->name, name))
      return disk;
  }
  return NULL;
}

/* ---- From JSON ---- */

static gboolean
take_accel (JsonObject *object, GuestSpec *spec, GError **error)
{
  static const char *const accels[] = { "auto", "kvm", "tcg", NULL };

  if (!member_take_string (object, "accel", &spec->accel, error))
    return FALSE;
  if (!g_strv_contains (accels, spec->accel))
    return member_invalid (error, "accel", "must be auto, kvm or tcg");
  return TRUE;
}

static gboolean
take_memory (JsonObject *object, GuestSpec *spec, GError **error)
{
  g_autofree char *name = g_strdup (memory_names[MEMORY_SHARED]);

  if (!member_take_string (object, "memory", &name, error) ||
      !member_take_word (object, "ram_id", &spec->ram_id, error))
    return FALSE;
  for (guint i = 0; i < G_N_ELEMENTS (memory_names); i++)
    if (g_str_equal (name, memory_names[i])) {
      spec->memory = i;
      return TRUE;
    }
  return member_invalid (error, "memory", "must be shared or private");
}

static gboolean
take_qemu (JsonObject *object, GuestSpec *spec, GError **error)
{
  if (!member_take_string (object, "qemu", &spec->qemu, error))
    return FALSE;
  if (*spec->qemu == '\0' ||
      (!g_path_is_absolute (spec->qemu) && strchr (spec->qemu, G_DIR_SEPARATOR) != NULL))
    return member_invalid (error, "qemu",
                           "must be an absolute path, or a name to be found in PATH");
  return TRUE;
}

static gboolean
take_sizes (JsonObject *object, GuestSpec *spec, GError **error)
{
  guint64 cpus = spec->cpus;

  if (!member_take_number (object, "ram_bytes", &spec->ram_bytes, error) ||
      !member_take_number (object, "cpus", &cpus, error))
    return FALSE;
  if (spec->ram_bytes < GUEST_RAM_MIN || spec->ram_bytes > GUEST_RAM_MAX ||
      spec->ram_bytes % RAM_STEP != 0)
    return member_invalid (error, "ram_bytes", "must be a multiple of 1 MiB from 16 MiB to 8 TiB");
  if (cpus < 1 || cpus > GUEST_CPUS_MAX)
    return member_invalid (error, "cpus", "must be from 1 to 255");
  spec->cpus = cpus;
  return TRUE;
}

/* What decides about its turn among other guests. */
static gboolean
take_turn (JsonObject *object, GuestSpec *spec, GError **error)
{
  guint64 priority = spec->priority, delay_ms = spec->start_delay_ms;

  if (!member_take_number (object, "priority", &priority, error) ||
      !member_take_number (object, "start_delay_ms", &delay_ms, error))
    return FALSE;
  if (priority > GUEST_PRIORITY_MAX)
    return member_invalid (error, "priority", "must be from 0 to 1000");
  if (delay_ms > GUEST_START_DELAY_MAX_MS)
    return member_invalid (error, "start_delay_ms", "must be at most an hour");
  spec->priority = priority;
  spec->start_delay_ms = delay_ms;
  return TRUE;
}

static gboolean
take_disks (JsonObject *object, GuestSpec *spec, GError **error)
{
  g_autoptr (GError) cause = NULL;
  JsonArray *array = member_find_array (object, "disks", GUEST_DISKS_MAX, &cause);

  for (guint i = 0; array != NULL && i < json_array_get_length (array); i++) {
    GuestDisk *disk = guest_disk_from_json (json_array_get_element (array, i), &cause);
    if (disk == NULL)
      break;
    g_ptr_array_add (spec->disks, disk);
    if (disk->device != NULL && spec->driver == GUEST_DRIVER_QEMU)
      member_invalid (&cause, "device", "is there, yet the driver is not libvirt");
    if (cause != NULL)
      break;
  }
  if (cause == NULL && guest_disks_name (spec->disks, &cause))
    return TRUE;
  g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_INVALID, "'disks': %s", cause->message);
  return FALSE;
}

/* A member that is short for a disk on DISK_BUS_PFLASH. */
static gboolean
take_flash (JsonObject *object, const char *member, DiskMode mode, GuestSpec *spec, GError **error)
{
  g_autofree char *text = NULL;
  g_autoptr (GuestDisk) disk = NULL;

  if (!member_take_path (object, member, &text, error))
    return FALSE;
  if (text == NULL)
    return TRUE;
  if (guest_spec_find_disk (spec, member) != NULL)
    return member_invalid (error, member, "is there twice");
  disk = guest_disk_parse (text, error);
  if (disk == NULL)
    return FALSE;
  if (disk->name != NULL || disk->mode != DISK_CAPTURE || disk->bus != DISK_BUS_VIRTIO ||
      disk->media != DISK_MEDIA_DISK || disk->iothread)
    return member_invalid (error, member, "takes no option but format=");
  disk->name = g_strdup (member);
  disk->bus = DISK_BUS_PFLASH;
  disk->mode = mode;
  g_ptr_array_add (spec->disks, g_steal_pointer (&disk));
  return TRUE;
}

static gboolean
take_extra (JsonObject *object, GuestSpec *spec, GError **error)
{
  g_autoptr (GError) cause = NULL;
  JsonArray *array = member_find_array (object, "extra", GUEST_EXTRA_MAX, &cause);
  g_autoptr (GPtrArray) extra = g_ptr_array_new_with_free_func (g_free);

  if (cause != NULL) {
    g_propagate_error (error, g_steal_pointer (&cause));
    return FALSE;
  }
  for (guint i = 0; array != NULL && i < json_array_get_length (array); i++) {
    JsonNode *node = json_array_get_element (array, i);
    if (!member_is_string (node))
      return member_invalid (error, "extra", "must be an array of strings of bounded length");
    g_ptr_array_add (extra, g_strdup (json_node_get_string (node)));
  }
  g_ptr_array_add (extra, NULL);
  g_strfreev (spec->extra);
  spec->extra = (GStrv)g_ptr_array_free (g_steal_pointer (&extra), FALSE);
  return TRUE;
}

/* A domain is what libvirt says it is; of a guest of ours there is nothing to be said here. */
static gboolean
take_driver (JsonObject *object, GuestSpec *spec, GError **error)
{
  guint driver = GUEST_DRIVER_QEMU;

  if (!member_take_choice (object, "driver", driver_names, &driver, error) ||
      !member_take_string (object, "uri", &spec->uri, error) ||
      !member_take_path (object, "serial_log", &spec->serial_log, error) ||
      !member_take_boolean (object, "balloon", &spec->balloon, error))
    return FALSE;
  spec->driver = driver;
  if (driver == GUEST_DRIVER_LIBVIRT)
    return (spec->uri != NULL && *spec->uri != 0) ||
           member_invalid (error, "uri", "is missing: which libvirt has the domain?");
  if (spec->uri != NULL)
    return member_invalid (error, "uri", "is there, yet the driver is not libvirt");
  if (spec->balloon)
    return member_invalid (error, "balloon", "is there, yet the driver is not libvirt");
  return spec->serial_log == NULL ||
         member_invalid (error, "serial_log", "is there, yet the driver is not libvirt");
}

static gboolean
check_members (JsonObject *object, GError **error)
{
  g_autoptr (GList) members = json_object_get_members (object);

  for (GList *l = members; l != NULL; l = l->next) {
    gboolean known = FALSE;
    for (guint i = 0; i < G_N_ELEMENTS (known_members) && !known; i++)
      known = g_str_equal (l->data, known_members[i]);
    if (!known)
      return member_invalid (error, l->data, "is not something that a guest is made of");
  }
  return TRUE;
}

GuestSpec *
guest_spec_from_json (JsonObject *object, GError **error)
{
  g_autoptr (GuestSpec) spec = guest_spec_new (NULL);
  g_autoptr (GError) cause = NULL;

  if (!check_members (object, error) || !member_take_string (object, "name", &spec->name, error))
    return NULL;
  if (spec->name == NULL) {
    member_invalid (error, "name", "is missing");
    return NULL;
  }
  if (!name_check (spec->name, "guest name", &cause)) {
    g_set_error_literal (error, DRIVER_ERROR, DRIVER_ERROR_INVALID, cause->message);
    return NULL;
  }
  if (!member_take_uuid (object, "uuid", &spec->uuid, error) ||
      !member_take_uuid (object, "genid", &spec->genid, error) ||
      !take_driver (object, spec, error) || !take_sizes (object, spec, error) ||
      !take_turn (object, spec, error) || !take_memory (object, spec, error) ||
      !member_take_path (object, "kernel", &spec->kernel, error) ||
      !member_take_path (object, "initrd", &spec->initrd, error) ||
      !member_take_string (object, "append", &spec->append, error) ||
      !take_qemu (object, spec, error) || !take_accel (object, spec, error) ||
      !member_take_word (object, "machine", &spec->machine, error) ||
      !member_take_string (object, "cpu", &spec->cpu, error) || !take_disks (object, spec, error) ||
      !take_flash (object, DISK_NAME_FIRMWARE, DISK_READONLY, spec, error) ||
      !take_flash (object, DISK_NAME_NVRAM, DISK_CAPTURE, spec, error) ||
      !take_extra (object, spec, error) ||
      !member_take_boolean (object, "agent", &spec->agent, error) ||
      !member_take_boolean (object, "tpm", &spec->tpm, error))
    return NULL;
  if (spec->kernel == NULL && (spec->initrd != NULL || spec->append != NULL)) {
    member_invalid (error, "kernel", "is missing, yet there is an initrd or a kernel command line");
    return NULL;
  }
  return g_steal_pointer (&spec);
}

/* ---- To JSON ---- */

JsonObject *
guest_spec_to_json (const GuestSpec *spec)
{
  JsonObject *object = json_object_new();
  JsonArray *disks = json_array_new();
  JsonArray *extra = json_array_new();

  if (spec->driver != GUEST_DRIVER_QEMU)
    json_object_set_string_member (object, "driver", driver_names[spec->driver]);
  member_add_string (object, "uri", spec->uri);
  member_add_string (object, "serial_log", spec->serial_log);
  member_add_string (object, "name", spec->name);
  member_add_string (object, "uuid", spec->uuid);
  member_add_string (object, "genid", spec->genid);
  json_object_set_int_member (object, "ram_bytes", spec->ram_bytes);
  json_object_set_string_member (object, "memory", memory_names[spec->memory]);
  member_add_string (object, "ram_id", spec->ram_id);
  json_object_set_int_member (object, "cpus", spec->cpus);
  member_add_string (object, "kernel", spec->kernel);
  member_add_string (object, "initrd", spec->initrd);
  member_add_string (object, "append", spec->append);
  if (spec->agent)
    json_object_set_boolean_member (object, "agent", TRUE);
  if (spec->tpm)
    json_object_set_boolean_member (object, "tpm", TRUE);
  if (spec->balloon)
    json_object_set_boolean_member (object, "balloon", TRUE);
  if (spec->priority != GUEST_PRIORITY_DEFAULT)
    json_object_set_int_member (object, "priority", spec->priority);
  if (spec->start_delay_ms > 0)
    json_object_set_int_member (object, "start_delay_ms", spec->start_delay_ms);
  for (guint i = 0; i < spec->disks->len; i++)
    json_array_add_object_element (disks, guest_disk_to_json (spec->disks->pdata[i]));
  json_object_set_array_member (object, "disks", disks);
  member_add_string (object, "qemu", spec->qemu);
  member_add_string (object, "accel", spec->accel);
  member_add_string (object, "machine", spec->machine);
  member_add_string (object, "cpu", spec->cpu);
  for (guint i = 0; spec->extra[i] != NULL; i++)
    json_array_add_string_element (extra, spec->extra[i]);
  json_object_set_array_member (object, "extra", extra);
  return object;
}
