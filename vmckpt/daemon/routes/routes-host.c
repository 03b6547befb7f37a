/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /v1/host, /v1/drain: what another host asks first; a host for maintenance. */
#include "api-error.h"
#include "drain.h"
#include "router.h"

#include <vmckpt/util/json.h>

#define MAX_PARALLEL 64

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
  json_object_set_boolean_member (result, "drained",
                                  registry_is_drained (request->daemon->registry));
  return result;
}

static JsonObject *
drain (Request *request, GError **error)
{
  DrainWish wish = { 0 };
  guint64 parallel = 0;

  if (!request_expect (request, error, "to", "suspend", "parallel", NULL) ||
      !request_string (request, "to", &wish.to, error) ||
      !request_bool (request, "suspend", &wish.suspend, error))
    return NULL;
  if (json_object_has_member (request->body, "parallel") &&
      !json_object_get_null_member (request->body, "parallel") &&
      (!json_get_uint64 (request->body, "parallel", &parallel, NULL) || parallel == 0 ||
       parallel > MAX_PARALLEL)) {
    g_set_error (error, API_ERROR, API_USAGE, "parallel: a number from 1 to %d is wanted",
                 MAX_PARALLEL);
    return NULL;
  }
  wish.parallel = (guint)parallel;
  return drain_host (request, &wish, error);
}

static JsonObject *
undo (Request *request, GError **error)
{
  return drain_undo (request->daemon, error) ? json_object_new() : NULL;
}

const Route host_routes[] = {
  { "POST", "/v1/drain", drain, NULL, TRUE, FALSE },
  { "DELETE", "/v1/drain", undo, NULL, FALSE, FALSE },
  { "GET", "/v1/host", show_host, NULL, FALSE, TRUE },
  { NULL },
};
