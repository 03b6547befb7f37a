/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   userfaultfd ──▶ servers (2) ── page ─────────┐
 *                      │ touched window          ├─▶ PageMapReader ─▶ PageDelivery ─▶ guest's RAM
 *                      ▼                         │
 *                   FillPlan ──▶ fillers (niced) ┘ windows
 *
 * Servers do nothing but the page that the guest waits for and its closest neighbours; they never
 * wait for anything but the store. Fillers read the rest. When all that has data is there,
 * stretches of zeros stop being missing and the fill is complete; servers stay, for pages that the
 * guest gives back.
 *
 * lazy-fill.c is the object, fill-server.c the servers, fill-filler.c the fillers; fill-state.c is
 * what both do alike.
 *
 * Locks: `lock` guards what is marked so; nothing blocks under it. PageDelivery needs none.
 */
#pragma once

#include <vmckpt/ram/lazy-fill.h>

#include "fill-areas.h"
#include "fill-plan.h"
#include "page-delivery.h"

#include <vmckpt/store/store.h>

#define FILL_SERVERS 2
#define FILL_FILLERS_MAX 4
#define FILL_PAGES_MAX (FILL_PLAN_STRIDE * FILL_WINDOW_PAGES)
/* Until the store is tried again that could not be reached: at first. */
#define FILL_RETRY_FIRST_US (G_USEC_PER_SEC / 2)

G_STATIC_ASSERT (FILL_PAGES_MAX <= PAGE_MAP_RUN_MAX);

/* What threads read from; replaced when the store was opened anew. */
typedef struct {
  PageMapReader *map;
} FillSource;

struct _LazyFill {
  PageMap map;
  guint64 pages;
  gboolean untracked, discards;
  PageDelivery delivery;
  LazyFillFunc func;
  gpointer user_data;
  int wake; /* eventfd: servers look at `wanted` and `stopping` */
  GThread *servers[FILL_SERVERS];
  GThread *fillers[FILL_FILLERS_MAX];
  guint n_servers, n_fillers;

  GMutex lock;
  GCond changed;         /* any of the following */
  FillSource *source;    /* (lock), atomically counted */
  FillPlan *plan;        /* (lock) */
  FillOrder *touched;    /* (lock) */
  guint64 *zero;         /* (lock): bitmap of pages that are zeros in the map */
  GQueue wanted;         /* (lock): pages to serve without a fault, GSIZE_TO_POINTER() */
  guint wanted_open;     /* (lock): of these and those that were taken out: not served yet */
  GArray *failed;        /* (lock) of guint64: pages that the guest waits for and cannot be read */
  GArray *unread;        /* (lock) of FillRun: what fillers could not read */
  guint active;          /* (lock): fillers at work */
  guint holds;           /* (lock): areas must not change */
  gboolean settling;     /* (lock): a filler does what comes after the last page */
  gboolean complete;     /* (lock) */
  gboolean stopping;     /* (lock); atomic for whoever has not got it */
  gint64 retry_us;       /* (lock): monotonic time until which fillers leave the store alone */
  gint64 retry_delay_us; /* (lock) */
  GError *error;         /* (lock): the last reason why something could not be read */
  guint64 faults;        /* (lock) */
  guint retries;         /* (lock): what failed before one of them says nothing any more */
};

#define FILL_LOCK(fill)                                                                            \
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&(fill)->lock)

/* ---- fill-state.c ---- */

/* Opens what @map names in @store; NULL with @error. */
FillSource *fill_source_new (Store *store, const PageMap *map, GError **error);
/* With the last reference it is closed. */
void fill_source_unref (FillSource *source);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FillSource, fill_source_unref)

/* What is read from now. (transfer full) Takes the lock. */
FillSource *fill_get_source (LazyFill *fill);

/* Reads @count pages into @data, and which of them are zeros into @zero. Takes the lock for a
 * moment. */
gboolean fill_read_run (LazyFill *fill, guint64 first, guint count, guint8 *data, gboolean *zero,
                        GError **error);

/* Whether threads are to end. Any thread, with the lock or without. */
gboolean fill_is_stopping (LazyFill *fill);

/* @error is why reading does not go on. With the lock. */
void fill_note_error (LazyFill *fill, const GError *error);

/* How often all was to be tried again: to be asked before reading. Takes the lock. */
guint fill_count_retries (LazyFill *fill);

/* A thread's memory for FILL_PAGES_MAX pages. */
typedef struct {
  guint8 *data; /* for FILL_PAGES_MAX pages */
  gboolean zero[FILL_PAGES_MAX];
} FillBuffer;

/* Newly allocated. */
FillBuffer *fill_buffer_new (void);
/* Frees @buffer. */
void fill_buffer_free (FillBuffer *buffer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FillBuffer, fill_buffer_free)

/* ---- fill-server.c ---- */

/* A thread's function; @fill: borrowed. Ends when the fill is stopping and servers are woken. */
gpointer fill_server_thread (gpointer fill);

/* Has servers look at `wanted` and `stopping`. Any thread. */
void fill_wake_servers (LazyFill *fill);

/* @page is to be served without a fault; to be followed by fill_wake_servers(). With the lock. */
void fill_want_page (LazyFill *fill, guint64 page);

/* Puts the page that somebody waits for, whoever else may be about to. Without the lock. */
gboolean fill_bring_page (LazyFill *fill, guint64 page, FillBuffer *buffer, GError **error);

/* ---- fill-filler.c ---- */

/* A thread's function; @fill: borrowed. Ends when all is there, or the fill is stopping. */
gpointer fill_filler_thread (gpointer fill);
