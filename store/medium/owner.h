/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which process on which boot of which host something belongs to, and whether it is surely dead. */
#pragma once

#include <json-glib/json-glib.h>

#include <vmckpt/util/process.h>

/* How long the word of a process that cannot be asked (on another host) counts. */
#define OWNER_TRUST_US (24 * G_TIME_SPAN_HOUR)

typedef struct {
  char *host;
  char *boot_id;
  char *machine; /* (nullable): process_machine_id(); NULL: of a version that did not say */
  ProcessId process;
  gint64 since_us;       /* microseconds since 1970 */
  guint64 pid_namespace; /* inode of /proc/self/ns/pid there; 0: not known */
} Owner;

/* This process, now. */
void owner_init_self (Owner *owner);
void owner_clear (Owner *owner);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Owner, owner_clear)

/* TRUE only if the process is provably gone: same boot and pid namespace and not there, or same
 * machine (by its id and its name; by its name alone if the owner did not say) and another boot. */
gboolean owner_is_dead (const Owner *owner);

/**
 * owner_is_stale:
 * @age_us: how long ago it was written, by the clock of the store: clocks of hosts may be wrong
 *
 * The same, or of a process that cannot be asked and older than OWNER_TRUST_US.
 */
gboolean owner_is_stale (const Owner *owner, gint64 age_us);

/* To and from members of a JSON object. */
void owner_to_json (const Owner *owner, JsonObject *object);
gboolean owner_from_json (Owner *owner, JsonObject *object, GError **error);

/* As a file name "BOOT.PID.TICKS.HOST" or "BOOT.PID.TICKS.HOST.machine-MACHINE", newly allocated,
 * and back;
 * @since_us is the file's time. */
char *owner_to_file_name (const Owner *owner);
gboolean owner_from_file_name (Owner *owner, const char *name, gint64 since_us);
