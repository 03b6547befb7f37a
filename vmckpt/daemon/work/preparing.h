/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The preparation of a libvirt domain (drivers/domain-prepare.h) shown, made and taken back, and
 * what its checkpoints will be like. The domain need not run, and is not attached. Calls ask
 * libvirt and block: any thread but the main one.
 */
#pragma once

#include "domains.h"

#include <json-glib/json-glib.h>

/**
 * preparing_domain:
 * @name: of a domain, its UUID, or "libvirt:NAME"
 * @undo: the change that is shown takes the preparation back
 * @apply: the change is made, for the domain's next start
 *
 * Returns: (transfer full): { "domain", "uuid", "running", "undo", "needed", "applied", "diff",
 * "notes": […] }; NULL with @error: API_NOT_POSSIBLE with the reasons, API_CONFLICT if somebody
 * else changed the description meanwhile.
 */
JsonObject *preparing_domain (Domains *domains, const char *name, gboolean undo, gboolean apply,
                              GCancellable *cancellable, GError **error);

/* What its checkpoints will contain and what stands against them: domain_doctor()'s answer. */
JsonObject *preparing_doctor (Domains *domains, const char *name, GCancellable *cancellable,
                              GError **error);
