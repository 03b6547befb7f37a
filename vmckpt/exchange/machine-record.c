/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "machine-record.h"

#include "memory-layout.h"

#include <vmckpt/drivers/qemu.h>
#include <vmckpt/util/json.h>

#include <string.h>

#define DEVICE_STATE_MAX (256u << 20)
#define MACHINE_TEXT_MAX (16u << 20)
#define MACHINE_DEPTH 32
#define BOOT_FILE_MAX (G_GUINT64_CONSTANT (2) << 30)
#define CPU_DEFAULT "qemu64-v1"

/* ---- Like another checkpoint ---- */

static void G_GNUC_PRINTF (2, 3) differ (GString *text, const char *format, ...)
{
  va_list args;

  va_start (args, format);
  if (text->len > 0)
    g_string_append (text, "; ");
  g_string_append_vprintf (text, format, args);
  va_end (args);
}

static void
compare_blocks (const Manifest *manifest, const Manifest *like, GString *differences)
{
  for (guint i = 0; i < manifest->parts->len; i++) {
    const ManifestPart *part = manifest->parts->pdata[i];
    const ManifestPart *former =
        g_str_equal (part->role, "ram") ? manifest_find_part (like, "ram", part->name) : part;
    if (former == NULL)
      differ (differences, "RAM block %s is in the file only", part->name);
    else if (former->map.length != part->map.length)
      differ (differences, "RAM block %s has %" G_GUINT64_FORMAT " bytes, not %" G_GUINT64_FORMAT,
              part->name, part->map.length, former->map.length);
  }
  for (guint i = 0; i < like->parts->len; i++) {
    const ManifestPart *part = like->parts->pdata[i];
    if (g_str_equal (part->role, "ram") && manifest_find_part (manifest, "ram", part->name) == NULL)
      differ (differences, "RAM block %s is missing", part->name);
  }
}

static gboolean
has_section (const VmState *state, const VmSection *wanted)
{
  for (guint i = 0; i < vmstate_length (state); i++) {
    const VmSection *section = vmstate_get (state, i);
    if (section->instance == wanted->instance && g_str_equal (section->name, wanted->name))
      return TRUE;
  }
  return FALSE;
}

static void
compare_sections (const VmState *a, const VmState *b, const char *where, GString *differences)
{
  for (guint i = 0; i < vmstate_length (a); i++) {
    const VmSection *section = vmstate_get (a, i);
    if (!has_section (b, section))
      differ (differences, "device %s is %s only", section->name, where);
  }
}

static void
compare_devices (Store *store, const Manifest *like, const VmState *state, GString *differences)
{
  const ManifestPart *part = manifest_find_part (like, "device-state", NULL);
  g_autoptr (GBytes) bytes =
      part != NULL ? store_read_data (store, &part->map, DEVICE_STATE_MAX, NULL) : NULL;
  g_autoptr (VmState) former = bytes != NULL ? vmstate_new (bytes, NULL) : NULL;

  if (former == NULL || state == NULL)
    return; /* QEMU itself will compare */
  compare_sections (state, former, "in the file", differences);
  compare_sections (former, state, "in the other checkpoint", differences);
}

/* A map with nothing put is its base, which the store now keeps for this writer. */
static gboolean
share_part (StoreWriter *writer, const Manifest *like, const char *role, Manifest *manifest,
            GError **error)
{
  const ManifestPart *former = manifest_find_part (like, role, NULL);
  g_autoptr (PageMapWriter) same = NULL;
  PageMap map;

  if (former == NULL)
    return TRUE;
  same = page_map_writer_new (writer, former->map.length, &former->map, error);
  if (same == NULL || !page_map_writer_finish (same, &map, NULL, error))
    return FALSE;
  manifest_add_part (manifest, role, "", &map);
  return TRUE;
}

static JsonObject *
copy_object (JsonObject *object, GError **error)
{
  g_autofree char *text = json_to_line (object);
  return json_parse_bounded (text, strlen (text), MACHINE_TEXT_MAX, MACHINE_DEPTH, error);
}

gboolean
machine_record_like (StoreWriter *writer, Store *store, const Manifest *like,
                     const StreamFacts *facts, Manifest *manifest, GError **error)
{
  g_autoptr (GString) differences = g_string_new (NULL);
  JsonObject *former = json_get_object (like->machine, "spec", error);
  const char *machine = former != NULL ? json_get_string_or (former, "machine", "?") : NULL;

  if (former == NULL)
    return FALSE;
  if (!g_str_equal (machine, facts->machine))
    differ (differences, "the machine type is %s, not %s", facts->machine, machine);
  compare_blocks (manifest, like, differences);
  compare_devices (store, like, facts->state, differences);
  if (differences->len > 0) {
    g_set_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_USAGE,
                 "the file is of another machine than checkpoint %.12s: %s", like->id,
                 differences->str);
    return FALSE;
  }
  manifest->machine = copy_object (like->machine, error);
  if (manifest->machine == NULL)
    return FALSE;
  JsonObject *spec = json_get_object (manifest->machine, "spec", NULL);
  json_object_set_string_member (spec, "name", manifest->guest);
  json_object_set_string_member (spec, "uuid", manifest->guest_uuid);
  return share_part (writer, like, "kernel", manifest, error) &&
         share_part (writer, like, "initrd", manifest, error);
}

