/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A template: the RAM of a checkpoint as one file in memory that several guests map privately.
 * Clean pages are there once, whatever the number of guests; what a guest writes is its own.
 *
 *   PageMap ── fill ──▶ memfd ◀── MAP_PRIVATE ── QEMU 1 … QEMU n, each waits for what is missing
 *
 * A page goes into the file by UFFDIO_COPY into this process's own mapping of it: at once or not at
 * all, and just this page. (A write(2) would let others see a page before its content, and where
 * memory files have huge pages also its neighbours, as zeros.) Whoever waits for it is then woken.
 * What is present is what the file has: nothing else has to survive this process.
 *
 * Prerequisites: a fork's mapping is registered before anything touches it; the file is never
 * written by a guest (no discarding devices).
 */
#pragma once

#include <gio/gio.h>

#define TEMPLATE_FORKS_MAX 64

typedef struct _Template Template;

typedef struct {
  int memfd;      /* borrowed; -1: a new, empty file */
  guint64 length; /* bytes, a multiple of the page size */
  /* TRUE if the checkpoint has zeros there. One call at a time. */
  gboolean (*is_zero) (guint64 page, gpointer user_data);
  /* A guest waits for a page that is not there: it is to be put soon. One call at a time. */
  void (*want) (guint64 page, gpointer user_data);
  gpointer user_data;
} TemplateSetup;

/* Maps the file; marks as present what it has. */
Template *template_new (const TemplateSetup *setup, GError **error);

/* Stops serving: who waits goes on waiting. The guests and their mappings stay as they are. NULL is
 * ignored. */
void template_free (Template *template);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Template, template_free)

/* Ends the thread that serves; nothing is asked for any more. Once or not at all. */
void template_stop (Template *template);

/* The file, borrowed: QEMU opens it as its memory. */
int template_memfd (Template *template);

/* This process's userfaultfd over its own mapping, and where that is, for who fills; borrowed. */
int template_uffd (Template *template);
guint64 template_address (Template *template);

/* The bitmap of pages that are there: whoever puts a page sets its bit afterwards. */
_Atomic guint64 *template_present (Template *template);

/* Puts one page; nothing happens to one that is there already. Any thread. */
gboolean template_put (Template *template, guint64 page, const guint8 *data, GError **error);

/* Lets all go on that wait for one of these pages, which are there. Any thread. */
void template_wake (Template *template, guint64 first, guint64 count);

/**
 * template_add:
 * @name: who; unique
 * @uffd: a userfaultfd of the guest's process, not yet agreed on or by an earlier call; a duplicate
 *   is kept
 * @address: of its mapping of the file
 *
 * From now on the guest's faults are served. Registers the mapping for missing pages, also if an
 * earlier process had done so; whoever waits already asks again. Any thread.
 */
gboolean template_add (Template *template, const char *name, int uffd, guint64 address,
                       GError **error);

/* A guest that has gone. Any thread. */
void template_remove (Template *template, const char *name);

/* All pages are there: the guests need nobody any more. Any thread. */
void template_release (Template *template);

/* Pages that @name waits for, which are not there: (transfer full) (element-type guint64). */
GArray *template_waiting (Template *template, const char *name);

typedef struct {
  guint64 faults;
  guint64 zeros;
} TemplateStats;

/* @stats: (out): how many faults were served, and of these, how many with zeros. Any thread. */
void template_stats (Template *template, TemplateStats *stats);

/* TRUE if the file holds nothing: nobody touched it before the first guest was registered. */
gboolean template_is_untouched (Template *template);
