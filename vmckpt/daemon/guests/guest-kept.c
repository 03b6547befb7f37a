/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is remembered of a guest over a restart of the daemon. */
#include "guest-private.h"

#include "api-error.h"

void
guest_save_memory (Guest *guest)
{
  g_autoptr (GError) error = NULL;

  if (!guest->removed && !guest_memory_save (guest->memory, guest->directory, &error))
    g_warning ("cannot remember guest state: %s", error->message);
}

char *
guest_checkpoint (Guest *guest)
{
  LOCK (guest);
  return g_strdup (guest->memory->checkpoint);
}

void
guest_set_checkpoint (Guest *guest, const char *id)
{
  LOCK (guest);
  g_free (guest->memory->checkpoint);
  guest->memory->checkpoint = g_strdup (id);
  guest_save_memory (guest);
}

DiskBase *
guest_disk_base (Guest *guest)
{
  LOCK (guest);
  const DiskBase *base = guest->memory->disk_base;
  return base != NULL ? disk_base_new (base->store, base->checkpoint) : NULL;
}

gboolean
guest_set_disk_base (Guest *guest, const DiskBase *base, GError **error)
{
  LOCK (guest);
  DiskBase *former = guest->memory->disk_base;

  guest->memory->disk_base = disk_base_new (base->store, base->checkpoint);
  if (guest->removed || guest_memory_save (guest->memory, guest->directory, error)) {
    disk_base_free (former);
    return TRUE;
  }
  disk_base_free (guest->memory->disk_base);
  guest->memory->disk_base = former;
  return FALSE;
}

Standstill *
guest_standstill (Guest *guest)
{
  LOCK (guest);
  return guest->memory->standstill != NULL ? standstill_copy (guest->memory->standstill) : NULL;
}

void
guest_set_standstill (Guest *guest, Standstill *standstill)
{
  LOCK (guest);
  standstill_free (guest->memory->standstill);
  guest->memory->standstill = standstill;
  guest_save_memory (guest);
}

GStrv
guest_claims (Guest *guest)
{
  LOCK (guest);
  return guest_memory_claims (guest->memory);
}

void
guest_add_claim (Guest *guest, const char *store_path)
{
  LOCK (guest);
  guest_memory_add_claim (guest->memory, store_path);
  guest_save_memory (guest);
}

void
guest_clear_claims (Guest *guest)
{
  LOCK (guest);
  g_ptr_array_set_size (guest->memory->claims, 0);
  guest_save_memory (guest);
}

/* ---- On its way to another host ---- */

Departure *
guest_departure (Guest *guest)
{
  LOCK (guest);
  return guest->memory->departure != NULL ? departure_copy (guest->memory->departure) : NULL;
}

/* With the lock held: it may not run here by anybody's word. */
static gboolean
is_handed_over (Guest *guest)
{
  const Departure *departure = guest->memory->departure;

  return guest->memory->doubted || (departure != NULL && departure->state != DEPARTURE_MOVING);
}

gboolean
guest_is_departing (Guest *guest)
{
  LOCK (guest);
  return guest->memory->departure != NULL &&
         (guest->state != GUEST_EXITED || guest->memory->departure->state == DEPARTURE_GOING);
}

gboolean
guest_set_departure (Guest *guest, const Departure *departure, GError **error)
{
  LOCK (guest);
  Departure *former = guest->memory->departure;
  gboolean doubted = guest->memory->doubted;

  guest->memory->departure = departure != NULL ? departure_copy (departure) : NULL;
  guest->memory->doubted = FALSE; /* by this word */
  if (guest->removed || guest_memory_save (guest->memory, guest->directory, error)) {
    departure_free (former);
    return TRUE;
  }
  departure_free (guest->memory->departure);
  guest->memory->departure = former;
  guest->memory->doubted = doubted;
  return FALSE;
}

void
guest_judge_doubt (Guest *guest)
{
  LOCK (guest);

  if (!guest->memory->doubted)
    return;
  if (guest->state == GUEST_RUNNING) {
    guest->memory->doubted = FALSE;
    guest_save_memory (guest);
  } else if (guest->state == GUEST_PAUSED) {
    g_autofree char *reason =
        g_strdup_printf ("%s was damaged, so it may have gone to another host", GUEST_FILE_DAEMON);
    guest_set_state (guest, GUEST_PAUSED, reason);
  }
}

gboolean
guest_set_doubt (Guest *guest, const char *reason)
{
  LOCK (guest);

  if (guest->state != GUEST_PAUSED || g_strcmp0 (guest->reason, reason) == 0)
    return FALSE;
  guest_set_state (guest, GUEST_PAUSED, reason);
  return TRUE;
}

gboolean
guest_check_here (Guest *guest, GError **error)
{
  LOCK (guest);

  if (guest->memory->doubted)
    g_set_error (
        error, API_ERROR, API_CONFLICT,
        "guest %s: its %s was damaged, so it may have been handed over to another host; if "
        "it runs on none, 'vmckpt continue --take-over %s' has it go on here",
        guest->spec->name, GUEST_FILE_DAEMON, guest->spec->name);
  else if (is_handed_over (guest))
    g_set_error (error, API_ERROR, API_CONFLICT,
                 "guest %s is handed over to %s, and it is not known yet whether it runs there: it "
                 "is asked; if that host is certainly dead, 'vmckpt continue --take-over %s' has "
                 "it go on here",
                 guest->spec->name, guest->memory->departure->to, guest->spec->name);
  return !is_handed_over (guest);
}
