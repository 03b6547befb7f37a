/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Completing a spec: everything that QEMU or this host would decide is decided here and written
 * down, so that the same guest can be built again elsewhere. */
#include "cpu-features.h"
#include "disk.h"
#include "extra-disks.h"
#include "qemu-ask.h"
#include "qemu-session.h"

#include <vmckpt/drivers/kvm.h>
#include <vmckpt/drivers/qemu-disk.h>
#include <vmckpt/qmp/commands.h>
#include <vmckpt/util/error.h>

#include <string.h>

/* README.md says why these. */
#define CPU_TCG "qemu64-v1"
#define CPU_KVM "Nehalem-v1"

static gboolean
check_file (const char *what, const char *path, GError **error)
{
  if (path == NULL || g_file_test (path, G_FILE_TEST_IS_REGULAR))
    return TRUE;
  g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_NOT_FOUND, "the %s '%s' is not there", what, path);
  return FALSE;
}

static gboolean
complete_accel (GuestSpec *spec, GError **error)
{
  g_autofree char *reason = NULL;
  gboolean kvm = !g_str_equal (spec->accel, "tcg") && kvm_usable (&reason);

  if (g_str_equal (spec->accel, "kvm") && !kvm) {
    g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE,
                 "KVM is not usable on this host (%s); --accel tcg works", reason);
    return FALSE;
  }
  g_free (spec->accel);
  spec->accel = g_strdup (kvm ? "kvm" : "tcg");
  return TRUE;
}

static gboolean
complete_machine (GuestSpec *spec, const QemuAnswers *answers, GError **error)
{
  g_autofree char *ram_id = NULL;
  char *machine = qmp_find_machine (answers->machines, spec->machine, &ram_id);

  if (machine == NULL) {
    g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_INVALID, "%s has no machine type '%s'",
                 spec->qemu, spec->machine);
    return FALSE;
  }
  g_free (spec->machine);
  spec->machine = machine;
  g_free (spec->ram_id);
  spec->ram_id = g_steal_pointer (&ram_id);
  return TRUE;
}

static gboolean
complete_cpu (GuestSpec *spec, QemuAnswers *answers, GError **error)
{
  /* Expanding also finds a name that QEMU does not know before a guest is started with it. */
  if (answers->cpu == NULL) {
    g_propagate_error (error, g_steal_pointer (&answers->cpu_error));
    return FALSE;
  }
  /* "max" and "host" mean what this QEMU on this host can do, which is something else elsewhere. */
  if (cpu_is_unportable (spec->cpu)) {
    g_free (spec->cpu);
    spec->cpu = cpu_model_to_text (answers->cpu);
  }
  return TRUE;
}

/* Options that the spec has members for, and those that take QEMU out of its keeper's hands. */
static const struct {
  const char *option;
  const char *instead;
} refused[] = {
  { "m", "give the size as ram (--ram); only slots=N,maxmem=SIZE may be given here" },
  { "smp", "give the number as cpus (--cpus)" },
  { "machine", "give the type as machine" },
  { "M", "give the type as machine" },
  { "accel", "give it as accel (--accel)" },
  { "enable-kvm", "give it as accel (--accel)" },
  { "uuid", "give it as uuid" },
  { "incoming", "restore a checkpoint instead" },
  { "loadvm", "restore a checkpoint instead" },
  { "daemonize", "vmckpt puts QEMU in the background itself" },
};

/* The option's name without its dashes, of which QEMU takes one or two; NULL if it is none. */
static const char *
option_name (const char *argument)
{
  if (argument[0] != '-')
    return NULL;
  return argument[1] == '-' ? argument + 2 : argument + 1;
}

/* TRUE if @value, of an argument -m, only makes room for memory that is plugged in later: QEMU
 * takes it together with the size that it gets from the spec. */
static gboolean
is_room_for_memory (const char *value)
{
  g_auto (GStrv) parts = g_strsplit (value != NULL ? value : "", ",", -1);

  for (guint i = 0; parts[i] != NULL; i++)
    if (!g_str_has_prefix (parts[i], "slots=") && !g_str_has_prefix (parts[i], "maxmem="))
      return FALSE;
  return parts[0] != NULL;
}

/* Extra arguments go to QEMU as they are, but must not contradict what is recorded: a -cpu becomes
 * the spec's model, and what would build another machine than the spec says is refused. */
