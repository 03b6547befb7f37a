/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guests of this host, by name. Any thread. */
#pragma once

#include "arrivals.h"
#include "guest.h"
#include "stores.h"

typedef struct _Registry Registry;

/* @runtime and @stores are borrowed and must outlive the registry. */
Registry *registry_new (const Runtime *runtime, Stores *stores);
void registry_free (Registry *registry);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Registry, registry_free)

/* Whom to tell when an I/O error stops a guest; before there are any. */
void registry_set_io_error_func (Registry *registry, GuestIoErrorFunc func, gpointer user_data);

/* Who knows how guests that an earlier daemon was receiving were decided; before that. Borrowed. */
void registry_set_arrivals (Registry *registry, Arrivals *arrivals);

/**
 * registry_find_guests:
 *
 * Finds the guests that an earlier daemon left in the runtime directory, all at the same time, and
 * waits until each is found, known to be gone or to wait for pages that cannot be had; a few
 * seconds at most. From then on, guests whose QEMU does not answer are looked for every few
 * seconds.
 */
void registry_find_guests (Registry *registry);

/**
 * registry_add:
 * @spec: completed
 *
 * Reserves a name. The entry of a guest that exited is replaced and its directory removed.
 *
 * Returns: (transfer full): the new guest; API_CONFLICT if the name, or the guest's uuid, is in
 * use.
 */
Guest *registry_add (Registry *registry, const GuestSpec *spec, GuestState state, GError **error);

/* A start or restore of that name that was interrupted a moment ago may still be clearing away:
 * that does not take long, so it is waited for. registry_add() does so by itself. */
void registry_wait_for_unfinished (Registry *registry, const char *name);

/* Takes a guest out, with its directory and the boot files that nobody else needs. Nothing happens
 * if its name belongs to another guest by now. */
void registry_remove (Registry *registry, Guest *guest);

/* Between these two, boot files in RUNTIME/files that belong to no guest are kept: a restore puts
 * them there before its guest is known. After the last one, those that nobody needs are removed. */
void registry_begin_restore (Registry *registry);
void registry_end_restore (Registry *registry);

/* What a domain's name is preceded by where it must be told from a guest of ours. */
#define DOMAIN_PREFIX "libvirt:"

/* (transfer full): the guest by its name, a domain by its name, UUID or DOMAIN_PREFIX and its name;
 * or NULL with API_NOT_FOUND. */
Guest *registry_get (Registry *registry, const char *name, GError **error);

/* (transfer full): the guest with that uuid that is not exited, or NULL. */
Guest *registry_find_uuid (Registry *registry, const char *uuid);

/* FALSE with @error if the guest that is to come from another host is here: that host is this one.
 */
gboolean registry_check_arrival (Registry *registry, const char *uuid, GError **error);

/* (transfer full) (element-type Guest): all, by name. */
GPtrArray *registry_list (Registry *registry);

/* A drained host takes no guests: registry_add() refuses all but domains that libvirt runs here. */
void registry_set_drained (Registry *registry, gboolean drained);
gboolean registry_is_drained (Registry *registry);

/* A guest whose memory still comes from that checkpoint, or NULL. (transfer full) */
Guest *registry_find_needing (Registry *registry, const char *store_id, const char *checkpoint);

/* Begins to read the memory of all guests for which that was put off (RestoreRequest). Returns how
 * many. */
guint registry_fill_held (Registry *registry);

/* How many guests have a QEMU. */
guint registry_count_alive (Registry *registry);
