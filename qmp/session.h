/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is under way on a monitor: commands waiting to be sent, commands waiting for their answer,
 * and what has come in but has not been handed over yet. No I/O, no main loop, no lock: client.c
 * has these.
 */
#pragma once

#include "message.h"

#include <vmckpt/util/fd.h>

/*
 * In-band commands sent and not yet answered. QEMU queues 8 of them and then stops reading,
 * out-of-band commands included (QEMU: docs/interop/qmp-spec, "Out-of-band execution"), so fewer
 * are sent.
 */
#define QMP_MAX_IN_FLIGHT 7

typedef enum {
  QMP_CALL_NEW,       /* not submitted */
  QMP_CALL_QUEUED,    /* not sent */
  QMP_CALL_SENT,      /* no answer yet */
  QMP_CALL_COMPLETED, /* `result` or `error` is set; earlier events are still to be handed over */
  QMP_CALL_DELIVERED, /* the caller may have it */
} QmpCallState;

/* One command from submission to delivery. */
typedef struct {
  int refs; /* atomic */
  guint64 id;
  char *command; /* for messages */
  char *line;    /* until it is sent */
  AutoFd pass_fd;
  gboolean oob;
  int timeout_ms;
  gint64 deadline_us;
  QmpCallState state;
  gboolean ended_here; /* completed by abandon, expire or lose, not by an answer */
  JsonNode *result;
  GError *error;
  GCancellable *cancellable; /* (nullable) */
  gulong cancel_id;
  /* Called at home when it is delivered; NULL if somebody waits in qmp_client_execute(). */
  GAsyncReadyCallback callback;
  gpointer user_data;
} QmpCall;

QmpCall *qmp_call_ref (QmpCall *call);
void qmp_call_unref (QmpCall *call);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (QmpCall, qmp_call_unref)

/* Something to hand over, in the order in which it came from the server: a call or an event. */
typedef struct {
  QmpCall *call;      /* (nullable) */
  QmpMessage message; /* if there is no call: an EVENT; its name is NULL when the monitor is lost */
} QmpDelivery;

void qmp_delivery_free (QmpDelivery *delivery);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (QmpDelivery, qmp_delivery_free)

typedef struct {
  guint64 last_id;
  GQueue queued;    /* of QmpCall, owned: QMP_CALL_QUEUED */
  GHashTable *sent; /* id → QmpCall, owned: sent and unanswered. Abandoned ones stay until the late
                       answer, because the server's queue still holds them. */
  guint in_flight;  /* in-band calls of `sent` */
  GQueue deliveries; /* of QmpDelivery, owned */
  GError *lost;      /* why the monitor is gone; NULL while it is there */
} QmpSession;

void qmp_session_init (QmpSession *session);
void qmp_session_clear (QmpSession *session);

/**
 * qmp_session_submit:
 * @call: a call with `line` still unset
 *
 * Gives it an id, builds its line and queues it; on a lost monitor it completes with that error. A
 * call that was abandoned before is left alone.
 */
void qmp_session_submit (QmpSession *session, QmpCall *call, JsonObject *arguments);

/* TRUE if qmp_session_next_to_send() has one. */
gboolean qmp_session_may_send (QmpSession *session);

/* The next call that may be sent now: (transfer full), `line` and `pass_fd` are for the taker. Or
 * NULL. */
QmpCall *qmp_session_next_to_send (QmpSession *session);

/* Takes in what came: answers complete their call, events are queued, late answers are dropped. */
void qmp_session_receive (QmpSession *session, QmpMessage *message);

/* Ends a call early with @error (transfer full). FALSE, and nothing happens, if it is completed. */
gboolean qmp_session_abandon (QmpSession *session, QmpCall *call, GError *error);

/* Ends every call whose deadline has passed. */
void qmp_session_expire (QmpSession *session, gint64 now_us);

/* The next deadline, or -1. */
gint64 qmp_session_next_deadline (QmpSession *session);

/* The monitor is gone: every call completes with @reason; an event without name follows if
 * @announce. */
void qmp_session_lose (QmpSession *session, const GError *reason, gboolean announce);

/* QMP_ERROR_TIMEOUT for that call. */
GError *qmp_call_timeout_error (QmpCall *call);
