/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Can this host restore that checkpoint? Every difference is found and named before anything
 * starts. */
#include <vmckpt/drivers/kvm.h>
#include <vmckpt/drivers/qemu.h>

#include "cpu-features.h"
#include "disk-image.h"
#include "disk.h"
#include "host.h"
#include "qemu-ask.h"
#include "qemu-session.h"

#include <vmckpt/drivers/disk-mark.h>
#include <vmckpt/qmp/commands.h>
#include <vmckpt/util/json.h>

#include <string.h>

/* What QEMU needs beside the guest's RAM. */
#define MEMORY_RESERVE (G_GUINT64_CONSTANT (64) << 20)
#define FEATURES_NAMED 8 /* how many missing CPU features a sentence lists */

/* Adds a sentence. */
static void G_GNUC_PRINTF (2, 3) complain (GPtrArray *sentences, const char *format, ...)
{
  va_list args;

  va_start (args, format);
  g_ptr_array_add (sentences, g_strdup_vprintf (format, args));
  va_end (args);
}

/* Stable releases (the third number) do not change what a migration stream holds. */
static void
check_version (JsonObject *machine, const QemuAnswers *here, GPtrArray *sentences)
{
  JsonObject *was = json_get_object (machine, "qemu", NULL);
  guint64 major = was != NULL ? json_get_uint64_or (was, "major", 0) : 0;
  guint64 minor = was != NULL ? json_get_uint64_or (was, "minor", 0) : 0;

  if (here->major < major || (here->major == major && here->minor < minor))
    complain (sentences,
              "QEMU is %u.%u.%u here and was %s when the checkpoint was taken: an older QEMU "
              "does not load it",
              here->major, here->minor, here->micro, json_get_string_or (was, "version", "newer"));
}

static void
check_machine (GuestSpec *spec, const QemuAnswers *answers, GPtrArray *sentences)
{
  g_autofree char *ram_id = NULL;
  g_autofree char *machine = qmp_find_machine (answers->machines, spec->machine, &ram_id);

  if (machine == NULL)
    complain (sentences, "machine type %s is unknown to %s", spec->machine, spec->qemu);
  /* Records of guests that had no such block yet do not name it. */
  if (spec->ram_id == NULL)
    spec->ram_id = g_steal_pointer (&ram_id);
}

/* The accelerator must be the recorded one: a guest that found other CPU features, or other clocks,
 * than those it was started with would break. @spec gets it. */
static void
check_accel (JsonObject *machine, GuestSpec *spec, GPtrArray *sentences)
{
  const char *was = json_get_string_or (machine, "accel", "tcg");
  g_autofree char *reason = NULL;

  if (!g_str_equal (spec->accel, "auto") && !g_str_equal (spec->accel, was))
    complain (sentences, "the guest ran with %s and cannot go on with %s", was, spec->accel);
  else if (g_str_equal (was, "kvm") && !kvm_usable (&reason))
    complain (sentences, "the guest ran with KVM, which is not usable here (%s)", reason);
  g_free (spec->accel);
  spec->accel = g_strdup (was);
}

static void
check_cpu (JsonObject *machine, const QemuAnswers *answers, GPtrArray *sentences)
{
  JsonObject *cpu = json_get_object (machine, "cpu", NULL);
  JsonArray *was = cpu != NULL ? json_get_array (cpu, "features", NULL) : NULL;
  g_autoptr (GString) missing = g_string_new (NULL);
  guint count = 0;

  if (answers->cpu == NULL) {
    complain (sentences, "%s", answers->cpu_error->message);
    return;
  }
  g_auto (GStrv) here = cpu_model_features (answers->cpu);
  for (guint i = 0; was != NULL && i < json_array_get_length (was); i++) {
    const char *name = json_node_get_string (json_array_get_element (was, i));
    if (name == NULL || g_strv_contains ((const char *const *)here, name))
      continue;
    if (count++ < FEATURES_NAMED)
      g_string_append_printf (missing, "%s%s", missing->len > 0 ? ", " : "", name);
  }
  if (count > 0)
    complain (sentences, "%u CPU feature%s of the guest %s missing here: %s%s", count,
              count == 1 ? "" : "s", count == 1 ? "is" : "are", missing->str,
              count > FEATURES_NAMED ? ", …" : "");
}

