/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "filling.h"

#include <vmckpt/store/manifest.h>
#include <vmckpt/store/store.h>
#include <vmckpt/unit/fill-source.h>
#include <vmckpt/util/error.h>

void
filling_watch (LazyFillEvent event, gpointer data)
{
  Guest *guest = data;

  if (event == LAZY_FILL_COMPLETE)
    fill_source_remove (guest_directory (guest));
  guest_note_fill (guest, event);
}

/* The store with the pages, open; @wanted: its id. */
static Store *
open_source (Guest *guest, Stores *stores, const char *wanted, GError **error)
{
  g_autofree char *path = fill_source_read (guest_directory (guest), error);
  g_autoptr (Store) store = path != NULL ? stores_get_own (stores, path, error) : NULL;

  if (store == NULL || g_str_equal (store_id (store), wanted))
    return g_steal_pointer (&store);
  g_set_error (error, STORE_ERROR, STORE_ERROR_NOT_FOUND,
               "the store at %s is another one than that which has its memory", path);
  return NULL;
}

/* Serves pages that nobody serves. */
static gboolean
serve (Guest *guest, Stores *stores, GError **error)
{
  ERROR_PREFIX (error, "its memory is not all there yet");
  g_autoptr (GuestRam) ram = guest_find_ram (guest);
  g_autofree char *store_wanted = NULL;
  g_autofree char *checkpoint = NULL;

  if (ram == NULL || !guest_fill_is_wanted (ram, &store_wanted, &checkpoint, NULL))
    return TRUE;
  g_autoptr (Store) store = open_source (guest, stores, store_wanted, error);
  g_autoptr (Manifest) manifest =
      store != NULL ? store_manifest_load (store, checkpoint, error) : NULL;
  const ManifestPart *part =
      manifest != NULL ? manifest_find_part (manifest, "ram", guest_ram_block (ram)) : NULL;
  if (manifest == NULL)
    return FALSE;
  if (part == NULL) {
    g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED, "checkpoint %.12s has no RAM block %s",
                 checkpoint, guest_ram_block (ram));
    return FALSE;
  }
  const GuestFillSetup setup = { .ram = ram,
                                 .store = store,
                                 .checkpoint = checkpoint,
                                 .map = part->map,
                                 .discards = unit_discards_memory (guest_spec (guest)),
                                 .func = filling_watch,
                                 .user_data = guest };
  GuestFill *fill = guest_fill_take_over (&setup, error);
  if (fill == NULL)
    return FALSE;
  guest_set_fill (guest, fill);
  guest_fill_run (fill);
  return TRUE;
}

void
filling_take_over (Guest *guest, Stores *stores)
{
  g_autoptr (GuestFill) fill = guest_get_fill (guest);
  g_autoptr (GError) error = NULL;

  /* Trouble is for the user to end. */
  if (fill == NULL && !guest_is_in_trouble (guest) && !serve (guest, stores, &error))
    guest_set_trouble (guest, error);
}

/* Serves what could not be served so far. */
static gboolean
serve_again (Guest *guest, Stores *stores, GError **error)
{
  g_autoptr (GError) cause = NULL;

  guest_clear_trouble (guest);
  if (serve (guest, stores, &cause))
    return TRUE;
  guest_set_trouble (guest, cause);
  g_propagate_error (error, g_steal_pointer (&cause));
  return FALSE;
}

/* Reads once more what it waits for; the store may have been opened anew since, or repaired. */
static gboolean
read_again (Guest *guest, GuestFill *fill, Stores *stores, GCancellable *cancellable,
            GError **error)
{
  g_autoptr (Store) store = open_source (guest, stores, guest_fill_store_id (fill), error);

  if (store == NULL)
    return FALSE;
  guest_clear_trouble (guest);
  lazy_fill_retry (guest_fill_lazy (fill), store);
  return lazy_fill_wait_served (guest_fill_lazy (fill), cancellable, error);
}

gboolean
filling_retry (Guest *guest, Stores *stores, GCancellable *cancellable, GError **error)
{
  g_autoptr (GuestFill) former = guest_get_fill (guest);
  gboolean waits = guest_is_in_trouble (guest);

  if (former == NULL ? !serve_again (guest, stores, error)
                     : waits && !read_again (guest, former, stores, cancellable, error))
    return FALSE;
  /* Only now can a QEMU answer whose main loop was what waited. */
  if (waits && guest_is_lost (guest))
    guest_find_again (guest);
  g_autoptr (GuestFill) fill = guest_get_fill (guest);
  return fill == NULL || lazy_fill_check_served (guest_fill_lazy (fill), error);
}

/* Whether pages are missing that this daemon could not go on with. */
static gboolean
is_forsaken (Guest *guest)
{
  g_autoptr (GuestRam) ram = guest_is_in_trouble (guest) ? guest_find_ram (guest) : NULL;
  g_autofree char *store = NULL;
  g_autofree char *checkpoint = NULL;

  return ram != NULL && guest_fill_is_wanted (ram, &store, &checkpoint, NULL);
}

gboolean
filling_wait (Guest *guest, const Progress *progress, GCancellable *cancellable, GError **error)
{
  ERROR_PREFIX (error, "the memory of guest %s", guest_name (guest));
  g_autoptr (GuestFill) fill = guest_get_fill (guest);

  /* Whoever put it off may not be there any more. */
  guest_run_fill (guest);
  if (fill == NULL)
    return !is_forsaken (guest) || guest_check_memory (guest, error);
  return lazy_fill_wait (guest_fill_lazy (fill), progress, cancellable, error);
}
