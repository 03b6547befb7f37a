/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Exclusive work on a guest. */
#include "guest-private.h"

#include "api-error.h"

/* So long may it take to look for a QEMU: it and its keeper have 5 s for each answer. */
#define FINDING_WAIT_SECONDS 20

#define BRIEF_WORK_US (30 * G_USEC_PER_SEC)
#define CANCEL_CHECK_US (200 * 1000)

/* With the lock held, and nothing at work. */
static GuestWork *
begin (Guest *guest, const char *what, gboolean brief)
{
  GuestWork *work = g_new0 (GuestWork, 1);

  guest->work = what;
  guest->brief = brief;
  work->guest = guest_ref (guest);
  return work;
}

/* With the lock held. */
static GuestWork *
begin_work (Guest *guest, const char *what, GError **error)
{
  gint64 deadline = g_get_monotonic_time() + BRIEF_WORK_US;

  while (guest->work != NULL && guest->brief &&
         g_cond_wait_until (&guest->idle, &guest->lock, deadline))
    ;
  if (guest->work != NULL) {
    g_set_error (error, API_ERROR, API_CONFLICT, "guest %s is busy: %s is at work on it",
                 guest->spec->name, guest->work);
    return NULL;
  }
  return begin (guest, what, FALSE);
}

GuestWork *
guest_begin_work (Guest *guest, const char *what, GError **error)
{
  LOCK (guest);
  return begin_work (guest, what, error);
}

GuestWork *
guest_begin_work_when_found (Guest *guest, const char *what, GError **error)
{
  gint64 deadline = g_get_monotonic_time() + FINDING_WAIT_SECONDS * G_TIME_SPAN_SECOND;
  LOCK (guest);

  while (g_strcmp0 (guest->work, GUEST_WORK_FINDING) == 0 &&
         g_cond_wait_until (&guest->idle, &guest->lock, deadline))
    ;
  return begin_work (guest, what, error);
}

GuestWork *
guest_begin_brief_work (Guest *guest, const char *what, GCancellable *cancellable)
{
  LOCK (guest);

  while (guest->work != NULL && !g_cancellable_is_cancelled (cancellable))
    g_cond_wait_until (&guest->idle, &guest->lock, g_get_monotonic_time() + CANCEL_CHECK_US);
  return guest->work == NULL ? begin (guest, what, TRUE) : NULL;
}

GuestWork *
guest_wait_for_work (Guest *guest, const char *what, int timeout_ms, GError **error)
{
  gint64 deadline = g_get_monotonic_time() + timeout_ms * G_TIME_SPAN_MILLISECOND;

  {
    LOCK (guest);
    while (guest->work != NULL && g_cond_wait_until (&guest->idle, &guest->lock, deadline))
      ;
  }
  return guest_begin_work (guest, what, error);
}

gboolean
guest_is_busy (Guest *guest)
{
  LOCK (guest);
  return guest->work != NULL;
}

void
guest_end_work (GuestWork *work)
{
  {
    LOCK (work->guest);
    work->guest->work = NULL;
    g_cond_broadcast (&work->guest->idle);
  }
  guest_unref (work->guest);
  g_free (work);
}
