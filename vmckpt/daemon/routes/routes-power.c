/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /v1/suspend, /v1/resume: all guests of this host, before and after the power goes. */
#include "api-error.h"
#include "power.h"
#include "router.h"

#include <vmckpt/policy/schedule.h>
#include <vmckpt/util/json.h>

#define MAX_PARALLEL 256

gboolean
power_parse_time (Request *request, const char *member, gint64 *us, GError **error)
{
  const char *text = NULL;
  g_autoptr (GError) cause = NULL;

  if (!request_string (request, member, &text, error))
    return FALSE;
  if (text == NULL)
    return TRUE;
  if (g_str_equal (text, "0") || g_str_equal (text, "0s")) {
    *us = 0;
    return TRUE;
  }
  if (schedule_parse_time (text, us, &cause))
    return TRUE;
  g_set_error (error, API_ERROR, API_USAGE, "%s: %s", member, cause->message);
  return FALSE;
}

/* A number of at least 1; absent or null leaves @value as it is. */
static gboolean
parse_number (Request *request, const char *member, guint64 max, guint64 *value, GError **error)
{
  g_autoptr (GError) cause = NULL;
  guint64 number;

  if (!json_object_has_member (request->body, member) ||
      json_object_get_null_member (request->body, member))
    return TRUE;
  if (json_get_uint64 (request->body, member, &number, &cause) && number >= 1 && number <= max) {
    *value = number;
    return TRUE;
  }
  g_set_error (error, API_ERROR, API_USAGE,
               "%s: a number from 1 to %" G_GUINT64_FORMAT " is wanted", member, max);
  return FALSE;
}

/* What both have: order, parallel, driver. */
static gboolean
parse_common (Request *request, PowerOrder *order, guint *parallel, const char **driver,
              GError **error)
{
  static const char *const drivers[] = { "qemu", "libvirt", NULL };
  const char *order_name = "priority";
  guint index, driver_index;
  guint64 count = 0;

  if (!request_string (request, "order", &order_name, error) ||
      !request_choice ("order", order_name, power_order_names, &index, error) ||
      !parse_number (request, "parallel", MAX_PARALLEL, &count, error) ||
      !request_string (request, "driver", driver, error) ||
      (*driver != NULL && !request_choice ("driver", *driver, drivers, &driver_index, error)))
    return FALSE;
  *order = index;
  *parallel = count;
  return TRUE;
}

static JsonObject *
suspend_all (Request *request, GError **error)
{
  static const char *const fallbacks[] = {
    [POWER_LEAVE] = "leave", [POWER_SHUTDOWN] = "shutdown", NULL
  };
  PowerSuspend wish = { 0 };
  const char *fallback = "leave";
  guint index;

  if (!request_expect (request, error, "driver", "order", "parallel", "memory_limit", "rate",
                       "deadline", "fallback", "tag", "note", NULL) ||
      !parse_common (request, &wish.order, &wish.parallel, &wish.driver, error) ||
      !parse_number (request, "memory_limit", G_MAXINT64, &wish.memory_limit, error) ||
      !parse_number (request, "rate", G_MAXINT64, &wish.rate, error) ||
      !power_parse_time (request, "deadline", &wish.deadline_us, error) ||
      !request_string (request, "fallback", &fallback, error) ||
      !request_choice ("fallback", fallback, fallbacks, &index, error) ||
      !request_string (request, "tag", &wish.tag, error) ||
      !request_string (request, "note", &wish.note, error))
    return NULL;
  wish.fallback = index;
  return power_suspend_all (request, &wish, error);
}

static JsonObject *
resume_all (Request *request, GError **error)
{
  PowerResume wish = { .sync_time = TRUE };

  if (!request_expect (request, error, "driver", "order", "parallel", "start_delay", "last", "lost",
                       "sync_time", "take_over", NULL) ||
      !parse_common (request, &wish.order, &wish.parallel, &wish.driver, error) ||
      !power_parse_time (request, "start_delay", &wish.start_delay_us, error) ||
      !request_bool (request, "last", &wish.last, error) ||
      !request_bool (request, "lost", &wish.lost, error) ||
      !request_bool (request, "sync_time", &wish.sync_time, error) ||
      !request_bool (request, "take_over", &wish.take_over, error))
    return NULL;
  return power_resume_all (request, &wish, error);
}

const Route power_routes[] = {
  { "POST", "/v1/suspend", suspend_all, NULL, TRUE },
  { "POST", "/v1/resume", resume_all, NULL, TRUE },
  { NULL },
};
