/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "guest-clock.h"

#include <vmckpt/qmp/guest-agent.h>
#include <vmckpt/util/json.h>

#include <math.h>

#define CONNECT_MS 15000 /* its memory may still be on the way when it is asked first */
#define ANSWER_MS 5000
#define SKEW_MIN_US 100000 /* less is within what the answer takes */

/* How far it is ahead of the host's, as of the middle of the question. */
static gboolean
measure (GuestAgent *agent, gint64 *skew_us, GError **error)
{
  gint64 asked_us = g_get_real_time();
  gint64 guest_us;

  if (!guest_agent_get_time (agent, ANSWER_MS, &guest_us, error))
    return FALSE;
  *skew_us = guest_us - (asked_us + (g_get_real_time() - asked_us) / 2);
  return TRUE;
}

/* Why nobody can be asked, newly allocated; NULL if somebody can. */
static char *
why_not (Guest *guest)
{
  if (!guest_spec (guest)->agent)
    return g_strdup ("no agent: the guest has no port for one");
  if (guest_state (guest) != GUEST_RUNNING)
    return g_strdup ("the guest does not run");
  return NULL;
}

JsonObject *
guest_clock_sync (Guest *guest, gboolean set, GCancellable *cancellable)
{
  g_autofree char *path = g_build_filename (guest_directory (guest), GUEST_FILE_AGENT, NULL);
  g_autofree char *note = why_not (guest);
  g_autoptr (GError) error = NULL;
  g_autoptr (GuestAgent) agent =
      note == NULL ? guest_agent_connect (path, CONNECT_MS, cancellable, &error) : NULL;
  gint64 skew_us = 0;
  gboolean known = agent != NULL && measure (agent, &skew_us, &error);
  gboolean is_set = known && set && ABS (skew_us) >= SKEW_MIN_US &&
                    guest_agent_set_time (agent, ANSWER_MS, g_get_real_time(), &error);
  JsonObject *clock = json_object_new();

  if (error != NULL)
    note = g_strdup_printf ("%s%s", known ? "it cannot be set: " : "no agent: ", error->message);
  if (known)
    json_object_set_double_member (clock, "skew_ms", round ((double)skew_us / 100) / 10);
  else
    json_object_set_null_member (clock, "skew_ms");
  json_object_set_boolean_member (clock, "set", is_set);
  json_set_string_or_null (clock, "note", note);
  return clock;
}