static void
check_memory (guint64 needed, GPtrArray *sentences)
{
  guint64 available = host_memory_available();

  if (available != 0 && available < needed + MEMORY_RESERVE)
    complain (sentences,
              "%" G_GUINT64_FORMAT " MiB of memory are needed and %" G_GUINT64_FORMAT
              " MiB are available",
              (needed + MEMORY_RESERVE) >> 20, available >> 20);
}

/* Older records do not say what is behind an image. */
static void
complete_disk (GuestDisk *disk, GPtrArray *sentences)
{
  g_autoptr (GError) error = NULL;

  if (g_strcmp0 (disk->format, "qcow2") == 0 && disk->virtual_size == 0 &&
      !disk_image_read (disk, &error))
    complain (sentences, "%s", error->message);
}

/* A disk that is there may still not be what the guest left. */
static void
check_disk (JsonObject *machine, GuestDisk *disk, const QemuPreflight *wish, GPtrArray *sentences)
{
  g_autofree char *difference = NULL;

  if (disk->mode == DISK_CAPTURE) { /* it comes with the checkpoint */
    if (wish->disks_are_here)
      complete_disk (disk, sentences);
    return;
  }
  difference = disk_compare (disk);
  if (difference == NULL && !wish->accept_changed_disks) {
    difference = disk_mark_compare (machine, disk, qemu_facts_hashes (wish->facts));
    if (difference != NULL)
      complain (sentences, "%s (--accept-changed-disks goes on with it as it is)", difference);
  } else if (difference != NULL) {
    complain (sentences, "%s", difference);
    return;
  }
  complete_disk (disk, sentences);
}

static void
check_files (JsonObject *machine, const GuestSpec *spec, const QemuPreflight *wish,
             GPtrArray *sentences)
{
  if (spec->kernel != NULL && !g_file_test (spec->kernel, G_FILE_TEST_IS_REGULAR))
    complain (sentences, "kernel '%s' is not here", spec->kernel);
  if (spec->initrd != NULL && !g_file_test (spec->initrd, G_FILE_TEST_IS_REGULAR))
    complain (sentences, "initrd '%s' is not here", spec->initrd);
  for (guint i = 0; i < spec->disks->len; i++)
    check_disk (machine, spec->disks->pdata[i], wish, sentences);
}

/* Everything that QEMU itself must be asked. */
static void
check_qemu (JsonObject *machine, GuestSpec *spec, QemuFacts *facts, GPtrArray *sentences)
{
  g_auto (QemuAnswers) answers = { 0 };
  g_autoptr (GError) error = NULL;
  char *program = qemu_find_program (spec->qemu, &error);

  if (program == NULL || !qemu_ask (facts, program, spec->accel, spec->cpu, &answers, &error)) {
    complain (sentences, "%s", error->message);
    g_free (program);
    return;
  }
  g_free (spec->qemu);
  spec->qemu = program;
  check_version (machine, &answers, sentences);
  check_machine (spec, &answers, sentences);
  check_cpu (machine, &answers, sentences);
}

gboolean
qemu_preflight (JsonObject *machine, GuestSpec *spec, const QemuPreflight *wish, GError **error)
{
  g_autoptr (GPtrArray) sentences = g_ptr_array_new_with_free_func (g_free);
  const char *driver = json_get_string_or (machine, "driver", "unknown");

  if (!g_str_equal (driver, "qemu")) {
    g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE,
                 "the checkpoint was taken by the driver '%s', which this version does not have",
                 driver);
    return FALSE;
  }
  if (spec->cpu == NULL || spec->uuid == NULL || spec->genid == NULL) {
    g_set_error_literal (error, DRIVER_ERROR, DRIVER_ERROR_INVALID,
                         "the record of the guest lacks its CPU model, uuid or genid");
    return FALSE;
  }
  check_accel (machine, spec, sentences);
  /* Under an accelerator that is not there QEMU says nothing. */
  if (sentences->len == 0)
    check_qemu (machine, spec, wish->facts, sentences);
  check_memory (wish->ram_needed, sentences);
  check_files (machine, spec, wish, sentences);
  if (sentences->len == 0)
    return TRUE;

  g_ptr_array_add (sentences, NULL);
  g_autofree char *text = g_strjoinv ("; ", (char **)sentences->pdata);
  g_set_error_literal (error, DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE, text);
  return FALSE;
}
