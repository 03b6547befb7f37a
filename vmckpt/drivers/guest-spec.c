/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/drivers/guest-spec.h>

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

static const char *const mode_names[] = {
  [DISK_SHARED] = "shared",
  [DISK_READONLY] = "readonly",
  [DISK_EXCLUDE] = "exclude",
};

static const char *const memory_names[] = {
  [MEMORY_SHARED] = "shared",
  [MEMORY_PRIVATE] = "private",
};

const char *
memory_kind_name (MemoryKind kind)
{
  return memory_names[kind];
}

/* Members of the document; "paused" is for whoever starts the guest. */
static const char *const known_members[] = {
  "name", "uuid",  "genid",   "ram_bytes", "cpus",  "kernel", "initrd", "append", "disks",
  "qemu", "accel", "machine", "cpu",       "extra", "paused", "memory", "ram_id",
};

GuestSpec *
guest_spec_new (const char *name)
{
  GuestSpec *spec = g_new0 (GuestSpec, 1);

  spec->name = g_strdup (name);
  spec->ram_bytes = RAM_DEFAULT;
  spec->cpus = CPUS_DEFAULT;
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
  for (guint i = 0; i < spec->disks->len; i++) {
    const GuestDisk *disk = spec->disks->pdata[i];
    GuestDisk *twin = g_new (GuestDisk, 1);
    *twin = *disk;
    twin->path = g_strdup (disk->path);
    twin->format = g_strdup (disk->format);
    g_ptr_array_add (copy->disks, twin);
  }
  return copy;
}

void
guest_spec_free (GuestSpec *spec)
{
  if (spec == NULL)
    return;
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

void
guest_disk_free (GuestDisk *disk)
{
  if (disk == NULL)
    return;
  g_free (disk->path);
  g_free (disk->format);
  g_free (disk);
}

static gboolean
mode_from_name (const char *name, DiskMode *mode)
{
  for (guint i = 0; i < G_N_ELEMENTS (mode_names); i++)
    if (g_str_equal (name, mode_names[i])) {
      *mode = i;
      return TRUE;
    }
  return FALSE;
}

GuestDisk *
guest_disk_parse (const char *text, GError **error)
{
  const char *comma = strrchr (text, ',');
  DiskMode mode;

  if (comma == NULL || comma == text) {
    g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE,
                 "disk '%s': the contents of writable disks are not captured; write '%s,shared' if "
                 "it is on storage that every host reaches, '%s,readonly' if it is never written, "
                 "or '%s,exclude' if its contents do not matter",
                 text, text, text, text);
    return NULL;
  }
  if (!mode_from_name (comma + 1, &mode)) {
    g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_INVALID,
                 "disk '%s': '%s' is not one of shared, readonly, exclude", text, comma + 1);
    return NULL;
  }

  GuestDisk *disk = g_new0 (GuestDisk, 1);
  disk->path = g_strndup (text, comma - text);
  disk->mode = mode;
  return disk;
}

/* ---- From JSON ---- */

static gboolean
set_invalid (GError **error, const char *member, const char *problem)
{
  g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_INVALID, "'%s' %s", member, problem);
  return FALSE;
}

/* A string that may be absent or null: then *@value stays. */
static gboolean
take_string (JsonObject *object, const char *member, char **value, GError **error)
{
  JsonNode *node = json_object_get_member (object, member);

  if (node == NULL || JSON_NODE_HOLDS_NULL (node))
    return TRUE;
  if (!JSON_NODE_HOLDS_VALUE (node) || json_node_get_value_type (node) != G_TYPE_STRING)
    return set_invalid (error, member, "must be a string");

  const char *text = json_node_get_string (node);
  if (strlen (text) > GUEST_TEXT_MAX)
    return set_invalid (error, member, "is too long");
  g_free (*value);
  *value = g_strdup (text);
  return TRUE;
}

