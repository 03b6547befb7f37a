/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A domain of libvirt's that goes to another libvirt while it runs. libvirt does it, and sees to it
 * that one copy runs; here is what the daemon adds: what is refused, progress, and that the guest
 * is known to have gone.
 */
#pragma once

#include "request.h"

#include <vmckpt/unit/live-migration.h>

/* What is wanted; borrowed. */
typedef struct {
  const char *uri; /* of the other libvirt, as this one reaches it: qemu+tls://HOST/system */
  const LiveOptions *options;
  gboolean shared_disks; /* none is copied */
} DomainMove;

/* Whether @to names a libvirt rather than a vmckptd. */
gboolean migrate_domain_is_uri (const char *to);

/**
 * migrate_domain:
 * @guest: a domain, with work begun on it
 *
 * Returns: the API's result of `migrate`; NULL with @error: the domain runs on here, unless libvirt
 * says otherwise.
 */
JsonObject *migrate_domain (Request *request, Guest *guest, const DomainMove *move, GError **error);