/* ---- From a spec ---- */

static guint
count_cpus (const VmState *state)
{
  guint count = 0;

  for (guint i = 0; i < vmstate_length (state); i++)
    count += g_str_equal (vmstate_get (state, i)->name, "cpu");
  return count;
}

/* The type that the stream names must be the spec's, of which "q35" and "pc" leave the version
 * open. */
static gboolean
take_facts (GuestSpec *spec, const StreamFacts *facts, const Manifest *manifest, GError **error)
{
  const ManifestPart *ram = manifest_find_part (manifest, "ram", "pc.ram");
  gboolean open = g_str_equal (spec->machine, "q35") || g_str_equal (spec->machine, "pc");

  if (!open && !g_str_equal (spec->machine, facts->machine)) {
    g_set_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_USAGE,
                 "the file is of machine type %s, not %s", facts->machine, spec->machine);
    return FALSE;
  }
  g_free (spec->machine);
  spec->machine = g_strdup (facts->machine);
  if (ram != NULL)
    spec->ram_bytes = ram->map.length;
  if (facts->state != NULL && count_cpus (facts->state) > 0)
    spec->cpus = count_cpus (facts->state);
  return TRUE;
}

/* Adds @member to the record and the part of that role; a file that is not here is noted. */
static gboolean
store_file (StoreWriter *writer, const char *role, const char *path, JsonObject *machine,
            GPtrArray *notes, Manifest *manifest, GError **error)
{
  g_autoptr (GError) cause = NULL;
  g_autoptr (GMappedFile) file = path != NULL ? g_mapped_file_new (path, FALSE, &cause) : NULL;
  gsize len = file != NULL ? g_mapped_file_get_length (file) : 0;
  const guint8 *data = file != NULL ? (guint8 *)g_mapped_file_get_contents (file) : NULL;
  PageMap map;

  if (path == NULL)
    return TRUE;
  if (file == NULL || len == 0 || len > BOOT_FILE_MAX) {
    g_ptr_array_add (notes, g_strdup_printf ("the %s is not in the checkpoint: %s", role,
                                             cause != NULL ? cause->message : "its size is odd"));
    return TRUE;
  }
  if (!store_writer_put_data (writer, data, len, &map, error))
    return FALSE;
  g_autofree char *hash = g_compute_checksum_for_data (G_CHECKSUM_SHA256, data, len);
  JsonObject *record = json_object_new();
  json_object_set_string_member (record, "path", path);
  json_object_set_int_member (record, "size", len);
  json_object_set_string_member (record, "sha256", hash);
  json_object_set_object_member (machine, role, record);
  manifest_add_part (manifest, role, "", &map);
  return TRUE;
}

/* What this host cannot complete is left as it is and noted: the checkpoint can be exported, and
 * restored elsewhere. */
static void
complete (GuestSpec *spec, GPtrArray *notes)
{
  g_autoptr (GError) error = NULL;

  if (!qemu_spec_complete (spec, NULL, &error))
    g_ptr_array_add (
        notes, g_strdup_printf ("it cannot be restored on this host as it is: %s", error->message));
  if (spec->cpu == NULL)
    spec->cpu = g_strdup (CPU_DEFAULT);
  if (spec->genid == NULL)
    spec->genid = g_uuid_string_random();
  if (g_str_equal (spec->accel, "auto")) {
    g_free (spec->accel);
    spec->accel = g_strdup ("tcg");
  }
}

gboolean
machine_record_spec (StoreWriter *writer, GuestSpec *spec, const StreamFacts *facts,
                     GPtrArray *notes, Manifest *manifest, GError **error)
{
  JsonObject *cpu = NULL;

  if (!take_facts (spec, facts, manifest, error))
    return FALSE;
  complete (spec, notes);
  JsonObject *machine = manifest->machine = json_object_new();
  json_object_set_string_member (machine, "driver", "qemu");
  json_object_set_object_member (machine, "spec", guest_spec_to_json (spec));
  json_object_set_string_member (machine, "machine", spec->machine);
  json_object_set_string_member (machine, "accel", spec->accel);
  cpu = json_object_new();
  json_object_set_string_member (cpu, "model", spec->cpu);
  json_object_set_object_member (machine, "cpu", cpu);
  return store_file (writer, "kernel", spec->kernel, machine, notes, manifest, error) &&
         store_file (writer, "initrd", spec->initrd, machine, notes, manifest, error);
}