static gboolean
take_path (JsonObject *object, const char *member, char **value, GError **error)
{
  if (!take_string (object, member, value, error))
    return FALSE;
  if (*value != NULL && !g_path_is_absolute (*value))
    return set_invalid (error, member, "must be an absolute path");
  return TRUE;
}

static gboolean
take_uuid (JsonObject *object, const char *member, char **value, GError **error)
{
  if (!take_string (object, member, value, error))
    return FALSE;
  if (*value != NULL && !g_uuid_string_is_valid (*value))
    return set_invalid (error, member, "must be a UUID");
  return TRUE;
}

/* A text that becomes one option of QEMU's: whoever wants more options has `extra`. */
static gboolean
take_word (JsonObject *object, const char *member, char **value, GError **error)
{
  if (!take_string (object, member, value, error))
    return FALSE;
  for (const char *c = *value; c != NULL && *c != '\0'; c++)
    if (!g_ascii_isalnum (*c) && strchr ("-._", *c) == NULL)
      return set_invalid (error, member, "has a character that cannot be in it");
  if (*value != NULL && !g_ascii_isalnum (**value))
    return set_invalid (error, member, "must begin with a letter or digit");
  return TRUE;
}

static gboolean
take_number (JsonObject *object, const char *member, guint64 *value, GError **error)
{
  g_autoptr (GError) cause = NULL;

  if (!json_object_has_member (object, member) || json_object_get_null_member (object, member))
    return TRUE;
  if (json_get_uint64 (object, member, value, &cause))
    return TRUE;
  return set_invalid (error, member, "must be a number, zero or more");
}

static gboolean
take_accel (JsonObject *object, GuestSpec *spec, GError **error)
{
  static const char *const accels[] = { "auto", "kvm", "tcg", NULL };

  if (!take_string (object, "accel", &spec->accel, error))
    return FALSE;
  if (!g_strv_contains (accels, spec->accel))
    return set_invalid (error, "accel", "must be auto, kvm or tcg");
  return TRUE;
}

static gboolean
take_memory (JsonObject *object, GuestSpec *spec, GError **error)
{
  g_autofree char *name = g_strdup (memory_names[MEMORY_SHARED]);

  if (!take_string (object, "memory", &name, error) ||
      !take_word (object, "ram_id", &spec->ram_id, error))
    return FALSE;
  for (guint i = 0; i < G_N_ELEMENTS (memory_names); i++)
    if (g_str_equal (name, memory_names[i])) {
      spec->memory = i;
      return TRUE;
    }
  return set_invalid (error, "memory", "must be shared or private");
}

static gboolean
take_qemu (JsonObject *object, GuestSpec *spec, GError **error)
{
  if (!take_string (object, "qemu", &spec->qemu, error))
    return FALSE;
  if (*spec->qemu == '\0' ||
      (!g_path_is_absolute (spec->qemu) && strchr (spec->qemu, G_DIR_SEPARATOR) != NULL))
    return set_invalid (error, "qemu", "must be an absolute path, or a name to be found in PATH");
  return TRUE;
}

static gboolean
take_sizes (JsonObject *object, GuestSpec *spec, GError **error)
{
  guint64 cpus = spec->cpus;

  if (!take_number (object, "ram_bytes", &spec->ram_bytes, error) ||
      !take_number (object, "cpus", &cpus, error))
    return FALSE;
  if (spec->ram_bytes < GUEST_RAM_MIN || spec->ram_bytes > GUEST_RAM_MAX ||
      spec->ram_bytes % RAM_STEP != 0)
    return set_invalid (error, "ram_bytes", "must be a multiple of 1 MiB from 16 MiB to 8 TiB");
  if (cpus < 1 || cpus > GUEST_CPUS_MAX)
    return set_invalid (error, "cpus", "must be from 1 to 255");
  spec->cpus = cpus;
  return TRUE;
}

