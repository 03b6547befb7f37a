/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * claims/GUEST-UUID/N: who runs a guest (numbered.h). Giving up puts an object that says
 * "released", so that numbers never fall.
 */
#include <vmckpt/store/claim.h>

#include "claim-check.h"
#include "numbered.h"
#include "owner.h"
#include "text-object.h"

#include <vmckpt/util/error.h>
#include <vmckpt/util/json.h>

#include <string.h>

#define CLAIM_MAGIC "vmckpt-claim"

/* The claim that counts. */
typedef struct {
  guint64 number;  /* 0: there never was one */
  Claim *claim;    /* (nullable): nobody has one */
  gint64 since_us; /* of the claim, or of the one that was given up; 0: not known */
} CurrentClaim;

static void
current_claim_clear (CurrentClaim *current)
{
  g_clear_pointer (&current->claim, claim_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (CurrentClaim, current_claim_clear)

Claim *
claim_new (void)
{
  return g_new0 (Claim, 1);
}

void
claim_free (Claim *claim)
{
  if (claim == NULL)
    return;
  g_free (claim->guest_uuid);
  g_free (claim->guest);
  g_free (claim->host);
  g_free (claim->boot_id);
  g_free (claim->machine);
  g_free (claim->runtime);
  g_free (claim);
}

static GBytes *
claim_to_bytes (Store *store, const Claim *claim, gint64 released_us)
{
  g_autoptr (JsonObject) object = json_object_new();

  if (claim == NULL) {
    json_object_set_boolean_member (object, "released", TRUE);
    json_object_set_int_member (object, "since_us", released_us);
  } else {
    const Owner owner = { .host = claim->host,
                          .boot_id = claim->boot_id,
                          .machine = claim->machine,
                          .process = claim->process,
                          .since_us = claim->since_us };
    json_object_set_string_member (object, "guest_uuid", claim->guest_uuid);
    json_object_set_string_member (object, "guest", claim->guest);
    json_object_set_string_member (object, "runtime", claim->runtime);
    owner_to_json (&owner, object);
  }
  return store_text_pad (store, text_object_write (CLAIM_MAGIC, object, &store->key), &store->key);
}

/* Sets @claim to NULL for a released one. */
static gboolean
claim_from_bytes (Store *store, GBytes *bytes, Claim **claim, gint64 *since_us, GError **error)
{
  g_autoptr (Claim) parsed = claim_new();
  g_auto (Owner) owner = { 0 };

  *claim = NULL;
  g_autoptr (JsonObject) object = text_object_read (bytes, CLAIM_MAGIC, &store->key, error);
  if (object == NULL)
    return FALSE;
  *since_us = (gint64)MIN (json_get_uint64_or (object, "since_us", 0), (guint64)G_MAXINT64);
  if (json_get_bool_or (object, "released", FALSE))
    return TRUE;
  const char *uuid = json_get_string (object, "guest_uuid", error);
  const char *guest = uuid != NULL ? json_get_string (object, "guest", error) : NULL;
  const char *runtime = guest != NULL ? json_get_string (object, "runtime", error) : NULL;
  if (runtime == NULL || !owner_from_json (&owner, object, error))
    return FALSE;
  parsed->guest_uuid = g_strdup (uuid);
  parsed->guest = g_strdup (guest);
  parsed->runtime = g_strdup (runtime);
  parsed->host = g_steal_pointer (&owner.host);
  parsed->boot_id = g_steal_pointer (&owner.boot_id);
  parsed->machine = g_steal_pointer (&owner.machine);
  parsed->process = owner.process;
  parsed->since_us = owner.since_us;
  *claim = g_steal_pointer (&parsed);
  return TRUE;
}

/* Where the claims of a guest are. */
static char *
claim_prefix (const char *guest_uuid)
{
  return g_strdup_printf ("claims/%s/", guest_uuid);
}

/* Reads the claim that counts. */
static gboolean
read_current (Store *store, const char *guest_uuid, CurrentClaim *current, GError **error)
{
  g_autofree char *prefix = claim_prefix (guest_uuid);
  g_autoptr (GError) cause = NULL;
  g_autoptr (GBytes) bytes = numbered_read (store, prefix, &current->number, &cause);

  if (cause == NULL && (bytes == NULL || claim_from_bytes (store, bytes, &current->claim,
                                                           &current->since_us, &cause)))
    return TRUE;
  if (bytes != NULL)
    g_prefix_error (&cause, "%s%" G_GUINT64_FORMAT ": ", prefix, current->number);
  g_propagate_error (error, g_steal_pointer (&cause));
  return FALSE;
}

/* Puts the successor of @number; *done is FALSE if somebody else was first. @claim: (nullable): one
 * of @released_us is given up. */
static gboolean
put_next (Store *store, const char *guest_uuid, guint64 number, const Claim *claim,
          gint64 released_us, gboolean *done, GError **error)
{
  g_autofree char *prefix = claim_prefix (guest_uuid);
  g_autoptr (GBytes) bytes = claim_to_bytes (store, claim, released_us);

  return numbered_put_next (store, prefix, number, bytes, done, error);
}

static gboolean
same_holder (const Claim *claim, const char *boot_id, const char *runtime)
{
  return g_strcmp0 (claim->boot_id, boot_id) == 0 && g_strcmp0 (claim->runtime, runtime) == 0;
}

gboolean
claim_is_dead (const Claim *claim)
{
  const Owner owner = { .host = claim->host,
                        .boot_id = claim->boot_id,
                        .machine = claim->machine,
                        .process = claim->process,
                        .since_us = claim->since_us };

  return owner_is_dead (&owner);
}

static gboolean
check_may_take (const Claim *current, const Claim *claim, gboolean take_over, GError **error)
{
  if (current == NULL || take_over || same_holder (current, claim->boot_id, claim->runtime))
    return TRUE;
  if (claim_is_dead (current))
    return TRUE;
  g_autoptr (GDateTime) since = g_date_time_new_from_unix_utc (current->since_us / G_USEC_PER_SEC);
  g_autofree char *when = since != NULL ? g_date_time_format_iso8601 (since) : g_strdup ("?");
  g_set_error (error, STORE_ERROR, STORE_ERROR_CLAIMED,
               "the guest runs already, as %s on host %s (runtime directory %s) since %s",
               current->guest, current->host, current->runtime, when);
  return FALSE;
}

/* The claim that counts, to be replaced by another: with @take_over one that is damaged is
 * nobody's.
 */
static gboolean
read_replaceable (Store *store, const char *guest_uuid, gboolean take_over, CurrentClaim *current,
                  GError **error)
{
  g_autoptr (GError) cause = NULL;

  if (read_current (store, guest_uuid, current, &cause))
    return TRUE;
  gboolean damaged =
      current->number > 0 && g_error_matches (cause, STORE_ERROR, STORE_ERROR_DAMAGED);
  if (damaged && take_over)
    return TRUE;
  if (damaged)
    g_prefix_error (&cause, "who runs it cannot be read; if it runs nowhere, take it over "
                            "(--take-over): ");
  g_propagate_error (error, g_steal_pointer (&cause));
  return FALSE;
}

gboolean
store_claim_take (Store *store, const Claim *claim, gboolean take_over, GError **error)
{
  ERROR_PREFIX (error, "claiming guest %s", claim->guest);

  for (int attempt = 0; attempt < NUMBERED_ATTEMPTS_MAX; attempt++) {
    g_auto (CurrentClaim) current = { 0 };
    g_autoptr (GError) cause = NULL;
    gboolean done = FALSE;
    if (!read_replaceable (store, claim->guest_uuid, take_over, &current, error) ||
        !check_may_take (current.claim, claim, take_over, error))
      return FALSE;
    if (!put_next (store, claim->guest_uuid, current.number, claim, 0, &done, &cause)) {
      g_propagate_error (error, g_steal_pointer (&cause));
      return FALSE;
    }
    if (done)
      return TRUE;
  }
  g_set_error_literal (error, STORE_ERROR, STORE_ERROR_IN_USE,
                       "too many others are claiming it at the same time");
  return FALSE;
}

gboolean
store_claim_release (Store *store, const Claim *claim, GError **error)
{
  ERROR_PREFIX (error, "giving up the claim on guest %s", claim->guest_uuid);
  g_auto (CurrentClaim) current = { 0 };
  g_autoptr (GError) cause = NULL;
  gboolean done;

  if (!read_current (store, claim->guest_uuid, &current, error))
    return FALSE;
  if (current.claim == NULL || current.claim->since_us != claim->since_us ||
      !same_holder (current.claim, claim->boot_id, claim->runtime))
    return TRUE;
  /* If somebody else was first, it is not ours any more either way. */
  if (put_next (store, claim->guest_uuid, current.number, NULL, claim->since_us, &done, &cause))
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&cause));
  return FALSE;
}

