/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "migrate-life.h"

#include "peer.h"

#define ASK_US (5 * G_TIME_SPAN_SECOND)
#define SILENCE_MS 4000

struct _MigrateLife {
  char *to, *tls, *path;
  GCancellable *over;
  GMutex lock;
  GCond ending;
  gboolean ended; /* guarded by the lock */
  GThread *thread;
};

/* FALSE: it is to end. */
static gboolean
wait_for_next (MigrateLife *life)
{
  gint64 next = g_get_monotonic_time() + ASK_US;
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&life->lock);

  while (!life->ended && g_cond_wait_until (&life->ending, &life->lock, next))
    ;
  return !life->ended;
}

static gpointer
ask_thread (gpointer data)
{
  MigrateLife *life = data;
  const PeerListener listener = { .cancellable = life->over, .silence_ms = SILENCE_MS };
  g_autoptr (Peer) peer = peer_new (life->to, life->tls, NULL);

  while (peer != NULL && wait_for_next (life)) {
    /* Whether it has been decided is asked by who has to know. */
    g_autoptr (JsonObject) answer G_GNUC_UNUSED =
        peer_call (peer, "GET", life->path, NULL, &listener, NULL);
  }
  return NULL;
}

MigrateLife *
migrate_life_new (const char *to, const char *tls, const char *id)
{
  MigrateLife *life = g_new0 (MigrateLife, 1);

  life->to = g_strdup (to);
  life->tls = g_strdup (tls);
  life->path = g_strconcat ("/v1/migrations/", id, NULL);
  life->over = g_cancellable_new();
  g_mutex_init (&life->lock);
  g_cond_init (&life->ending);
  life->thread = g_thread_new ("migrate-life", ask_thread, life);
  return life;
}

void
migrate_life_free (MigrateLife *life)
{
  if (life == NULL)
    return;
  g_mutex_lock (&life->lock);
  life->ended = TRUE;
  g_cond_broadcast (&life->ending);
  g_mutex_unlock (&life->lock);
  g_cancellable_cancel (life->over);
  g_thread_join (life->thread);
  g_free (life->to);
  g_free (life->tls);
  g_free (life->path);
  g_object_unref (life->over);
  g_mutex_clear (&life->lock);
  g_cond_clear (&life->ending);
  g_free (life);
}
