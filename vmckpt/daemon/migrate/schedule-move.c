/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "schedule-move.h"

#include "api-error.h"
#include "peer-spec.h"
#include "schedules.h"

#include <vmckpt/util/json.h>

#define ATTEMPTS 5
#define ATTEMPT_US G_USEC_PER_SEC
#define SILENCE_MS 10000 /* it opens the store */

/* ---- The source ---- */

/* Said again while it is not known whether it was heard: who has it already says so. */
static gboolean
say (Peer *peer, const char *path, JsonObject *order, guint attempts, GError **error)
{
  const PeerListener listener = { .silence_ms = SILENCE_MS };

  for (guint i = 0;; i++) {
    g_autoptr (GError) cause = NULL;
    g_autoptr (JsonObject) answer = peer_call (peer, "POST", path, order, &listener, &cause);
    if (answer != NULL)
      return TRUE;
    if (i + 1 >= attempts || cause->domain == API_ERROR) {
      g_propagate_error (error, g_steal_pointer (&cause));
      return FALSE;
    }
    g_usleep (ATTEMPT_US);
  }
}

static void
tell (Guest *guest, const ScheduleMove *move, const char *text)
{
  if (move != NULL && move->message != NULL)
    move->message (text, move->user_data);
  else
    g_message ("guest %s: %s", guest_name (guest), text);
}

void
schedules_move (Daemon *daemon, Guest *guest, Peer *peer, const ScheduleMove *move)
{
  g_autoptr (GPtrArray) runs = schedules_of (daemon->schedules, guest);
  g_autoptr (Departure) departure = guest_departure (guest);

  guint attempts = ATTEMPTS;

  for (guint i = 0; departure != NULL && i < runs->len; i++) {
    ScheduleRun *run = runs->pdata[i];
    g_autofree char *path = g_strdup_printf ("/v1/migrations/%s/schedules", departure->id);
    g_autoptr (JsonObject) order =
        schedule_run_hand_over (daemon->schedules, run, move != NULL ? move->store_here : NULL,
                                move != NULL ? move->store_there : NULL);
    g_autoptr (GError) error = NULL;
    /* A host that is silent is not waited for once for each. */
    if (!say (peer, path, order, attempts, &error) && error->domain != API_ERROR)
      attempts = 1;
    schedule_run_gone (daemon->schedules, run, departure->to, error);
    g_autofree char *text =
        error == NULL
            ? g_strdup_printf ("its %s go on at %s", schedule_run_text (run), departure->to)
            : g_strdup_printf ("its %s do not go on at %s: %s", schedule_run_text (run),
                               departure->to, error->message);
    tell (guest, move, text);
  }
}

void
schedules_leave (Daemon *daemon, Guest *guest, const char *to)
{
  g_autoptr (GPtrArray) runs = schedules_of (daemon->schedules, guest);
  g_autoptr (GError) reason = g_error_new_literal (
      API_ERROR, API_CONFLICT, "libvirt has moved it, and takes none; have them taken there");

  for (guint i = 0; i < runs->len; i++)
    schedule_run_gone (daemon->schedules, runs->pdata[i], to, reason);
}

/* ---- The destination ---- */

JsonObject *
schedules_arrive (Request *request, GError **error)
{
  Daemon *daemon = request->daemon;
  const char *id = request->params[0], *store = NULL;

  if (!request_expect (request, error, "id", "store", "store_id", "elapsed_us", "begun",
                       "checkpoints", NULL) ||
      (store = json_get_string (request->body, "store", error)) == NULL ||
      (request->peer != NULL && !peer_path_check (daemon->guest_files, "store", store, error)))
    return NULL;
  g_autofree char *name = arrivals_guest (daemon->arrivals, id, error);
  g_autoptr (Guest) guest = name != NULL ? registry_get (daemon->registry, name, error) : NULL;
  if (guest == NULL || !schedules_keep (daemon, guest, request->body, error))
    return NULL;
  JsonObject *result = json_object_new();
  json_object_set_string_member (result, "id", id);
  return result;
}
