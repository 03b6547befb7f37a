/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /v1/migrations: guests that come here from other hosts, and what their source says. */
#include "api-error.h"
#include "arrive-store.h"
#include "migrate-in.h"
#include "migrate-out.h"
#include "router.h"
#include "schedule-move.h"

#include <vmckpt/util/json.h>

static JsonObject *
describe (Request *request, ArrivalState state, const GError *reason)
{
  JsonObject *result = json_object_new();
  g_autofree char *records = arrivals_records (request->daemon->arrivals, NULL);

  json_object_set_string_member (result, "id", request->params[0]);
  json_object_set_string_member (result, "state", arrival_state_name (state));
  json_set_string_or_null (result, "records", records);
  json_set_string_or_null (result, "reason", reason != NULL ? reason->message : NULL);
  return result;
}

static JsonObject *
show (Request *request, GError **error)
{
  return describe (request, arrivals_state (request->daemon->arrivals, request->params[0]), NULL);
}

static JsonObject *
go (Request *request, GError **error)
{
  g_autoptr (GError) reason = NULL;

  if (!request_expect (request, error, NULL))
    return NULL;
  ArrivalState state = arrivals_go (request->daemon->arrivals, request->params[0], &reason);
  return describe (request, state, reason);
}

/* Of a guest that comes through a store: the checkpoint by which it comes. */
static JsonObject *
tell_checkpoint (Request *request, GError **error)
{
  const char *checkpoint = NULL;
  g_autoptr (GError) reason = NULL;

  if (!request_expect (request, error, "checkpoint", NULL) ||
      !request_string (request, "checkpoint", &checkpoint, error))
    return NULL;
  if (checkpoint == NULL) {
    g_set_error_literal (error, API_ERROR, API_USAGE, "checkpoint: an id is wanted");
    return NULL;
  }
  ArrivalState state =
      arrivals_tell (request->daemon->arrivals, request->params[0], checkpoint, &reason);
  JsonObject *result = describe (request, state, reason);
  json_object_set_double_member (result, "read_ms",
                                 arrivals_read_ms (request->daemon->arrivals, request->params[0]));
  return result;
}

static JsonObject *
receive (Request *request, GError **error)
{
  const char *way = "live";

  if (!request_string (request, "way", &way, error))
    return NULL;
  if (g_str_equal (way, "store"))
    return arrive_store (request, error);
  if (g_str_equal (way, "live"))
    return migrate_in (request, error);
  g_set_error (error, API_ERROR, API_NOT_POSSIBLE, "way: guests cannot come here by '%.64s'", way);
  return NULL;
}

static JsonObject *
end (Request *request, GError **error)
{
  if (!request_expect (request, error, NULL))
    return NULL;
  return describe (request, arrivals_end (request->daemon->arrivals, request->params[0]), NULL);
}

static JsonObject *
forget (Request *request, GError **error)
{
  JsonObject *result = json_object_new();

  arrivals_forget (request->daemon->arrivals, request->params[0]);
  json_object_set_string_member (result, "id", request->params[0]);
  return result;
}

const Route migrate_routes[] = {
  { "POST", "/v1/guests/:name/migrate", migrate_out, NULL, TRUE, FALSE },
  { "POST", "/v1/migrations", receive, NULL, TRUE, TRUE },
  { "POST", "/v1/migrations/:id/checkpoint", tell_checkpoint, NULL, FALSE, TRUE },
  { "GET", "/v1/migrations/:id", show, NULL, FALSE, TRUE },
  { "POST", "/v1/migrations/:id/go", go, NULL, FALSE, TRUE },
  { "POST", "/v1/migrations/:id/end", end, NULL, FALSE, TRUE },
  { "POST", "/v1/migrations/:id/written", migrate_in_written, NULL, FALSE, TRUE },
  { "POST", "/v1/migrations/:id/schedules", schedules_arrive, NULL, FALSE, TRUE },
  { "DELETE", "/v1/migrations/:id", forget, NULL, FALSE, TRUE },
  { NULL },
};
