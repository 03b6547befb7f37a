/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "served-guests.h"

/* A QEMU that has given its server up for lost looks for it every 16 s (block/nbd.c), and what is
 * read before then fails once more: 0, 1, 2, 4, 8 and 16 s outlast that. */
#define CONTINUES_MAX 6

typedef struct {
  char *name, *uuid;
  guint continued; /* (main thread) how often it was made to run again since the server came */
} Served;

struct _ServedGuests {
  gatomicrefcount refs;
  Registry *registry;
  GPtrArray *all; /* of Served; does not change once others know it */
};

static void
served_free (gpointer data)
{
  Served *served = data;

  g_free (served->name);
  g_free (served->uuid);
  g_free (served);
}

ServedGuests *
served_guests_new (Registry *registry)
{
  ServedGuests *guests = g_new0 (ServedGuests, 1);

  g_atomic_ref_count_init (&guests->refs);
  guests->registry = registry;
  guests->all = g_ptr_array_new_with_free_func (served_free);
  return guests;
}

ServedGuests *
served_guests_ref (ServedGuests *guests)
{
  g_atomic_ref_count_inc (&guests->refs);
  return guests;
}

void
served_guests_unref (ServedGuests *guests)
{
  if (guests == NULL || !g_atomic_ref_count_dec (&guests->refs))
    return;
  g_ptr_array_unref (guests->all);
  g_free (guests);
}

void
served_guests_add (ServedGuests *guests, const char *name, const char *uuid)
{
  Served *served = g_new0 (Served, 1);

  served->name = g_strdup (name);
  served->uuid = g_strdup (uuid);
  served->continued = CONTINUES_MAX;
  g_ptr_array_add (guests->all, served);
}

Guest *
served_guests_find (const ServedGuests *guests, guint index)
{
  const Served *served = guests->all->pdata[index];
  g_autoptr (Guest) guest = registry_find_uuid (guests->registry, served->uuid);

  if (guest == NULL || !g_str_equal (guest_name (guest), served->name))
    return NULL;
  return g_steal_pointer (&guest);
}

gboolean
served_guests_any (const ServedGuests *guests)
{
  for (guint i = 0; i < guests->all->len; i++) {
    g_autoptr (Guest) guest = served_guests_find (guests, i);
    if (guest != NULL)
      return TRUE;
  }
  return FALSE;
}

/* A guest that is to go on after a while. */
typedef struct {
  ServedGuests *guests;
  guint index;
} Later;

static void
later_free (gpointer data)
{
  Later *later = data;

  served_guests_unref (later->guests);
  g_free (later);
}

/* On the main thread. */
static gboolean
on_later (gpointer data)
{
  const Later *later = data;
  g_autoptr (Guest) guest = served_guests_find (later->guests, later->index);

  if (guest == NULL)
    return G_SOURCE_REMOVE;
  /* Whoever is at work on it wants it to stand still. */
  if (guest_is_busy (guest))
    return G_SOURCE_CONTINUE;
  guest_continue_after_io_error (guest);
  return G_SOURCE_REMOVE;
}

/* A guest that the loss of its server has stopped goes on; QEMU is told, not waited for. If it is
 * stopped again it gets more time each time. */
static void
continue_stopped (ServedGuests *guests, guint index)
{
  g_autoptr (Guest) guest = served_guests_find (guests, index);
  guint *times = &((Served *)guests->all->pdata[index])->continued;

  if (guest == NULL || *times >= CONTINUES_MAX || !guest_is_io_stopped (guest))
    return;
  if (++*times == 1) {
    guest_continue_after_io_error (guest);
    return;
  }
  Later *later = g_new (Later, 1);
  *later = (Later){ served_guests_ref (guests), index };
  g_timeout_add_seconds_full (G_PRIORITY_DEFAULT, 1u << (*times - 2), on_later, later, later_free);
}

void
served_guests_continue (ServedGuests *guests)
{
  for (guint i = 0; i < guests->all->len; i++)
    continue_stopped (guests, i);
}

void
served_guests_server_came (ServedGuests *guests)
{
  for (guint i = 0; i < guests->all->len; i++)
    ((Served *)guests->all->pdata[i])->continued = 0;
  served_guests_continue (guests);
}

void
served_guests_server_ends (const ServedGuests *guests)
{
  for (guint i = 0; i < guests->all->len; i++) {
    g_autoptr (Guest) guest = served_guests_find (guests, i);
    if (guest != NULL && !guest_is_busy (guest))
      guest_continue_after_io_error (guest);
  }
}