/* An array that may be absent or null. @count: (out). NULL without @error if it is absent. */
static JsonArray *
find_array (JsonObject *object, const char *member, guint max, GError **error)
{
  JsonNode *node = json_object_get_member (object, member);

  if (node == NULL || JSON_NODE_HOLDS_NULL (node))
    return NULL;
  if (!JSON_NODE_HOLDS_ARRAY (node))
    set_invalid (error, member, "must be an array");
  else if (json_array_get_length (json_node_get_array (node)) > max)
    set_invalid (error, member, "has too many elements");
  else
    return json_node_get_array (node);
  return NULL;
}

static gboolean
is_string_node (JsonNode *node)
{
  return JSON_NODE_HOLDS_VALUE (node) && json_node_get_value_type (node) == G_TYPE_STRING &&
         strlen (json_node_get_string (node)) <= GUEST_TEXT_MAX;
}

/* A disk as guest_spec_to_json() writes it. */
static GuestDisk *
disk_from_object (JsonObject *object, GError **error)
{
  static const char *const formats[] = { "raw", "qcow2", NULL };
  g_autoptr (GuestDisk) disk = g_new0 (GuestDisk, 1);
  guint64 mtime = 0;

  if (!take_path (object, "path", &disk->path, error) ||
      !take_string (object, "format", &disk->format, error) ||
      !take_number (object, "size", &disk->size, error) ||
      !take_number (object, "mtime_us", &mtime, error))
    return NULL;
  disk->mtime_us = MIN (mtime, G_MAXINT64);
  if (disk->path == NULL)
    set_invalid (error, "disks", "has an element without a path");
  else if (!mode_from_name (json_get_string_or (object, "mode", ""), &disk->mode))
    set_invalid (error, "disks", "has an element without a mode: shared, readonly or exclude");
  else if (disk->format != NULL && !g_strv_contains (formats, disk->format))
    set_invalid (error, "disks", "has an element whose format is neither raw nor qcow2");
  else
    return g_steal_pointer (&disk);
  return NULL;
}

static GuestDisk *
disk_from_node (JsonNode *node, GError **error)
{
  if (JSON_NODE_HOLDS_OBJECT (node))
    return disk_from_object (json_node_get_object (node), error);
  if (!is_string_node (node)) {
    set_invalid (error, "disks", "must be an array of strings");
    return NULL;
  }
  g_autoptr (GuestDisk) disk = guest_disk_parse (json_node_get_string (node), error);
  if (disk != NULL && !g_path_is_absolute (disk->path)) {
    set_invalid (error, "disks", "must have absolute paths");
    return NULL;
  }
  return g_steal_pointer (&disk);
}

static gboolean
take_disks (JsonObject *object, GuestSpec *spec, GError **error)
{
  g_autoptr (GError) cause = NULL;
  JsonArray *array = find_array (object, "disks", GUEST_DISKS_MAX, &cause);

  for (guint i = 0; array != NULL && i < json_array_get_length (array); i++) {
    GuestDisk *disk = disk_from_node (json_array_get_element (array, i), &cause);
    if (disk == NULL)
      break;
    g_ptr_array_add (spec->disks, disk);
  }
  if (cause != NULL)
    g_propagate_error (error, g_steal_pointer (&cause));
  return array == NULL ? error == NULL || *error == NULL
                       : spec->disks->len == json_array_get_length (array);
}

static gboolean
take_extra (JsonObject *object, GuestSpec *spec, GError **error)
{
  g_autoptr (GError) cause = NULL;
  JsonArray *array = find_array (object, "extra", GUEST_EXTRA_MAX, &cause);
  g_autoptr (GPtrArray) extra = g_ptr_array_new_with_free_func (g_free);

  if (cause != NULL) {
    g_propagate_error (error, g_steal_pointer (&cause));
    return FALSE;
  }
  for (guint i = 0; array != NULL && i < json_array_get_length (array); i++) {
    JsonNode *node = json_array_get_element (array, i);
    if (!is_string_node (node))
      return set_invalid (error, "extra", "must be an array of strings of bounded length");
    g_ptr_array_add (extra, g_strdup (json_node_get_string (node)));
  }
  g_ptr_array_add (extra, NULL);
  g_strfreev (spec->extra);
  spec->extra = (GStrv)g_ptr_array_free (g_steal_pointer (&extra), FALSE);
  return TRUE;
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
      return set_invalid (error, l->data, "is not something that a guest is made of");
  }
  return TRUE;
}

