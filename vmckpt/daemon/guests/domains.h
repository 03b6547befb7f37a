/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The domains of the libvirt connection that this daemon looks at. They are listed without being
 * touched; the first work on one attaches it: from then on it is a guest of the registry, until it
 * ends. Calls that ask libvirt block: any thread but the main one.
 *
 * A domain is addressed by its name, by "libvirt:NAME" where a guest of ours has the same one, or
 * by its UUID.
 */
#pragma once

#include "registry.h"

#include <vmckpt/libvirt/libvirt-link.h>

typedef struct _Domains Domains;

/**
 * domains_new:
 * @uri: (nullable): NULL: none
 * @registry: borrowed, must outlive it
 */
Domains *domains_new (Registry *registry, const char *uri);
void domains_free (Domains *domains);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Domains, domains_free)

/* The connection that a daemon looks at where none is named: the system's, for root's own runtime
 * directory, or NULL. */
const char *domains_default_uri (const char *runtime);

/* The connection, or NULL; borrowed. */
const char *domains_uri (const Domains *domains);

/**
 * domains_link:
 * @uri: of any connection
 *
 * Returns: (transfer full): a link to it, which is kept open for the next one who asks.
 */
LibvirtLink *domains_link (Domains *domains, const char *uri, GError **error);

/**
 * domains_list:
 *
 * Returns: (transfer full): running domains that are not attached, as the API shows guests; NULL
 * with @error if libvirt cannot be asked. Where libvirt is not there at all, none. Takes 5 s at
 * most.
 */
JsonArray *domains_list (Domains *domains, GError **error);

/* One of them by its name, UUID or "libvirt:NAME"; (transfer full), NULL: there is none. */
JsonObject *domains_show (Domains *domains, const char *name);

/**
 * domains_find:
 * @name: of a guest or a domain
 *
 * Returns: (transfer full): the guest; a domain that is none yet is attached. NULL with @error:
 * API_NOT_FOUND if nothing here has that name.
 */
Guest *domains_find (Domains *domains, const char *name, GCancellable *cancellable, GError **error);

/**
 * domains_record:
 * @spec: of a domain
 * @persistent: (out) (nullable): it stays defined when it ends
 * @present: (out) (nullable): the domain as it is now, all of whose disks can be captured; fails if
 *   one cannot
 *
 * What libvirt says of a domain, for the record of a checkpoint: { uri, host, xml, inactive_xml,
 * persistent, autostart }.
 *
 * Returns: NULL with @error; API_CONFLICT if a job of libvirt is at work on it.
 */
JsonObject *domains_record (Domains *domains, const GuestSpec *spec, gboolean *persistent,
                            GuestSpec **present, GCancellable *cancellable, GError **error);
