/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A client of the QEMU guest agent (qemu-ga, docs/interop/qemu-ga in QEMU), which answers inside of
 * the guest: what it says is the guest's word, bounded and never trusted further. One command at a
 * time, each with a deadline; one thread at a time.
 *
 * A connection begins with guest-sync-delimited: what an earlier client left unread is dropped. An
 * answer that comes after its deadline would be taken for that of the next command, so the
 * connection syncs anew before that.
 */
#pragma once

#include <gio/gio.h>

#define GUEST_AGENT_ERROR (guest_agent_error_quark())
GQuark guest_agent_error_quark (void);

typedef enum {
  GUEST_AGENT_ERROR_ABSENT,   /* nobody in the guest answers (in time), or QEMU has no such port */
  GUEST_AGENT_ERROR_TIMEOUT,  /* it answered before, and not to this in time */
  GUEST_AGENT_ERROR_COMMAND,  /* it refused: "description" */
  GUEST_AGENT_ERROR_PROTOCOL, /* it does not speak as an agent does, or beyond the bounds */
} GuestAgentError;

#define GUEST_AGENT_MAX_LINE (4 << 20)   /* bytes of an answer */
#define GUEST_AGENT_MAX_OUTPUT (1 << 20) /* bytes of a command's output that are kept, each way */
#define GUEST_AGENT_MAX_WORDS 256        /* of a command */

typedef struct _GuestAgent GuestAgent;

/**
 * guest_agent_connect:
 * @path: the socket of the port org.qemu.guest_agent.0, which lets one client in at a time
 * @timeout_ms: until the agent has answered
 * @cancellable: (nullable): of this call and of all later ones
 *
 * Returns: in step with the agent; GUEST_AGENT_ERROR_ABSENT if nobody answers.
 */
GuestAgent *guest_agent_connect (const char *path, int timeout_ms, GCancellable *cancellable,
                                 GError **error);
/* The same on a connected socket, @fd (transfer full). */
GuestAgent *guest_agent_new_for_fd (int fd, int timeout_ms, GCancellable *cancellable,
                                    GError **error);
/* Hangs up. What the guest was told to do goes on. */
void guest_agent_free (GuestAgent *agent);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (GuestAgent, guest_agent_free)

/* Whether it answers. */
gboolean guest_agent_ping (GuestAgent *agent, int timeout_ms, GError **error);

/**
 * guest_agent_freeze:
 * @frozen: (out): how many file systems
 *
 * Has hooks of the guest run (qemu-ga --fsfreeze-hook), everything written, and writers wait. After
 * any failure but GUEST_AGENT_ERROR_ABSENT the guest may be frozen, or may still become so: thaw.
 */
gboolean guest_agent_freeze (GuestAgent *agent, int timeout_ms, guint *frozen, GError **error);

/* Lets writers go on. Nothing is done if nothing is frozen. Not interrupted by the cancellable.
 * @thawed: (out) (optional): how many file systems. */
gboolean guest_agent_thaw (GuestAgent *agent, int timeout_ms, guint *thawed, GError **error);

/* Whether file systems are frozen, by whomever. */
gboolean guest_agent_is_frozen (GuestAgent *agent, int timeout_ms, gboolean *frozen,
                                GError **error);

/* ---- Clock and power ---- */

/* The guest's clock (CLOCK_REALTIME), microseconds since 1970, as it was when the guest answered.
 */
gboolean guest_agent_get_time (GuestAgent *agent, int timeout_ms, gint64 *us, GError **error);

/* Sets it, and the guest's hardware clock after it. A guest without hwclock(8) refuses. */
gboolean guest_agent_set_time (GuestAgent *agent, int timeout_ms, gint64 us, GError **error);

/* Asks the guest to shut down and power off. An agent does not answer to that, so what is told is
 * only whether it refused within @timeout_ms. */
gboolean guest_agent_shut_down (GuestAgent *agent, int timeout_ms, GError **error);

/* What a command came to. */
typedef struct {
  gboolean exited; /* else a signal ended it */
  int status;      /* exit status, or the signal */
  GBytes *out;     /* what it printed, GUEST_AGENT_MAX_OUTPUT at most */
  GBytes *err;
  gboolean truncated; /* it printed more */
} GuestAgentResult;

/* Frees what it holds and resets it. */
void guest_agent_result_clear (GuestAgentResult *result);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (GuestAgentResult, guest_agent_result_clear)

/**
 * guest_agent_run:
 * @argv: program, found by the guest's PATH, and arguments
 * @timeout_ms: until it has ended; it is not ended then
 * @result: (out)
 *
 * Runs a command in the guest. TRUE if it has ended, however.
 */
gboolean guest_agent_run (GuestAgent *agent, const char *const *argv, int timeout_ms,
                          GuestAgentResult *result, GError **error);
