/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * claims/GUEST-UUID/N: who runs a guest, as a series of immutable objects of which the one with the
 * greatest N counts. To change anything is to put number N+1, which only one of several can do;
 * then to look again whether there is a greater one (somebody who read an old listing may have put
 * a number that was removed meanwhile, and finds so); then to remove the smaller ones. Giving up
 * puts an object that says "released", so that numbers never fall.
 */
#include <vmckpt/store/claim.h>

#include "claim-check.h"
#include "owner.h"
#include "store-private.h"
#include "text-object.h"

#include <vmckpt/util/error.h>
#include <vmckpt/util/json.h>

#include <string.h>

#define CLAIM_MAGIC "vmckpt-claim"
/* Each attempt fails only because somebody else's succeeded. */
#define ATTEMPTS_MAX 100

/* The claim that counts. */
typedef struct {
  guint64 number; /* 0: there never was one */
  Claim *claim;   /* (nullable): nobody has one */
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
  g_free (claim->runtime);
  g_free (claim);
}

static GBytes *
claim_to_bytes (Store *store, const Claim *claim)
{
  g_autoptr (JsonObject) object = json_object_new();

  if (claim == NULL) {
    json_object_set_boolean_member (object, "released", TRUE);
  } else {
    const Owner owner = { claim->host, claim->boot_id, claim->process, claim->since_us };
    json_object_set_string_member (object, "guest_uuid", claim->guest_uuid);
    json_object_set_string_member (object, "guest", claim->guest);
    json_object_set_string_member (object, "runtime", claim->runtime);
    owner_to_json (&owner, object);
  }
  return text_object_write (CLAIM_MAGIC, object, &store->key);
}

/* Sets @claim to NULL for a released one. */
static gboolean
claim_from_bytes (Store *store, GBytes *bytes, Claim **claim, GError **error)
{
  g_autoptr (Claim) parsed = claim_new();
  g_auto (Owner) owner = { 0 };

  *claim = NULL;
  g_autoptr (JsonObject) object = text_object_read (bytes, CLAIM_MAGIC, &store->key, error);
  if (object == NULL)
    return FALSE;
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
  parsed->process = owner.process;
  parsed->since_us = owner.since_us;
  *claim = g_steal_pointer (&parsed);
  return TRUE;
}

static char *
claim_object (const char *guest_uuid, guint64 number)
{
  return g_strdup_printf ("claims/%s/%" G_GUINT64_FORMAT, guest_uuid, number);
}

static gboolean
note_greatest (const char *name, guint64 size, gint64 mtime_us, gpointer user_data)
{
  guint64 number, *greatest = user_data;

  if (g_ascii_string_to_unsigned (strrchr (name, '/') + 1, 10, 1, G_MAXINT64, &number, NULL))
    *greatest = MAX (*greatest, number);
  return TRUE;
}

/* Lists until two listings agree: one alone may miss both an object that is removed meanwhile and
 * the one that takes its place. */
static gboolean
greatest_number (Store *store, const char *guest_uuid, guint64 *number, GError **error)
{
  g_autofree char *prefix = g_strdup_printf ("claims/%s/", guest_uuid);
  guint64 before = 0;

  *number = 0;
  for (int listings = 1;; listings++) {
    if (!store_list (store, prefix, note_greatest, number, error))
      return FALSE;
    if (listings > 1 && *number == before)
      return *number > 0 || store_check_reachable (store, error);
    before = *number;
  }
}

/* Reads the claim that counts. */
static gboolean
read_current (Store *store, const char *guest_uuid, CurrentClaim *current, GError **error)
{
  for (int attempt = 0;; attempt++) {
    g_autoptr (GError) cause = NULL;
    if (!greatest_number (store, guest_uuid, &current->number, error))
      return FALSE;
    if (current->number == 0)
      return TRUE;
    g_autofree char *object = claim_object (guest_uuid, current->number);
    g_autoptr (GBytes) bytes = store_get (store, object, 0, G_MAXSIZE, &cause);
    if (bytes != NULL && claim_from_bytes (store, bytes, &current->claim, &cause))
      return TRUE;
    /* Replaced between the listing and the reading: there is a greater one. */
    if (g_error_matches (cause, G_IO_ERROR, G_IO_ERROR_NOT_FOUND) && attempt < ATTEMPTS_MAX)
      continue;
    g_propagate_prefixed_error (error, g_steal_pointer (&cause), "%s: ", object);
    return FALSE;
  }
}

