/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /v1/guests/NAME/continue, /resume, /fill, /v1/fill: a guest goes on, here or from a store. */
#include "api-error.h"
#include "filling.h"
#include "guest-clock.h"
#include "restore.h"
#include "router.h"

#include <vmckpt/util/name.h>

/* A fork's memory that could not be read is tried again. Returns FALSE if there is none. */
static gboolean
retry_memory (Request *request, Guest *guest)
{
  Templates *templates = request->daemon->templates;
  g_autofree char *reason = templates_reason (templates, guest_name (guest));
  g_autoptr (Store) store = reason != NULL && request_query (request, "store") != NULL
                                ? request_store (request, NULL)
                                : NULL;

  if (reason != NULL)
    templates_retry (templates, guest_name (guest), store);
  return reason != NULL;
}

static JsonObject *
continue_guest (Request *request, GError **error)
{
  gboolean take_over = FALSE;

  if (!request_expect (request, error, "take_over", NULL) ||
      !request_bool (request, "take_over", &take_over, error))
    return NULL;
  g_autoptr (Guest) guest = request_guest (request, error);
  g_autoptr (GuestWork) work =
      guest != NULL ? guest_begin_work_when_found (guest, "continue", error) : NULL;

  /* By the user's word, nobody is asked any more. */
  if (work != NULL && take_over && !guest_set_departure (guest, NULL, error))
    return NULL;
  if (work != NULL)
    retry_memory (request, guest);
  if (work == NULL ||
      !filling_retry (guest, request->daemon->stores, request->cancellable, error) ||
      !hydrations_retry (request->daemon->hydrations, guest_name (guest), request->key, error) ||
      !guest_continue (guest, error))
    return NULL;
  return guest_to_json (guest);
}

/* What the guest waits for is tried again, from the request's store if that is the one. */
static gboolean
retry_fill (Request *request, Guest *guest, GError **error)
{
  g_autoptr (GError) unopened = NULL;
  g_autoptr (GError) waiting = NULL;
  /* Opened with the request's key, it is there for the guest's memory too. */
  g_autoptr (Store) store =
      request_query (request, "store") != NULL ? request_store (request, &unopened) : NULL;

  if (filling_retry (guest, request->daemon->stores, request->cancellable, &waiting))
    return TRUE;
  /* A key that does not fit says more than that one is wanted. */
  if (g_error_matches (waiting, STORE_ERROR, STORE_ERROR_KEY_NEEDED) &&
      g_error_matches (unopened, STORE_ERROR, STORE_ERROR_KEY_WRONG))
    g_propagate_error (error, g_steal_pointer (&unopened));
  else
    g_propagate_error (error, g_steal_pointer (&waiting));
  return FALSE;
}

/* A fork that has waited goes on by itself, also if its QEMU could not say so yet. */
static gboolean
must_be_continued (Guest *guest, gboolean waited)
{
  GuestState state = guest_state (guest);
  return state == GUEST_PAUSED || (state != GUEST_RUNNING && !waited);
}

