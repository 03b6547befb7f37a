/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The other host gives a migration up whose source it hears nothing of: this asks it something
 * every few seconds, on a thread of its own, while the source is at work for long. */
#pragma once

#include <gio/gio.h>

typedef struct _MigrateLife MigrateLife;

/* @to, @tls: as for peer_new(); @id: of the migration. */
MigrateLife *migrate_life_new (const char *to, const char *tls, const char *id);
/* Ends it, and waits for its thread. */
void migrate_life_free (MigrateLife *life);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (MigrateLife, migrate_life_free)
