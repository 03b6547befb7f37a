/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The source's long call POST /v1/migrations, which lasts as long as the other host receives the
 * guest: on a thread and a connection of its own, while the guest is sent. To leave it before the
 * other host has decided makes that one give the guest up.
 */
#pragma once

#include <gio/gio.h>
#include <json-glib/json-glib.h>

typedef struct _MigrateCall MigrateCall;

/* Begins the call of @offer. */
MigrateCall *migrate_call_new (const char *to, const char *tls, JsonObject *offer, GError **error);
/* Ends it, and waits for its thread. */
void migrate_call_free (MigrateCall *call);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (MigrateCall, migrate_call_free)

/* Until the other host's QEMU listens: at @uri, and at @nbd for disks (nullable); both borrowed.
 * FALSE with the other host's reason. */
gboolean migrate_call_wait_listening (MigrateCall *call, const char **uri, const char **nbd,
                                      GCancellable *cancellable, GError **error);

/* After that: what the other host's records are called (arrivals_records()); borrowed. */
const char *migrate_call_records (MigrateCall *call);

/* Until all is there. */
gboolean migrate_call_wait_arrived (MigrateCall *call, GCancellable *cancellable, GError **error);

/* Whether the other host has given it up: FALSE with its reason. Does not wait. */
gboolean migrate_call_check (MigrateCall *call, GError **error);

/* Until the guest is in service there, or @timeout_ms have passed; borrowed, NULL if nobody knows.
 */
JsonObject *migrate_call_wait_served (MigrateCall *call, int timeout_ms);
