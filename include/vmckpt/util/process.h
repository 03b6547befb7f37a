/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Processes, named so that a recycled pid is never mistaken for the process that had it: the pid
 * together with its start time and the boot of the machine (proc(5), field 22 of stat).
 */
#pragma once

#include <gio/gio.h>
#include <sys/types.h>

typedef struct {
  pid_t pid;
  guint64 start_ticks; /* since boot; 0 = no process */
} ProcessId;

/* Names the process that has @pid now; start_ticks is 0 if there is none. */
ProcessId process_id_of (pid_t pid);

/* TRUE while that very process exists and is not a zombie; also if that cannot be found out. */
gboolean process_id_alive (ProcessId id);

/* This machine's current boot (/proc/sys/kernel/random/boot_id), newly allocated. */
char *process_boot_id (void);

/**
 * process_machine_id:
 *
 * This installation of the system, as 32 hexadecimal digits: a hash of /etc/machine-id, which
 * itself must not be given to others (machine-id(5)). Host names may be the same on several.
 *
 * Returns: newly allocated: empty if there is no machine id.
 */
char *process_machine_id (void);

/**
 * process_id_signal:
 * @id: whom
 * @signal: what, as for kill(2)
 *
 * Sends a signal through a pidfd, so that it cannot reach a later owner of the pid.
 *
 * Returns: FALSE if that process is gone or may not be signalled.
 */
gboolean process_id_signal (ProcessId id, int signal);

/**
 * process_id_wait_gone:
 * @id: a process, not necessarily a child
 * @timeout_ms: how long to wait, milliseconds
 *
 * Waits until the process has ended (it may still be a zombie of its parent). Blocks the thread.
 *
 * Returns: TRUE if it is gone.
 */
gboolean process_id_wait_gone (ProcessId id, int timeout_ms);

/*
 * A child that is killed and reaped when it goes out of scope, unless it was released or waited
 * for: `g_auto (ChildProcess) child = CHILD_PROCESS_NONE;`.
 */
typedef struct {
  pid_t pid;
} ChildProcess;

#define CHILD_PROCESS_NONE ((ChildProcess){ 0 })

/* Kills the child and reaps it, which waits until it has ended; nothing if there is none. */
void child_process_end (ChildProcess *child);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (ChildProcess, child_process_end)

/* Takes the child out of its guard; the caller reaps it. */
pid_t child_process_release (ChildProcess *child);
