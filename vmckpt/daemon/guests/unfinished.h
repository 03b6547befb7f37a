/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * restore.json: a restore whose disks are not all whole yet, for the next daemon. In the directory
 * of the disks, since it outlives the guest.
 */
#pragma once

#include <gio/gio.h>

typedef struct {
  char *name;
  char *path;
  char *base; /* (nullable): what is to come below the overlay @path */
} UnfinishedDisk;

/* A guest with such disks. */
typedef struct {
  char *guest, *uuid;
} UnfinishedGuest;

typedef struct {
  char *home;        /* the directory */
  GPtrArray *guests; /* of UnfinishedGuest: one, or forks that share the files to come */
  char *store_path, *store_id;
  char *checkpoint;
  gboolean ran;     /* the guest may have written to the disks */
  GPtrArray *disks; /* of UnfinishedDisk */
} Unfinished;

Unfinished *unfinished_new (const char *home);
void unfinished_free (Unfinished *unfinished);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Unfinished, unfinished_free)

void unfinished_add_guest (Unfinished *unfinished, const char *guest, const char *uuid);

/* The first one's name; borrowed. For messages. */
const char *unfinished_guest (const Unfinished *unfinished);

void unfinished_add_disk (Unfinished *unfinished, const char *name, const char *path,
                          const char *base);

/* Writes it; durable. */
gboolean unfinished_save (const Unfinished *unfinished, GError **error);

/* Reads it; NULL if there is none, or no good one. */
Unfinished *unfinished_load (const char *home);

/* Nothing is unfinished any more; the directory goes too if it is empty. */
void unfinished_remove (const Unfinished *unfinished);

/* Removes the files that it names, whole and partial. */
void unfinished_remove_files (const Unfinished *unfinished);
