/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What writers and gc tell each other without locks: announcements ("I am writing") and condemned
 * lists ("these packs will be deleted"). docs/store-format.md, "Deleting", says why the order in
 * which they are put and read is enough.
 */
#pragma once

#include "owner.h"
#include "store-private.h"

/* A walker reads the whole index and needs it to stay as it is; otherwise it is like a writer. */
typedef enum { ANNOUNCE_WRITER, ANNOUNCE_WALKER, ANNOUNCE_GC } AnnounceKind;

typedef struct {
  char *object; /* writers/UUID */
  AnnounceKind kind;
  Owner owner;
  gint64 put_us;    /* when, by the store's clock */
  gint64 age_us;    /* by that clock, at least; see announcements_list() */
  gboolean damaged; /* it cannot be read: a writer on an unknown host, which its age ends */
} Announcement;

void announcement_free (Announcement *announcement);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Announcement, announcement_free)

/* TRUE if whoever put it is gone, or cannot be asked and has had its time. */
gboolean announcement_is_stale (const Announcement *announcement);

/* Puts and syncs an announcement of this process; returns its object's name. */
char *announcement_put (Store *store, AnnounceKind kind, GError **error);

/**
 * announcement_take_back:
 * @object: (nullable): what announcement_put() returned; (transfer full)
 *
 * Removes an announcement. One that cannot be removed now would keep gc from its work for as long
 * as this process lives: that is tried again whenever the store's announcements are put or listed,
 * and when the store is closed.
 */
void announcement_take_back (Store *store, char *object);

/**
 * announcements_list:
 * @own: (nullable): an announcement of the caller
 *
 * Lists all there are, also of dead processes. Their age is that which they had when @own was put,
 * by the times that the store gives to objects: whose clock is wrong does no harm. Without @own
 * nobody knows how late it is, and no announcement is old.
 *
 * Returns: (transfer full) (element-type Announcement)
 */
GPtrArray *announcements_list (Store *store, const char *own, GError **error);

/* *any: a live walker or gc other than @own (nullable) is announced: index tables must stay. */
gboolean announcements_any_walker (Store *store, const char *own, gboolean *any, GError **error);

/* Adds the names of announcements that do not hold what they should to @damaged. */
gboolean announcements_check (Store *store, GPtrArray *damaged, GError **error);

/* Packs of one condemned object at most: bounds its size. */
#define CONDEMNED_PACKS_MAX 16384

/*
 * condemned/UUID lists the packs; it stays until they are dealt with, so that whoever lists the
 * directory while things change in it cannot miss it. condemned/UUID.waits comes later and says for
 * whom gc waits.
 */
typedef struct {
  char *object;
  GHashTable *packs;      /* set of ChunkName */
  gboolean knows_writers; /* FALSE: gc has not noted yet which writers there are */
  GHashTable *waits_for;  /* set of char*: announcements that were there then */
} Condemned;

void condemned_free (Condemned *condemned);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Condemned, condemned_free)

/* Puts and syncs a list; returns the object's name. */
char *condemned_put (Store *store, GPtrArray *packs, GError **error);

/* Notes that the list @object waits for these announcements. */
gboolean condemned_put_waits (Store *store, const char *object, GHashTable *waits_for,
                              GError **error);

/* Removes a list and what belongs to it. */
gboolean condemned_remove (Store *store, const char *object, GError **error);

/* Removes lists of writers whose list of packs is gone. Only for gc, of which there is one. */
gboolean condemned_remove_stray (Store *store, GError **error);

/* Reads all lists. (transfer full) (element-type Condemned). @damaged: (out) (optional) (transfer
 * full): names of objects that cannot be read; without it, one such is an error. */
GPtrArray *condemned_list (Store *store, GPtrArray **damaged, GError **error);

/* All packs of all lists, as a set of ChunkName. (transfer full) */
GHashTable *condemned_packs (Store *store, GError **error);
