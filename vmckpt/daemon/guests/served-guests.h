/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The guests of one restore, whose disks a server serves that may go and come again: QEMU stops a
 * guest that reads what it cannot have, and knows of a new server only after a while. So each is
 * made to go on, and given more time each time it is stopped again.
 *
 * Guests are known by name and UUID: whether one has a QEMU is asked of the registry each time.
 */
#pragma once

#include "guest.h"
#include "registry.h"

typedef struct _ServedGuests ServedGuests;

/* None yet; @registry is borrowed and must outlive it. Newly allocated. */
ServedGuests *served_guests_new (Registry *registry);
/* Any thread. */
ServedGuests *served_guests_ref (ServedGuests *guests);
/* Any thread; NULL is ignored. */
void served_guests_unref (ServedGuests *guests);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ServedGuests, served_guests_unref)

/* One more, before others know of @guests. What cannot be read from a server that was always there
 * is told, not tried again: it has none to come yet. */
void served_guests_add (ServedGuests *guests, const char *name, const char *uuid);

/* Guest number @index, as they were added, if that has a QEMU; (transfer full) (nullable). Any
 * thread. */
Guest *served_guests_find (const ServedGuests *guests, guint index);

/* TRUE if any has a QEMU. Any thread. */
gboolean served_guests_any (const ServedGuests *guests);

/* A new server is there, or is being started: guests that were stopped go on, and may be stopped
 * again while it comes. Main thread. */
void served_guests_server_came (ServedGuests *guests);

/* A guest has been stopped by an I/O error: it goes on if a server has come lately. Main thread. */
void served_guests_continue (ServedGuests *guests);

/* Disks that are here need no server: whoever waits for its turn to find one goes on now. Any
 * thread. */
void served_guests_server_ends (const ServedGuests *guests);
