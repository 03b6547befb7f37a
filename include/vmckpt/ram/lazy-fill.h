/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Filling the RAM of a guest that runs already: its pages come from a checkpoint's page map, those
 * that the guest waits for at once, the others in the background.
 *
 * The RAM is a shared mapping in another process whose userfaultfd is registered for missing pages
 * and write-protection. Each page is delivered from the map exactly once, write-protected, so that
 * tracking knows what the guest writes from the first moment. The bitmap `present` says for which
 * pages the map is not needed any more; it lies in the guest's log, so whoever serves the guest
 * next goes on from there. While nobody serves it the guest waits; it never reads zeros that are
 * not its own. vmckpt/ram/README.md, "Filling".
 */
#pragma once

#include <vmckpt/store/page-map.h>

typedef struct _LazyFill LazyFill;

/* What happens to a fill. Called from its threads, which wait for the return: do no more than pass
 * it on. */
typedef enum {
  LAZY_FILL_COMPLETE, /* all is there; once */
  LAZY_FILL_STUCK,    /* the guest waits for a page that cannot be read: it should be paused */
} LazyFillEvent;

typedef void (*LazyFillFunc) (LazyFillEvent event, gpointer user_data);

typedef struct {
  Store *store; /* a reference is taken */
  PageMap map;
  int uffd;        /* borrowed; its features were agreed on (UFFDIO_API) */
  guint64 address; /* of the RAM's first byte in the guest's process */
  /* Bitmaps of pages, lowest bit of a word first, that others use at the same time; they outlive
   * the fill (dirty-log-layout.h). */
  _Atomic guint64 *present;
  _Atomic guint64 *discarded; /* (nullable): pages that the guest gave back: they read as zeros */
  /* (nullable): from lazy_fill_touched() of an earlier restore: the order to read in */
  GBytes *order;
  /* The guest has a device that gives pages back to the host (virtio-balloon). When all is there,
   * no page is missing any more, at the price that all count as written once. */
  gboolean discards;
  LazyFillFunc func; /* (nullable) */
  gpointer user_data;
  /* For RAM that several guests map privately (template.h): @uffd and @address are then of this
   * process's own mapping of the file, which nobody touches. Registered for missing pages alone,
   * delivered without write-protection. */
  gboolean untracked;
  /* (nullable): told of pages right after they were delivered, or found to be there, by whichever
   * thread did it: lets their other waiters go on. */
  void (*delivered) (guint64 first, guint64 count, gpointer user_data);
} LazyFillSetup;

/* Opens the map; reads only its root. */
LazyFill *lazy_fill_new (const LazyFillSetup *setup, GError **error);

/**
 * lazy_fill_register:
 *
 * For a new restore, after tracking has begun (dirty_tracker_begin() in async mode: all is
 * registered for write-protection, and protected) and before anything touches the RAM: registers
 * all that the map has data for as missing too. Long stretches of zeros are never missing. Takes a
 * bounded number of memory areas (vm.max_map_count). A fill that goes on where another one ended
 * does without: the registration is QEMU's.
 */
gboolean lazy_fill_register (LazyFill *fill, GError **error);

/* Starts serving what is waited for. */
gboolean lazy_fill_serve (LazyFill *fill, GError **error);

/* Starts serving, if that was not done, and filling. */
gboolean lazy_fill_start (LazyFill *fill, GError **error);

/* Stops the threads; faults wait from now on. NULL is ignored. Not from a LazyFillFunc. */
void lazy_fill_free (LazyFill *fill);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (LazyFill, lazy_fill_free)

typedef struct {
  guint64 pages;     /* of the RAM */
  guint64 present;   /* of these: there, or zeros that need not come */
  guint64 faults;    /* pages that the guest waited for */
  gboolean stuck;    /* it waits for one that cannot be read */
  gboolean complete; /* all is there */
  char *reason;      /* (nullable) owned: why filling does not go on */
} LazyFillStatus;

/* Frees what it holds and resets it. */
void lazy_fill_status_clear (LazyFillStatus *status);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (LazyFillStatus, lazy_fill_status_clear)

/* How far it is. Any thread. */
void lazy_fill_status (LazyFill *fill, LazyFillStatus *status);

/* Tries again what could not be read; @store: (nullable): opened anew, to read from instead. */
void lazy_fill_retry (LazyFill *fill, Store *store);

/* FALSE with @error if the guest waits for a page that cannot be read. */
gboolean lazy_fill_check_served (LazyFill *fill, GError **error);

/* Waits until what was tried again, or wanted, is there; FALSE with @error if some of it still
 * cannot be read. */
gboolean lazy_fill_wait_served (LazyFill *fill, GCancellable *cancellable, GError **error);

/* Waits until all is there. FALSE with @error (of the store) if that cannot be, or when cancelled.
 * @progress: (nullable): PHASE_READ */
gboolean lazy_fill_wait (LazyFill *fill, const Progress *progress, GCancellable *cancellable,
                         GError **error);

/**
 * lazy_fill_bring:
 *
 * Sees to it that @count pages from @first are there before it returns: who reads the memory from
 * outside would find holes otherwise. For pages that count as written; those that do not are in the
 * map. Any thread.
 */
gboolean lazy_fill_bring (LazyFill *fill, guint64 first, guint64 count, GError **error);

/* Between the two the registration of the memory does not change, so that written pages can be
 * looked for (PAGEMAP_SCAN wants all of it to be registered). The fill goes on, but is not
 * complete. Any thread; may be nested. */
void lazy_fill_hold (LazyFill *fill);
void lazy_fill_release (LazyFill *fill);

/* A fault that came otherwise than through the fill's own uffd: the page is fetched before others
 * and `delivered` told. Returns at once; any thread. */
void lazy_fill_want (LazyFill *fill, guint64 page);

/**
 * lazy_fill_touched:
 *
 * The order in which pages were first waited for since the start, for the next restore
 * (fill-order.h documents the bytes); bounded. (transfer full) (nullable): NULL if there were none.
 */
GBytes *lazy_fill_touched (LazyFill *fill);
