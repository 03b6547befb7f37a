/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/util/process-json.h>

#include <vmckpt/util/json.h>

void
process_json_add (JsonObject *object, const char *member, ProcessId id)
{
  JsonObject *process = json_object_new();

  json_object_set_int_member (process, "pid", id.pid);
  json_object_set_int_member (process, "start_ticks", (gint64)id.start_ticks);
  json_object_set_object_member (object, member, process);
}

gboolean
process_json_get (JsonObject *object, const char *member, ProcessId *id, GError **error)
{
  JsonObject *process = json_get_object (object, member, error);
  guint64 pid;

  if (process == NULL || !json_get_uint64 (process, "pid", &pid, error) ||
      !json_get_uint64 (process, "start_ticks", &id->start_ticks, error))
    return FALSE;
  id->pid = (pid_t)MIN (pid, G_MAXINT32);
  return TRUE;
}
