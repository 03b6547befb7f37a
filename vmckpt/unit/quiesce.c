/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "quiesce.h"

#include <vmckpt/qmp/guest-agent.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>
#include <vmckpt/util/json.h>

#define ANSWER_TIMEOUT_MS 5000 /* for what takes no time */
#define MEMBER_QUIESCED "quiesced"

struct _Quiesce {
  char *directory;
  int timeout_ms;
  GuestAgent *agent;
  KeeperFreeze *freeze; /* (nullable): the guest may be frozen */
  GThread *thawing;     /* (nullable): uses all of this until it is joined */
  gint64 frozen_us;     /* when it was told to freeze */
  double frozen_ms;
  GError *error; /* of the thaw */
};

/* ---- Is there an agent? ---- */

static gboolean
check_guest (const Unit *unit, GError **error)
{
  if (!unit->spec->agent) {
    g_set_error (
        error, DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE,
        "the guest has no port for a guest agent: %s, and qemu-ga in it; without --quiesce "
        "RAM and disks are of one instant all the same",
        unit->spec->driver == GUEST_DRIVER_LIBVIRT
            ? "give the domain the channel that 'vmckpt doctor --domain' shows"
            : "run it with --agent");
    return FALSE;
  }
  if (unit->paused) {
    g_set_error_literal (error, DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE,
                         "the guest is paused, and cannot freeze its file systems: continue it, or "
                         "leave out --quiesce");
    return FALSE;
  }
  return TRUE;
}

static gboolean
check_not_frozen (GuestAgent *agent, GError **error)
{
  gboolean frozen;

  if (!guest_agent_is_frozen (agent, ANSWER_TIMEOUT_MS, &frozen, error))
    return FALSE;
  if (frozen)
    g_set_error_literal (error, DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE,
                         "somebody has frozen its file systems already, and is to thaw them first");
  return !frozen;
}

Quiesce *
quiesce_new (const Unit *unit, int timeout_ms, GCancellable *cancellable, GError **error)
{
  ERROR_PREFIX (error, "freezing the guest's file systems");
  g_autofree char *path = g_build_filename (unit->directory, GUEST_FILE_AGENT, NULL);
  g_autoptr (GError) cause = NULL;
  g_autoptr (GuestAgent) agent = NULL;

  if (!check_guest (unit, error))
    return NULL;
  agent = guest_agent_connect (path, MIN (timeout_ms, ANSWER_TIMEOUT_MS), cancellable, &cause);
  if (agent == NULL) {
    if (g_error_matches (cause, GUEST_AGENT_ERROR, GUEST_AGENT_ERROR_ABSENT))
      g_set_error_literal (error, DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE, cause->message);
    else
      g_propagate_error (error, g_steal_pointer (&cause));
    return NULL;
  }
  if (!check_not_frozen (agent, error))
    return NULL;
  Quiesce *quiesce = g_new0 (Quiesce, 1);
  quiesce->directory = g_strdup (unit->directory);
  quiesce->timeout_ms = timeout_ms;
  quiesce->agent = g_steal_pointer (&agent);
  return quiesce;
}

/* ---- Freeze and thaw ---- */

gboolean
quiesce_freeze (Quiesce *quiesce, GError **error)
{
  ERROR_PREFIX (error, "freezing the guest's file systems");
  guint count = 0;

  if (quiesce->freeze != NULL)
    return TRUE;
  quiesce->freeze = keeper_freeze_take (quiesce->directory, error);
  if (quiesce->freeze == NULL)
    return FALSE;
  quiesce->frozen_us = g_get_monotonic_time();
  if (!guest_agent_freeze (quiesce->agent, quiesce->timeout_ms, &count, error))
    return FALSE;
  if (count == 0) {
    g_set_error_literal (error, DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE,
                         "it has none that can be frozen");
    return FALSE;
  }
  return fault_visit (FAULT_QUIESCE_FROZEN, error);
}

static gpointer
thaw_thread (gpointer data)
{
  Quiesce *quiesce = data;

  if (guest_agent_thaw (quiesce->agent, quiesce->timeout_ms, NULL, &quiesce->error))
    keeper_freeze_end (quiesce->freeze, NULL); /* a keeper that is gone changes nothing */
  quiesce->frozen_ms = (g_get_monotonic_time() - quiesce->frozen_us) / 1000.0;
  /* The port has one client at a time: the keeper may need it now. */
  g_clear_pointer (&quiesce->agent, guest_agent_free);
  g_clear_pointer (&quiesce->freeze, keeper_freeze_free);
  return NULL;
}

void
quiesce_thaw (Quiesce *quiesce)
{
  /* A guest may wait for its memory to be read, which is up to our caller, before it answers. */
  if (quiesce->thawing == NULL && quiesce->freeze != NULL)
    quiesce->thawing = g_thread_new ("thaw", thaw_thread, quiesce);
}

gboolean
quiesce_finish (Quiesce *quiesce, GError **error)
{
  if (quiesce == NULL)
    return TRUE;
  quiesce_thaw (quiesce);
  if (quiesce->thawing != NULL)
    g_thread_join (g_steal_pointer (&quiesce->thawing));
  if (quiesce->error == NULL)
    return TRUE;
  g_propagate_prefixed_error (error, g_steal_pointer (&quiesce->error),
                              "thawing the guest's file systems, which its keeper goes on with: ");
  return FALSE;
}

double
quiesce_frozen_ms (Quiesce *quiesce)
{
  return quiesce->frozen_ms;
}

void
quiesce_free (Quiesce *quiesce)
{
  if (quiesce == NULL)
    return;
  quiesce_finish (quiesce, NULL);
  g_clear_error (&quiesce->error);
  guest_agent_free (quiesce->agent);
  g_free (quiesce->directory);
  g_free (quiesce);
}

/* ---- A guest that was saved frozen ---- */

void
quiesce_record (JsonObject *machine)
{
  json_object_set_boolean_member (machine, MEMBER_QUIESCED, TRUE);
}

gboolean
quiesce_take_over (const Manifest *manifest, const GuestSpec *spec, const char *directory,
                   KeeperFreeze **freeze, GError **error)
{
  *freeze = NULL;
  if (!spec->agent || !json_get_bool_or (manifest->machine, MEMBER_QUIESCED, FALSE))
    return TRUE;
  *freeze = keeper_freeze_take (directory, error);
  return *freeze != NULL;
}