/* Removes what is before the predecessor of @number; that one stays for those who are listing now.
 * What is left over by a failure does not count anyway. */
static void
remove_smaller (Store *store, const char *guest_uuid, guint64 number)
{
  g_autofree char *prefix = g_strdup_printf ("claims/%s/", guest_uuid);
  g_autoptr (GPtrArray) names = store_list_names (store, prefix, NULL);
  guint64 other;

  for (guint i = 0; names != NULL && i < names->len; i++) {
    const char *last = strrchr (names->pdata[i], '/') + 1;
    if (g_ascii_string_to_unsigned (last, 10, 1, G_MAXINT64, &other, NULL) && other + 1 < number)
      store->backend->ops->remove (store->backend, names->pdata[i], NULL);
  }
}

/* Puts the successor of @number; *done is FALSE if somebody else was first. */
static gboolean
put_next (Store *store, const char *guest_uuid, guint64 number, const Claim *claim, gboolean *done,
          GError **error)
{
  g_autoptr (GBytes) bytes = claim_to_bytes (store, claim);
  g_autofree char *object = claim_object (guest_uuid, number + 1);
  gboolean existed;
  guint64 greatest;

  *done = FALSE;
  if (!store_put (store, object, bytes, &existed, error))
    return FALSE;
  if (existed)
    return TRUE;
  if (!store_sync (store, error) || !greatest_number (store, guest_uuid, &greatest, error) ||
      greatest > number + 1) {
    store->backend->ops->remove (store->backend, object, NULL);
    return *error == NULL;
  }
  *done = TRUE;
  remove_smaller (store, guest_uuid, number + 1);
  return TRUE;
}

static gboolean
same_holder (const Claim *claim, const char *boot_id, const char *runtime)
{
  return g_strcmp0 (claim->boot_id, boot_id) == 0 && g_strcmp0 (claim->runtime, runtime) == 0;
}

static gboolean
check_may_take (const Claim *current, const Claim *claim, gboolean take_over, GError **error)
{
  if (current == NULL || take_over || same_holder (current, claim->boot_id, claim->runtime))
    return TRUE;
  const Owner owner = { current->host, current->boot_id, current->process, current->since_us };
  if (owner_is_dead (&owner))
    return TRUE;
  g_autoptr (GDateTime) since = g_date_time_new_from_unix_utc (current->since_us / G_USEC_PER_SEC);
  g_autofree char *when = since != NULL ? g_date_time_format_iso8601 (since) : g_strdup ("?");
  g_set_error (error, STORE_ERROR, STORE_ERROR_CLAIMED,
               "the guest runs already, as %s on host %s (runtime directory %s) since %s",
               current->guest, current->host, current->runtime, when);
  return FALSE;
}

gboolean
store_claim_take (Store *store, const Claim *claim, gboolean take_over, GError **error)
{
  ERROR_PREFIX (error, "claiming guest %s", claim->guest);

  for (int attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    g_auto (CurrentClaim) current = { 0 };
    g_autoptr (GError) cause = NULL;
    gboolean done = FALSE;
    if (!read_current (store, claim->guest_uuid, &current, error) ||
        !check_may_take (current.claim, claim, take_over, error))
      return FALSE;
    if (!put_next (store, claim->guest_uuid, current.number, claim, &done, &cause)) {
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
  if (put_next (store, claim->guest_uuid, current.number, NULL, &done, &cause))
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
claims_check (Store *store, GPtrArray *damaged, GError **error)
{
  g_autoptr (GPtrArray) names = store_list_names (store, "claims/", error);

  for (guint i = 0; names != NULL && i < names->len; i++) {
    g_autoptr (GError) cause = NULL;
    g_autoptr (Claim) claim = NULL;
    g_autoptr (GBytes) bytes = store_get (store, names->pdata[i], 0, G_MAXSIZE, &cause);
    if (bytes != NULL && !claim_from_bytes (store, bytes, &claim, NULL))
      g_ptr_array_add (damaged, g_strdup (names->pdata[i]));
  }
  return names != NULL;
}
