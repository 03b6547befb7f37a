/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The small virtual machine that parses what a guest wrote, with the checkpoint's disks. Each disk
 * has a layer of its own above it, so that journals can be replayed; it goes with the appliance.
 */
#pragma once

#include "reply.h"

#include <gio/gio.h>
#include <guestfs.h>

typedef struct {
  char *socket;    /* NBD server (unix) */
  char **disks;    /* names of the disks; ended by NULL */
  char **exports;  /* their NBD exports, as many */
  char *directory; /* for sockets and layers */
  char *cache;     /* where the appliance is kept once it is built */
  int memory_mib;
  gboolean kvm;
} ApplianceOptions;

typedef struct {
  guestfs_h *g;
  const ApplianceOptions *options;
  Reply *reply;
  const char *phase; /* for progress */
  char *mounted;     /* (nullable): the place that is mounted, place.h */
  gboolean dirtied;  /* a file system was changed by a check */
} Appliance;

/* Starts it with the disks. NULL with @error (INSPECT_ERROR). */
Appliance *appliance_start (const ApplianceOptions *options, Reply *reply, GError **error);
void appliance_free (Appliance *appliance);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Appliance, appliance_free)

/* Sets @error to what libguestfs said last: "@what: …". Returns FALSE. */
gboolean appliance_fail (const Appliance *appliance, GError **error, const char *format, ...)
    G_GNUC_PRINTF (3, 4);

/* What @device, a name that libguestfs gave, is called on a command line in the appliance; newly
 * allocated. NULL if it has no name that could be written there. */
char *appliance_device (const Appliance *appliance, const char *device);

/* Progress of what follows is told as @phase. */
void appliance_set_phase (Appliance *appliance, const char *phase);

/* A list of libguestfs that is freed with its scope. */
typedef char *GuestfsStrings;
static inline void
guestfs_strings_free (GuestfsStrings *list)
{
  for (guint i = 0; list[i] != NULL; i++)
    free (list[i]);
  free (list);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (GuestfsStrings, guestfs_strings_free)

/* And a string. */
typedef char GuestfsString;
static inline void
guestfs_string_free (GuestfsString *text)
{
  free (text);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (GuestfsString, guestfs_string_free)
