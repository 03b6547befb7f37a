/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "suspended.h"

#include "registry.h"

#include <vmckpt/store/claim.h>

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
  return g_strcmp0 (claim->boot_id, daemon->runtime->boot_id) != 0 ||
         process_id_alive (claim->process);
}

gboolean
suspended_waits (Daemon *daemon, Store *store, GPtrArray *manifests, guint index)
{
  const Manifest *manifest = g_ptr_array_index (manifests, index);

  return g_strcmp0 (manifest->mode, "suspend") == 0 && is_newest (manifests, index) &&
         !is_up (daemon, store, manifest);
}