static gboolean
take_extra (GuestSpec *spec, GError **error)
{
  g_autoptr (GPtrArray) kept = g_ptr_array_new_with_free_func (g_free);

  for (guint i = 0; spec->extra[i] != NULL; i++) {
    const char *name = option_name (spec->extra[i]);
    if (g_strcmp0 (name, "m") == 0 && is_room_for_memory (spec->extra[i + 1]))
      name = NULL;
    for (guint j = 0; name != NULL && j < G_N_ELEMENTS (refused); j++)
      if (g_str_equal (name, refused[j].option)) {
        g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_INVALID,
                     "%s among the arguments for QEMU: %s", spec->extra[i], refused[j].instead);
        return FALSE;
      }
    if (g_strcmp0 (name, "cpu") == 0 && spec->extra[i + 1] != NULL) {
      g_free (spec->cpu);
      spec->cpu = g_strdup (spec->extra[++i]);
    } else {
      g_ptr_array_add (kept, g_strdup (spec->extra[i]));
    }
  }
  g_ptr_array_add (kept, NULL);
  g_strfreev (spec->extra);
  spec->extra = (GStrv)g_ptr_array_free (g_steal_pointer (&kept), FALSE);
  return TRUE;
}

static gboolean
check_extra_disks (const GuestSpec *spec, GError **error)
{
  g_autofree char *found = extra_disks_find ((const char *const *)spec->extra);

  if (found == NULL)
    return TRUE;
  g_set_error_literal (error, DRIVER_ERROR, DRIVER_ERROR_INVALID, found);
  return FALSE;
}

/* TRUE if @value ("type,id=ID,…") has that id. */
static gboolean
has_id (const char *value, const char *id)
{
  g_auto (GStrv) parts = g_strsplit (value, ",", -1);
  g_autofree char *part = g_strconcat ("id=", id, NULL);

  return g_strv_contains ((const char *const *)parts, part);
}

char *
qemu_spec_own_memory (const GuestSpec *spec)
{
  for (guint i = 0; spec->extra[i] != NULL; i++) {
    const char *name = option_name (spec->extra[i]);
    const char *value = spec->extra[i + 1] != NULL ? spec->extra[i + 1] : "";

    if (name == NULL)
      continue;
    if (g_str_equal (name, "mem-path") || g_str_equal (name, "mem-prealloc"))
      return g_strdup_printf ("%s says how QEMU makes the RAM", spec->extra[i]);
    if (g_str_equal (name, "numa") && strstr (value, "memdev=") != NULL)
      return g_strdup_printf ("%s %s makes the RAM of several pieces", spec->extra[i], value);
    if (g_str_equal (name, "object") && spec->ram_id != NULL &&
        g_str_has_prefix (value, "memory-backend") && has_id (value, spec->ram_id))
      return g_strdup_printf ("%s %s takes the name of the RAM", spec->extra[i], value);
  }
  return NULL;
}

static gboolean
check_memory (const GuestSpec *spec, GError **error)
{
  g_autofree char *own = qemu_spec_shares_memory (spec) ? qemu_spec_own_memory (spec) : NULL;

  if (own == NULL)
    return TRUE;
  g_set_error (
      error, DRIVER_ERROR, DRIVER_ERROR_INVALID,
      "%s among the arguments for QEMU, but vmckpt makes it, to see what is written there: "
      "leave that out, or give the memory as private (--memory private)",
      own);
  return FALSE;
}

gboolean
qemu_spec_complete (GuestSpec *spec, QemuFacts *facts, GError **error)
{
  ERROR_PREFIX (error, "guest %s", spec->name);
  g_auto (QemuAnswers) answers = { 0 };
  char *program;

  if (!take_extra (spec, error) || !check_extra_disks (spec, error) ||
      !check_file ("kernel", spec->kernel, error) || !check_file ("initrd", spec->initrd, error) ||
      !guest_disks_name (spec->disks, error))
    return FALSE;
  for (guint i = 0; i < spec->disks->len; i++)
    if (!disk_measure (spec->disks->pdata[i], error))
      return FALSE;
  program = qemu_find_program (spec->qemu, error);
  if (program == NULL)
    return FALSE;
  g_free (spec->qemu);
  spec->qemu = program;
  if (!complete_accel (spec, error))
    return FALSE;
  if (spec->cpu == NULL)
    spec->cpu = g_strdup (g_str_equal (spec->accel, "kvm") ? CPU_KVM : CPU_TCG);
  if (!qemu_ask (facts, spec->qemu, spec->accel, spec->cpu, &answers, error) ||
      !complete_machine (spec, &answers, error) || !qemu_disk_check (spec, error) ||
      !complete_cpu (spec, &answers, error) || !check_memory (spec, error))
    return FALSE;
  if (spec->uuid == NULL)
    spec->uuid = g_uuid_string_random();
  if (spec->genid == NULL)
    spec->genid = g_uuid_string_random();
  return TRUE;
}
