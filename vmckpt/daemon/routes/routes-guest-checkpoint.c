/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /v1/guests/NAME/checkpoint, /checkpoints, /suspend, /fork: a guest into a store. */
#include "checkpoint-json.h"
#include "checkpoint.h"
#include "fork.h"
#include "proof.h"
#include "router.h"
#include "schedules.h"

#include <vmckpt/drivers/guest-fork.h>
#include <vmckpt/ram/capture.h>

/* A checkpoint that does not pass is kept, and marked: it may be all there is. */
static gboolean
prove (Request *request, const Manifest *manifest, const ProofWish *wish, JsonObject *report,
       GError **error)
{
  g_autoptr (Store) store = request_store (request, error);
  JsonObject *proof = store != NULL ? proof_boot (request, store, manifest, wish, error) : NULL;

  if (proof != NULL) {
    json_object_set_object_member (report, "proof", proof);
    return TRUE;
  }
  gboolean tagged = store != NULL && store_tag_add (store, manifest->id, PROOF_FAILED_TAG, NULL);
  g_prefix_error (error, "checkpoint %s exists%s, but is not proven: ", manifest->id,
                  tagged ? ", tagged " PROOF_FAILED_TAG : "");
  return FALSE;
}

static JsonObject *
checkpoint_guest (Request *request, GError **error)
{
  CheckpointOptions options = { 0 };
  g_auto (ProofWish) wish = { 0 };
  gboolean wants_proof = FALSE;

  if (!request_expect (request, error, "mode", "engine", "tag", "note", "quiesce", "quiesce_time",
                       "prove", "timeout", "until", "command", NULL) ||
      !checkpoint_parse_options (request, &options, error) ||
      !request_bool (request, "prove", &wants_proof, error) || !proof_parse (request, &wish, error))
    return NULL;
  g_autoptr (Guest) guest = request_guest (request, error);
  g_autoptr (GuestWork) work =
      guest != NULL ? guest_begin_work (guest, "a checkpoint", error) : NULL;
  g_autoptr (Manifest) manifest =
      work != NULL ? checkpoint_take (request, guest, &options, error) : NULL;
  if (manifest == NULL)
    return NULL;
  g_autoptr (JsonObject) report = checkpoint_report (manifest);
  /* The guest is free for other work. */
  g_clear_pointer (&work, guest_end_work);
  if (wants_proof && !prove (request, manifest, &wish, report, error))
    return NULL;
  return g_steal_pointer (&report);
}

/* ---- Checkpoints at regular times ---- */

static JsonObject *
checkpoint_periodically (Request *request, GError **error)
{
  g_autoptr (Guest) guest = request_guest (request, error);

  return guest != NULL ? schedules_run (request, guest, error) : NULL;
}

/* Those that go on by themselves; a call of a client's ends with its connection. */
static JsonObject *
end_schedules (Request *request, GError **error)
{
  g_autoptr (Guest) guest =
      request_expect (request, error, NULL)
          ? registry_get (request->daemon->registry, request->params[0], error)
          : NULL;

  if (guest == NULL)
    return NULL;
  JsonObject *result = json_object_new();
  json_object_set_int_member (result, "ended",
                              schedules_end_kept (request->daemon->schedules, guest));
  return result;
}

static JsonObject *
suspend_guest (Request *request, GError **error)
{
  CheckpointOptions options = { .mode = CHECKPOINT_SUSPEND };

  if (!request_expect (request, error, "tag", "note", NULL) ||
      !request_string (request, "tag", &options.tag, error) ||
      !request_string (request, "note", &options.note, error))
    return NULL;
  g_autoptr (Guest) guest = request_guest (request, error);
  g_autoptr (GuestWork) work = guest != NULL ? guest_begin_work (guest, "a suspend", error) : NULL;
  g_autoptr (Manifest) manifest =
      work != NULL ? checkpoint_suspend (request, guest, &options, NULL, error) : NULL;
  return manifest != NULL ? checkpoint_report (manifest) : NULL;
}

/* A guest that runs is forked as it is at this moment: through a checkpoint, which stays. */
static JsonObject *
fork_guest (Request *request, GError **error)
{
  CheckpointOptions options = { .mode = CHECKPOINT_LIVE };
  g_autoptr (Manifest) manifest = NULL;
  ForkRequest wish;

  if (!fork_request_parse (request, &wish, error))
    return NULL;
  g_autoptr (Guest) guest = request_guest (request, error);
  g_autoptr (Store) store = guest != NULL ? request_store (request, error) : NULL;
  if (store == NULL || !guest_spec_check_fork (guest_spec (guest), error))
    return NULL;
  {
    g_autoptr (GuestWork) work = guest_begin_work (guest, "a checkpoint", error);
    manifest = work != NULL ? checkpoint_take (request, guest, &options, error) : NULL;
    if (manifest == NULL)
      return NULL;
  }
  return fork_checkpoint (request, store, manifest, &wish, error);
}

const Route guest_checkpoint_routes[] = {
  { "POST", "/v1/guests/:name/checkpoint", checkpoint_guest, NULL, TRUE },
  { "POST", "/v1/guests/:name/fork", fork_guest, NULL, TRUE },
  { "POST", "/v1/guests/:name/checkpoints", checkpoint_periodically, NULL, TRUE },
  { "DELETE", "/v1/guests/:name/checkpoints", end_schedules, NULL, FALSE },
  { "POST", "/v1/guests/:name/suspend", suspend_guest, NULL, TRUE },
  { NULL },
};