Claim *
store_claim_get (Store *store, const char *guest_uuid, GError **error)
{
  g_auto (CurrentClaim) current = { 0 };

  if (!read_current (store, guest_uuid, &current, error))
    return NULL;
  return g_steal_pointer (&current.claim);
}

gboolean
store_claim_last_since (Store *store, const char *guest_uuid, gint64 *since_us, GError **error)
{
  g_auto (CurrentClaim) current = { 0 };

  *since_us = 0;
  if (!read_current (store, guest_uuid, &current, error))
    return FALSE;
  *since_us = current.since_us;
  return TRUE;
}

gboolean
claims_check (Store *store, GPtrArray *damaged, GError **error)
{
  g_autoptr (GPtrArray) names = store_list_names (store, "claims/", error);

  for (guint i = 0; names != NULL && i < names->len; i++) {
    g_autoptr (GError) cause = NULL;
    g_autoptr (Claim) claim = NULL;
    gint64 since_us;
    g_autoptr (GBytes) bytes = store_get_text (store, names->pdata[i], &cause);
    if (bytes != NULL ? !claim_from_bytes (store, bytes, &claim, &since_us, NULL)
                      : g_error_matches (cause, STORE_ERROR, STORE_ERROR_DAMAGED))
      g_ptr_array_add (damaged, g_strdup (names->pdata[i]));
  }
  return names != NULL;
}
