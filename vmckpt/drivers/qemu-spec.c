/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Completing a spec: everything that QEMU or this host would decide is decided here and written
 * down, so that the same guest can be built again elsewhere. */
#include "disk.h"
#include "kvm.h"
#include "qemu-session.h"

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
complete_machine (GuestSpec *spec, QmpClient *monitor, GError **error)
{
  g_autoptr (GError) cause = NULL;
  char *machine = qmp_resolve_machine (monitor, spec->machine, &cause);

  if (machine == NULL) {
    g_set_error (error, DRIVER_ERROR,
                 g_error_matches (cause, QMP_ERROR, QMP_ERROR_COMMAND) ? DRIVER_ERROR_INVALID
                                                                       : DRIVER_ERROR_FAILED,
                 "%s has no machine type '%s'", spec->qemu, spec->machine);
    return FALSE;
  }
  g_free (spec->machine);
  spec->machine = machine;
  return TRUE;
}

/* Appends ",name=value" for a property of an expanded CPU model. Properties that are off are left
 * out: "base" has none on. */
static void
add_property (GString *text, const char *name, JsonNode *value)
{
  GType type = JSON_NODE_HOLDS_VALUE (value) ? json_node_get_value_type (value) : G_TYPE_INVALID;

  if (type == G_TYPE_BOOLEAN && json_node_get_boolean (value))
    g_string_append_printf (text, ",%s=on", name);
  else if (type == G_TYPE_INT64)
    g_string_append_printf (text, ",%s=%" G_GINT64_FORMAT, name, json_node_get_int (value));
  else if (type == G_TYPE_STRING && *json_node_get_string (value) != '\0')
    g_string_append_printf (text, ",%s=%s", name, json_node_get_string (value));
}

/* "max" and "host" mean what this QEMU on this host can do, which is something else elsewhere: they
 * are replaced by the features that they stand for (query-cpu-model-expansion, static). */
static gboolean
expand_cpu (GuestSpec *spec, QmpClient *monitor, GError **error)
{
  g_autoptr (JsonObject) arguments = json_object_new();
  g_autoptr (GError) cause = NULL;
  g_autoptr (JsonNode) answer = NULL;
  JsonObject *model = json_object_new();

  json_object_set_string_member (model, "name", spec->cpu);
  json_object_set_string_member (arguments, "type", "static");
  json_object_set_object_member (arguments, "model", model);
  answer = qmp_client_execute (monitor, "query-cpu-model-expansion", g_steal_pointer (&arguments),
                               -1, 0, NULL, &cause);
  JsonObject *expanded = NULL;
  if (answer != NULL && JSON_NODE_HOLDS_OBJECT (answer))
    expanded = json_object_get_object_member (json_node_get_object (answer), "model");
  if (expanded == NULL || !json_object_has_member (expanded, "props")) {
    g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_FAILED,
                 "QEMU does not say what CPU model '%s' stands for here: %s", spec->cpu,
                 cause != NULL ? cause->message : "it gives no properties");
    return FALSE;
  }

  JsonObject *properties = json_object_get_object_member (expanded, "props");
  g_autoptr (GString) text = g_string_new (json_object_get_string_member (expanded, "name"));
  g_autoptr (GList) names = json_object_get_members (properties);
  for (GList *l = names; l != NULL; l = l->next)
    add_property (text, l->data, json_object_get_member (properties, l->data));
  g_free (spec->cpu);
  spec->cpu = g_string_free (g_steal_pointer (&text), FALSE);
  return TRUE;
}

static gboolean
complete_cpu (GuestSpec *spec, QmpClient *monitor, GError **error)
{
  if (spec->cpu == NULL)
    spec->cpu = g_strdup (g_str_equal (spec->accel, "kvm") ? CPU_KVM : CPU_TCG);
  if (g_str_equal (spec->cpu, "max") || g_str_equal (spec->cpu, "host"))
    return expand_cpu (spec, monitor, error);
  return TRUE;
}

gboolean
qemu_spec_complete (GuestSpec *spec, GError **error)
{
  ERROR_PREFIX (error, "guest %s", spec->name);
  g_auto (PrivateContext) home = private_context_push();
  g_auto (QemuSession) session = QEMU_SESSION_NONE;
  char *program;

  if (!check_file ("kernel", spec->kernel, error) || !check_file ("initrd", spec->initrd, error))
    return FALSE;
  for (guint i = 0; i < spec->disks->len; i++)
    if (!disk_measure (spec->disks->pdata[i], error))
      return FALSE;
  program = qemu_find_program (spec->qemu, error);
  if (program == NULL)
    return FALSE;
  g_free (spec->qemu);
  spec->qemu = program;
  if (!complete_accel (spec, error) ||
      !qemu_session_open (spec->qemu, spec->accel, &session, error) ||
      !complete_machine (spec, session.monitor, error) ||
      !complete_cpu (spec, session.monitor, error))
    return FALSE;
  if (spec->uuid == NULL)
    spec->uuid = g_uuid_string_random();
  if (spec->genid == NULL)
    spec->genid = g_uuid_string_random();
  return TRUE;
}
