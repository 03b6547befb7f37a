/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "claims.h"

#include <vmckpt/store/claim.h>

#include <unistd.h>

/* What @guest claims: the same `since` for all of one run, so that a later run's claim is another.
 */
static Claim *
claim_of (Guest *guest, const Runtime *runtime)
{
  Claim *claim = claim_new();
  ProcessId process = guest_process (guest);

  claim->guest_uuid = g_strdup (guest_uuid (guest));
  claim->guest = g_strdup (guest_name (guest));
  claim->host = g_strdup (runtime->host);
  claim->boot_id = g_strdup (runtime->boot_id);
  claim->machine = process_machine_id();
  claim->runtime = g_strdup (runtime->path);
  claim->process = process.start_ticks != 0 ? process : process_id_of (getpid());
  claim->since_us = guest_started_us (guest);
  return claim;
}

gboolean
claims_take (Guest *guest, const Runtime *runtime, Store *store, const char *store_path,
             gboolean take_over, GError **error)
{
  g_autoptr (Claim) claim = claim_of (guest, runtime);

  if (!store_claim_take (store, claim, take_over, error))
    return FALSE;
  guest_add_claim (guest, store_path);
  return TRUE;
}

void
claims_release (Guest *guest, const Runtime *runtime, Stores *stores)
{
  g_auto (GStrv) paths = guest_claims (guest);
  g_autoptr (Claim) claim = claim_of (guest, runtime);

  for (guint i = 0; paths[i] != NULL; i++) {
    g_autoptr (GError) error = NULL;
    g_autoptr (Store) store = stores_get_own (stores, paths[i], &error);
    if (store == NULL || !store_claim_release (store, claim, &error))
      g_message ("guest %s: its claim stays in %s: %s", guest_name (guest), paths[i],
                 error->message);
  }
  guest_clear_claims (guest);
}

typedef struct {
  Guest *guest;
  const Runtime *runtime;
  Stores *stores;
} Release;

static gpointer
release_thread (gpointer data)
{
  g_autofree Release *release = data;

  claims_release (release->guest, release->runtime, release->stores);
  guest_unref (release->guest);
  return NULL;
}

void
claims_release_later (Guest *guest, const Runtime *runtime, Stores *stores)
{
  Release *release = g_new (Release, 1);

  *release = (Release){ guest_ref (guest), runtime, stores };
  g_thread_unref (g_thread_new ("release-claims", release_thread, release));
}