GuestSpec *
guest_spec_from_json (JsonObject *object, GError **error)
{
  g_autoptr (GuestSpec) spec = guest_spec_new (NULL);
  g_autoptr (GError) cause = NULL;

  if (!check_members (object, error) || !take_string (object, "name", &spec->name, error))
    return NULL;
  if (spec->name == NULL) {
    set_invalid (error, "name", "is missing");
    return NULL;
  }
  if (!name_check (spec->name, "guest name", &cause)) {
    g_set_error_literal (error, DRIVER_ERROR, DRIVER_ERROR_INVALID, cause->message);
    return NULL;
  }
  if (!take_uuid (object, "uuid", &spec->uuid, error) ||
      !take_uuid (object, "genid", &spec->genid, error) || !take_sizes (object, spec, error) ||
      !take_memory (object, spec, error) || !take_path (object, "kernel", &spec->kernel, error) ||
      !take_path (object, "initrd", &spec->initrd, error) ||
      !take_string (object, "append", &spec->append, error) || !take_qemu (object, spec, error) ||
      !take_accel (object, spec, error) || !take_word (object, "machine", &spec->machine, error) ||
      !take_string (object, "cpu", &spec->cpu, error) || !take_disks (object, spec, error) ||
      !take_extra (object, spec, error))
    return NULL;
  if (spec->kernel == NULL && (spec->initrd != NULL || spec->append != NULL)) {
    set_invalid (error, "kernel", "is missing, yet there is an initrd or a kernel command line");
    return NULL;
  }
  return g_steal_pointer (&spec);
}

/* ---- To JSON ---- */

static void
add_string (JsonObject *object, const char *member, const char *value)
{
  if (value != NULL)
    json_object_set_string_member (object, member, value);
}

static JsonObject *
disk_to_json (const GuestDisk *disk)
{
  JsonObject *object = json_object_new();

  json_object_set_string_member (object, "path", disk->path);
  json_object_set_string_member (object, "mode", mode_names[disk->mode]);
  add_string (object, "format", disk->format);
  json_object_set_int_member (object, "size", disk->size);
  json_object_set_int_member (object, "mtime_us", disk->mtime_us);
  return object;
}

JsonObject *
guest_spec_to_json (const GuestSpec *spec)
{
  JsonObject *object = json_object_new();
  JsonArray *disks = json_array_new();
  JsonArray *extra = json_array_new();

  add_string (object, "name", spec->name);
  add_string (object, "uuid", spec->uuid);
  add_string (object, "genid", spec->genid);
  json_object_set_int_member (object, "ram_bytes", spec->ram_bytes);
  json_object_set_string_member (object, "memory", memory_names[spec->memory]);
  add_string (object, "ram_id", spec->ram_id);
  json_object_set_int_member (object, "cpus", spec->cpus);
  add_string (object, "kernel", spec->kernel);
  add_string (object, "initrd", spec->initrd);
  add_string (object, "append", spec->append);
  for (guint i = 0; i < spec->disks->len; i++)
    json_array_add_object_element (disks, disk_to_json (spec->disks->pdata[i]));
  json_object_set_array_member (object, "disks", disks);
  add_string (object, "qemu", spec->qemu);
  add_string (object, "accel", spec->accel);
  add_string (object, "machine", spec->machine);
  add_string (object, "cpu", spec->cpu);
  for (guint i = 0; spec->extra[i] != NULL; i++)
    json_array_add_string_element (extra, spec->extra[i]);
  json_object_set_array_member (object, "extra", extra);
  return object;
}
