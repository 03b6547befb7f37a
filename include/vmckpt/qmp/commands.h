/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The QMP commands that vmckpt uses, typed. Each may be called from any thread (see client.h), has
 * the default deadline, and fails with QMP_ERROR or, where the answer is not what the schema says,
 * with QMP_ERROR_PROTOCOL.
 */
#pragma once

#include <vmckpt/qmp/client.h>

/* query-status: the run state, e.g. "running", "paused", "postmigrate"; newly allocated. */
char *qmp_query_status (QmpClient *client, GError **error);
/* The same, of a QEMU that may not answer; @timeout_ms milliseconds, 0: as all other commands. */
char *qmp_query_status_within (QmpClient *client, int timeout_ms, GError **error);

/* stop, cont and quit: pause and resume the CPUs, end QEMU. */
gboolean qmp_stop (QmpClient *client, GError **error);
gboolean qmp_cont (QmpClient *client, GError **error);
gboolean qmp_quit (QmpClient *client, GError **error);

/* getfd: gives QEMU a descriptor under @name for "fd:@name"; @fd stays the caller's. */
gboolean qmp_getfd (QmpClient *client, const char *name, int fd, GError **error);

/* closefd: drops the descriptor @name that qmp_getfd() gave, if nothing has taken it. Fails with
 * QMP_ERROR_COMMAND if there is none. */
gboolean qmp_closefd (QmpClient *client, const char *name, GError **error);

/* add-fd: gives QEMU a descriptor for "/dev/fdset/@set"; @fd stays the caller's. */
gboolean qmp_add_fd (QmpClient *client, gint64 set, int fd, GError **error);

/* migrate-set-capabilities for one capability. */
gboolean qmp_migrate_set_capability (QmpClient *client, const char *capability, gboolean state,
                                     GError **error);

typedef struct {
  const char *name;
  gboolean state;
} QmpCapability;

/* The same for @count of them in one command: all or, if QEMU refuses one, none. */
gboolean qmp_migrate_set_capabilities (QmpClient *client, const QmpCapability *capabilities,
                                       guint count, GError **error);

/* TRUE in @known if this QEMU has the capability at all (query-migrate-capabilities). */
gboolean qmp_migrate_has_capability (QmpClient *client, const char *capability, gboolean *known,
                                     GError **error);

/* migrate-set-parameters max-bandwidth, bytes per second; QEMU's default is only 128 MiB/s. */
gboolean qmp_migrate_set_bandwidth (QmpClient *client, guint64 bytes_per_second, GError **error);

/* migrate and migrate-incoming; @uri e.g. "fd:vmckpt". Both return at once. */
gboolean qmp_migrate (QmpClient *client, const char *uri, GError **error);
gboolean qmp_migrate_incoming (QmpClient *client, const char *uri, GError **error);

/* migrate_cancel: ends an outgoing migration, soon; does nothing if there is none. */
gboolean qmp_migrate_cancel (QmpClient *client, GError **error);

/* What query-migrate says. Free with qmp_migration_clear(). */
typedef struct {
  char *status;          /* "none", "setup", "active", "completed", "failed", … */
  char *error_desc;      /* (nullable) */
  char *blocked_reasons; /* (nullable): why this guest cannot be migrated now, joined with "; " */
  guint64 ram_total, ram_transferred, ram_remaining; /* bytes; 0 where not reported */
  guint64 total_ms, downtime_ms;                     /* of one that is over, it took; else 0 */
} QmpMigration;

/* Frees what it holds and resets it. */
void qmp_migration_clear (QmpMigration *migration);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (QmpMigration, qmp_migration_clear)

/* query-migrate: how the migration is. @migration: (out caller-allocates): to be cleared, set only
 * on success. */
gboolean qmp_query_migrate (QmpClient *client, QmpMigration *migration, GError **error);

/* query-memdev: a memory backend that is shared with others and is not called @besides: its name,
 * newly allocated, or NULL if there is none. */
gboolean qmp_find_shared_memory (QmpClient *client, const char *besides, char **name,
                                 GError **error);

/* query-machines: an array of objects, newly allocated. */
JsonArray *qmp_query_machines (QmpClient *client, GError **error);

/* The versioned name that @alias ("q35", "pc") stands for among @machines, or @alias itself if it
 * is a full name; NULL if there is none; newly allocated. @ram_id: (out) (optional) (nullable): the
 * name of the RAM block that it makes by default; newly allocated. */
char *qmp_find_machine (JsonArray *machines, const char *alias, char **ram_id);
