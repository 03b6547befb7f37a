/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "suspended.h"

#include "registry.h"

#include <vmckpt/store/claim.h>
#include <vmckpt/unit/unit.h>
#include <vmckpt/util/json.h>

/* ---- What is recorded ---- */

JsonObject *
suspended_mark_new (const Runtime *runtime, const char *set, gboolean paused)
{
  JsonObject *mark = json_object_new();
  g_autofree char *machine = process_machine_id();

  json_set_string_or_null (mark, "set", set);
  json_object_set_boolean_member (mark, "paused", paused);
  json_object_set_string_member (mark, "host", runtime->host);
  json_set_string_or_null (mark, "machine", machine);
  json_object_set_string_member (mark, "runtime", runtime->path);
  json_object_set_string_member (mark, "boot_id", runtime->boot_id);
  return mark;
}

static JsonObject *
mark_of (const Manifest *manifest)
{
  return json_get_object (manifest->machine, UNIT_MEMBER_POWER, NULL);
}

gboolean
suspended_was_paused (const Manifest *manifest)
{
  JsonObject *mark = mark_of (manifest);
  return mark != NULL && json_get_bool_or (mark, "paused", FALSE);
}

const char *
suspended_set (const Manifest *manifest)
{
  JsonObject *mark = mark_of (manifest);
  return mark != NULL ? json_get_string_or (mark, "set", NULL) : NULL;
}

/* ---- Which wait ---- */

/* TRUE if @manifest is the newest of its guest in @manifests, which are in order of time. */
static gboolean
is_newest (GPtrArray *manifests, guint index)
{
  const Manifest *manifest = g_ptr_array_index (manifests, index);

  for (guint i = index + 1; i < manifests->len; i++) {
    const Manifest *later = g_ptr_array_index (manifests, i);
    if (g_strcmp0 (later->guest_uuid, manifest->guest_uuid) == 0)
      return FALSE;
  }
  return TRUE;
}

/* TRUE if the guest runs here, or somebody else claims it. */
static gboolean
is_up (Daemon *daemon, Store *store, const Manifest *manifest)
{
  g_autoptr (Guest) here = registry_find_uuid (daemon->registry, manifest->guest_uuid);
  g_autoptr (Claim) claim =
      here == NULL ? store_claim_get (store, manifest->guest_uuid, NULL) : NULL;

  if (here != NULL || claim == NULL)
    return here != NULL;
  return !claim_is_dead (claim);
}

gboolean
suspended_waits (Daemon *daemon, Store *store, GPtrArray *manifests, guint index)
{
  const Manifest *manifest = g_ptr_array_index (manifests, index);

  return g_strcmp0 (manifest->mode, "suspend") == 0 && is_newest (manifests, index) &&
         !is_up (daemon, store, manifest);
}

/* TRUE if @host, @machine (nullable) and @runtime are ours. */
static gboolean
is_this_host (const Runtime *ours, const char *host, const char *machine, const char *runtime)
{
  g_autofree char *own_machine = process_machine_id();

  return g_strcmp0 (host, ours->host) == 0 && g_strcmp0 (runtime, ours->path) == 0 &&
         g_strcmp0 (machine, own_machine) == 0;
}

/* A guest that was resumed since, and has ended, is off because somebody wanted that. */
static gboolean
has_run_since (Store *store, const Manifest *manifest)
{
  gint64 since_us = 0;

  return store_claim_last_since (store, manifest->guest_uuid, &since_us, NULL) &&
         since_us > manifest->created_us;
}

static gboolean
is_of_last (Daemon *daemon, Store *store, const Manifest *manifest)
{
  JsonObject *mark = mark_of (manifest);

  return suspended_set (manifest) != NULL &&
         is_this_host (daemon->runtime, json_get_string_or (mark, "host", NULL),
                       json_get_string_or (mark, "machine", NULL),
                       json_get_string_or (mark, "runtime", NULL)) &&
         !has_run_since (store, manifest);
}

/* Its newest checkpoint may be any; one that was being suspended when the host went down is off. */
static gboolean
is_lost (Daemon *daemon, Store *store, const Manifest *manifest)
{
  g_autoptr (Guest) here = registry_find_uuid (daemon->registry, manifest->guest_uuid);
  g_autoptr (Claim) claim =
      here == NULL ? store_claim_get (store, manifest->guest_uuid, NULL) : NULL;

  return claim != NULL && claim_is_dead (claim) &&
         is_this_host (daemon->runtime, claim->host, claim->machine, claim->runtime) &&
         (g_strcmp0 (manifest->mode, "suspend") != 0 || claim->since_us > manifest->created_us);
}

GPtrArray *
suspended_find (Daemon *daemon, Store *store, const SuspendedWish *wish, GError **error)
{
  g_autoptr (GPtrArray) manifests = store_manifest_list (store, NULL, NULL, error);
  g_autoptr (GPtrArray) found = g_ptr_array_new_with_free_func ((GDestroyNotify)manifest_free);

  if (manifests == NULL)
    return NULL;
  for (guint i = 0; i < manifests->len; i++) {
    Manifest *manifest = g_ptr_array_index (manifests, i);
    gboolean wanted = (suspended_waits (daemon, store, manifests, i) &&
                       (!wish->last || is_of_last (daemon, store, manifest))) ||
                      (wish->lost && is_newest (manifests, i) && is_lost (daemon, store, manifest));
    Manifest *one = wanted ? store_manifest_load (store, manifest->id, error) : NULL;
    if (wanted && one == NULL)
      return NULL;
    if (one != NULL)
      g_ptr_array_add (found, one);
  }
  return g_steal_pointer (&found);
}
