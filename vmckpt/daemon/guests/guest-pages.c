/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory of a guest that is not there yet. */
#include "guest-private.h"

#include "api-error.h"

#include <vmckpt/util/json.h>

GuestRam *
guest_ram (Guest *guest)
{
  LOCK (guest);
  return guest->ram;
}

GuestRam *
guest_find_ram (Guest *guest)
{
  KeeperState state = { 0 };

  {
    LOCK (guest);
    if (guest->state == GUEST_EXITED)
      return NULL;
    if (guest->ram != NULL)
      return guest_ram_ref (guest->ram);
  }
  if (!qemu_spec_shares_memory (guest->spec) || guest->spec->ram_id == NULL ||
      !keeper_read_state (guest->directory, &state, NULL) || state.exited ||
      !process_id_alive (state.qemu))
    return NULL;
  return guest_ram_find (state.qemu, guest->spec->ram_id, NULL);
}

/* Borrowed: of a guest that somebody is at work on, or from the fill's own callback. */
static GuestFill *
own_fill (Guest *guest)
{
  LOCK (guest);
  return guest->fill;
}

GuestFill *
guest_get_fill (Guest *guest)
{
  LOCK (guest);
  return guest->fill != NULL ? guest_fill_ref (guest->fill) : NULL;
}

void
guest_set_fill (Guest *guest, GuestFill *fill)
{
  g_auto (LazyFillStatus) status = { 0 };

  {
    LOCK (guest);
    g_return_if_fail (guest->fill == NULL);
    guest->fill = fill;
  }
  /* What it told before the guest knew it. */
  lazy_fill_status (guest_fill_lazy (fill), &status);
  if (status.stuck)
    guest_note_fill (guest, LAZY_FILL_STUCK);
}

gboolean
guest_run_fill (Guest *guest)
{
  LOCK (guest);
  return guest->fill != NULL && guest_fill_run (guest->fill);
}

void
guest_note_fill (Guest *guest, LazyFillEvent event)
{
  g_autoptr (GError) reason = NULL;
  GuestFill *fill = own_fill (guest);

  if (event == LAZY_FILL_STUCK && fill != NULL &&
      !lazy_fill_check_served (guest_fill_lazy (fill), &reason))
    guest_set_trouble (guest, reason);
}

void
guest_set_trouble (Guest *guest, const GError *reason)
{
  {
    LOCK (guest);
    if (guest->state == GUEST_EXITED)
      return;
    guest->faulted = guest->faulted || guest->state != GUEST_PAUSED;
    guest_set_state (guest, GUEST_PAUSED, reason->message);
    guest->trouble = TRUE;
  }
  guest_tell_to_stop (guest);
}

void
guest_clear_trouble (Guest *guest)
{
  LOCK (guest);
  guest->trouble = FALSE;
}

gboolean
guest_is_in_trouble (Guest *guest)
{
  LOCK (guest);
  return guest->trouble;
}

gboolean
guest_is_paused_on_purpose (Guest *guest)
{
  LOCK (guest);
  return guest->state == GUEST_PAUSED && !guest->faulted;
}

gboolean
guest_check_memory (Guest *guest, GError **error)
{
  LOCK (guest);
  if (guest->trouble)
    g_set_error_literal (error, API_ERROR, API_FAILED, guest->reason);
  return !guest->trouble;
}

gboolean
guest_needs_checkpoint (Guest *guest, const char *store_id, const char *checkpoint)
{
  g_autofree char *source_store = NULL;
  g_autofree char *source = NULL;
  g_autoptr (GuestRam) ram = guest_find_ram (guest);

  return ram != NULL && guest_fill_is_wanted (ram, &source_store, &source, NULL) &&
         g_str_equal (source_store, store_id) && g_str_equal (source, checkpoint);
}

/* With the lock: how much of its memory is there; only while some is missing. */
void
guest_describe_fill (Guest *guest, JsonObject *object)
{
  g_auto (LazyFillStatus) status = { .complete = TRUE };

  if (guest->fill != NULL)
    lazy_fill_status (guest_fill_lazy (guest->fill), &status);
  if (guest->state != GUEST_EXITED && !status.complete)
    json_object_set_int_member (object, "filled_bytes",
                                (gint64)(status.present * GUEST_RAM_PAGE_BYTES));
  else
    json_object_set_null_member (object, "filled_bytes");
}