/* A guest that is here: goes on if it was paused, or waits. */
static JsonObject *
resume_here (Request *request, Guest *guest, gboolean sync_time, GError **error)
{
  g_autoptr (GuestWork) work = NULL;
  gboolean waited = retry_memory (request, guest);
  gint64 began_us = g_get_monotonic_time();

  if (guest_state (guest) != GUEST_PAUSED && !waited) {
    g_set_error (error, API_ERROR, API_CONFLICT, "guest %s is here already and not paused",
                 guest_name (guest));
    return NULL;
  }
  work = guest_begin_work_when_found (guest, "a resume", error);
  if (work == NULL)
    return NULL;
  if (!retry_fill (request, guest, error) ||
      !hydrations_retry (request->daemon->hydrations, guest_name (guest), request->key, error) ||
      (must_be_continued (guest, waited) && !guest_continue (guest, error)))
    return NULL;
  g_autofree char *checkpoint = guest_checkpoint (guest);
  JsonObject *result = json_object_new();
  JsonObject *phases = json_object_new();
  double resume_ms = (g_get_monotonic_time() - began_us) / 1000.0;
  if (checkpoint != NULL)
    json_object_set_string_member (result, "id", checkpoint);
  else
    json_object_set_null_member (result, "id");
  json_object_set_double_member (phases, "rebuild", 0);
  json_object_set_double_member (phases, "resume", resume_ms);
  json_object_set_object_member (result, "guest", guest_to_json (guest));
  json_object_set_double_member (result, "wall_ms", resume_ms);
  json_object_set_object_member (result, "phases", phases);
  json_object_set_int_member (result, "ram_bytes", guest_spec (guest)->ram_bytes);
  if (sync_time)
    json_object_set_object_member (result, "clock",
                                   guest_clock_sync (guest, TRUE, request->cancellable));
  return result;
}

static JsonObject *
resume_guest (Request *request, GError **error)
{
  RestoreRequest wish = { .sync_time = TRUE };
  g_autoptr (Guest) here = request_guest (request, NULL);
  g_autoptr (Store) store = NULL;
  g_autoptr (Manifest) manifest = NULL;

  if (!request_expect (request, error, "take_over", "hold", "sync_time", NULL) ||
      !request_bool (request, "sync_time", &wish.sync_time, error) ||
      !request_bool (request, "take_over", &wish.take_over, error) ||
      !request_bool (request, "hold", &wish.held, error))
    return NULL;
  if (here != NULL && guest_state (here) != GUEST_EXITED)
    return resume_here (request, here, wish.sync_time, error);
  store = request_store (request, error);
  if (store == NULL || !name_check (request->params[0], "guest name", error) ||
      (manifest = store_manifest_find (store, request->params[0], error)) == NULL)
    return NULL;
  /* The reference was a name, not an id that begins like one. */
  if (!g_str_equal (manifest->guest, request->params[0])) {
    g_set_error (error, API_ERROR, API_NOT_FOUND, "no guest '%s' here, nor a checkpoint of one",
                 request->params[0]);
    return NULL;
  }
  if (g_strcmp0 (manifest->mode, "suspend") != 0) {
    g_set_error (
        error, API_ERROR, API_CONFLICT,
        "guest %s is not suspended: its newest checkpoint %.12s was taken while it ran; to go "
        "back to that one, restore it",
        manifest->guest, manifest->id);
    return NULL;
  }
  return restore_suspended (request, store, manifest, &wish, error);
}

/* Guests whose memory was not to be read yet. */
static JsonObject *
fill_guests (Request *request, GError **error)
{
  if (!request_expect (request, error, NULL))
    return NULL;
  JsonObject *result = json_object_new();
  json_object_set_int_member (result, "guests", registry_fill_held (request->daemon->registry));
  return result;
}

static JsonObject *
wait_for_guest (Request *request, GError **error)
{
  g_autoptr (Guest) guest =
      request_expect (request, error, NULL) ? request_guest (request, error) : NULL;

  if (guest == NULL || !filling_wait (guest, &request->progress, request->cancellable, error) ||
      !templates_wait (request->daemon->templates, guest_name (guest), request->cancellable,
                       error) ||
      !hydrations_wait (request->daemon->hydrations, guest_name (guest), &request->progress,
                        request->cancellable, error))
    return NULL;
  return guest_to_json (guest);
}

const Route guest_resume_routes[] = {
  { "POST", "/v1/fill", fill_guests, NULL, FALSE },
  { "POST", "/v1/guests/:name/fill", wait_for_guest, NULL, TRUE },
  { "POST", "/v1/guests/:name/continue", continue_guest, NULL, FALSE },
  { "POST", "/v1/guests/:name/resume", resume_guest, NULL, TRUE },
  { NULL },
};
