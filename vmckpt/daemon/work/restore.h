/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A restore as a request: name, claim, unit_restore(), and the guest into the registry. */
#pragma once

#include "request.h"

#include <vmckpt/unit/restore-disks.h>

/* A guest that comes from another host by this restore. */
typedef struct {
  Guest *guest;        /* (nullable): reserved, with work begun; NULL: as for any restore */
  UnitWaiting waiting; /* with @guest: its QEMU; emptied when it is used */
  /* As RestoreOptions' decide. Once it has returned TRUE the guest runs here whatever happens. */
  gboolean (*decide) (QmpClient *monitor, KeeperLease *lease, gpointer user_data, GError **error);
  gpointer user_data;
  gboolean decided;                                                                /* (out) */
  gboolean (*started) (const char *directory, gpointer user_data, GError **error); /* its QEMU */
} RestoreLanding;

typedef struct {
  const char *as;    /* (nullable) new name */
  const char *qemu;  /* (nullable) program */
  const char *accel; /* (nullable) */
  gboolean paused;
  gboolean accept_changed_disks;
  RestoreReading reading;
  gboolean held; /* its memory is read in the background only when registry_fill_held() says so */
  RestoreDisksWay disks;      /* of those that are in the checkpoint */
  DiskFileFormat disk_format; /* of whole files */
  const char *disk_directory; /* (nullable): where they go; NULL: the disks directory */
  GHashTable *disk_paths;     /* (nullable): by name, where a disk is or goes */
  gboolean sync_time;         /* when it runs, its clock is looked at and set right */
  gboolean take_over;         /* the host that claims the guest is known to be dead */
  RestoreLanding *landing;    /* (nullable) */
  const char *driver;         /* (nullable): "qemu" or "libvirt"; NULL: as recorded */
  GHashTable *paths;          /* (nullable): of a domain: files and directories, old to new */
} RestoreRequest;

/* Reads the members of a request's body that say where disks go: "disks", "disk_format",
 * "disk_directory", "disk_paths". API_USAGE. */
gboolean restore_parse_disks (Request *request, RestoreRequest *wish, GError **error);

/* The members that say who is to run it: "driver", and "paths" of a domain. API_USAGE. */
gboolean restore_parse_driver (Request *request, RestoreRequest *wish, GError **error);

/* Frees what these made. */
void restore_request_clear (RestoreRequest *wish);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (RestoreRequest, restore_request_clear)

/**
 * restore_checkpoint:
 *
 * Returns: the API's result; NULL with @error, and then nothing is left of the attempt.
 */
JsonObject *restore_checkpoint (Request *request, Store *store, const Manifest *manifest,
                                const RestoreRequest *wish, GError **error);

/**
 * restore_prepare_landing:
 * @manifest: of the guest that is to come, without disks; the one that it comes by is a later one
 * @wish: its landing gets the guest and a QEMU that waits
 *
 * What can be done before the guest stands still.
 *
 * Returns: FALSE with @error, and then nothing is left of the attempt.
 */
gboolean restore_prepare_landing (Request *request, Store *store, const Manifest *manifest,
                                  const RestoreRequest *wish, GError **error);

/* Ends what restore_prepare_landing() made, if it was not used. */
void restore_abandon_landing (Request *request, RestoreLanding *landing);

/* The same of a checkpoint by which its guest was suspended: it goes on with the disks that it had,
 * if they are as it left them. @wish: (inout): `disks` is chosen. */
JsonObject *restore_suspended (Request *request, Store *store, const Manifest *manifest,
                               RestoreRequest *wish, GError **error);

/* The API's result of a restore: @phase_ms are PHASE_COUNT durations. Newly allocated. */
JsonObject *restore_describe (Guest *guest, const Manifest *manifest, const double *phase_ms,
                              gint64 began_us);

/* @guest runs from @manifest: what the bitmaps of its disks are relative to, if it has any. */
gboolean restore_note_disk_base (Guest *guest, Store *store, const Manifest *manifest,
                                 GError **error);

/* @guest runs, and its memory is being served. @fill: (transfer full) (nullable): NULL: all is
 * there. @held: as RestoreRequest's. */
void restore_begin_filling (Guest *guest, GuestFill *fill, gboolean held);

/* The checkpoint's disks as files, and no guest: the API's result, or NULL with @error. */
JsonObject *restore_disks_only (Request *request, Store *store, const Manifest *manifest,
                                const RestoreRequest *wish, GError **error);
