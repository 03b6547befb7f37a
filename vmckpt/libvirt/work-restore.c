/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A domain from a save image that is being written, and whether this host's CPU is good for it. */
#include "work.h"

#include <vmckpt/util/json.h>

#include <libvirt/virterror.h>
#include <unistd.h>

/*
 * libvirt's daemon opens what this process has open, reads it from front to back, and gives it on
 * to QEMU. If whoever writes goes away before the end, QEMU refuses what it got, and libvirt leaves
 * no domain and the definition that there was. Our own end of the pipe stays open until it is done,
 * so that the writer is told of a failure by a broken pipe only then.
 */
JsonObject *
work_restore (Work *work, GError **error)
{
  const gboolean paused = json_get_bool_or (work->request->members, "paused", FALSE);
  g_autofree char *path = g_strdup_printf ("/proc/%d/fd/%d", (int)getpid(), work->fd);

  if (virDomainRestoreFlags (work->conn, path, NULL,
                             paused ? VIR_DOMAIN_SAVE_PAUSED : VIR_DOMAIN_SAVE_RUNNING) < 0)
    return work_error (work, error);
  return json_object_new();
}

/* libvirt has nothing to compare with: no answer is no reason to refuse. */
static gboolean
cannot_compare (void)
{
  switch (virGetLastErrorCode()) {
  case VIR_ERR_NO_SUPPORT:
  case VIR_ERR_OPERATION_UNSUPPORTED:
  case VIR_ERR_CONFIG_UNSUPPORTED:
  case VIR_ERR_ARGUMENT_UNSUPPORTED:
    return TRUE;
  default:
    return FALSE;
  }
}

JsonObject *
work_compare_cpu (Work *work, GError **error)
{
  JsonObject *members = work->request->members;
  const char *cpu = request_text (work->request, "cpu", error);
  JsonObject *result;
  int comparison;

  if (cpu == NULL)
    return NULL;
  comparison = virConnectCompareHypervisorCPU (
      work->conn, json_get_string_or (members, "emulator", NULL),
      json_get_string_or (members, "arch", NULL), json_get_string_or (members, "machine", NULL),
      json_get_string_or (members, "type", NULL), cpu, VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE);
  if (comparison == VIR_CPU_COMPARE_ERROR && virGetLastErrorCode() == VIR_ERR_CPU_INCOMPATIBLE)
    comparison = VIR_CPU_COMPARE_INCOMPATIBLE;
  else if (comparison == VIR_CPU_COMPARE_ERROR && !cannot_compare())
    return work_error (work, error);
  result = json_object_new();
  if (comparison == VIR_CPU_COMPARE_ERROR)
    json_object_set_null_member (result, "compatible");
  else
    json_object_set_boolean_member (result, "compatible",
                                    comparison != VIR_CPU_COMPARE_INCOMPATIBLE);
  json_set_string_or_null (result, "reason",
                           comparison <= VIR_CPU_COMPARE_INCOMPATIBLE ? virGetLastErrorMessage()
                                                                      : NULL);
  return result;
}
