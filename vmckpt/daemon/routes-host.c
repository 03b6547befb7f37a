/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /v1/host: what another host asks first. */
#include "router.h"

static JsonObject *
show_host (Request *request, GError **error)
{
  const Runtime *runtime = request->daemon->runtime;
  g_autofree char *machine = process_machine_id();
  JsonObject *result = json_object_new();

  json_object_set_string_member (result, "name", "vmckptd");
  json_object_set_string_member (result, "version", VMCKPT_VERSION);
  json_object_set_string_member (result, "host", runtime->host);
  json_object_set_string_member (result, "boot_id", runtime->boot_id);
  if (machine != NULL)
    json_object_set_string_member (result, "machine", machine);
  else
    json_object_set_null_member (result, "machine");
  return result;
}

const Route host_routes[] = {
  { "GET", "/v1/host", show_host, NULL, FALSE, TRUE },
  { NULL },
};
