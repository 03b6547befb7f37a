/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "disk-work.h"

#include "disk-homes.h"
#include "disks-left.h"

#include <vmckpt/disk/disk-server.h>

#include <glib/gstdio.h>

void
disk_work_clear (DiskWork *work)
{
  if (work->hydration != NULL)
    hydration_undo (work->hydration);
  else if (work->home != NULL)
    g_rmdir (work->home);
  restore_disks_free (work->planned);
  g_free (work->home);
  g_free (work->socket);
}

gboolean
disk_work_choose (DiskWork *work, Daemon *daemon, const Manifest *manifest,
                  const RestoreRequest *wish, const char *name, GError **error)
{
  work->options = (RestoreDisksOptions){ .way = wish->disks,
                                         .format = wish->disk_format,
                                         .directory = wish->disk_directory,
                                         .paths = wish->disk_paths };
  if (wish->disks == RESTORE_DISKS_AS_LEFT || manifest_find_part (manifest, "disk", NULL) == NULL)
    return TRUE;
  work->home = disk_home_make (daemon->runtime->disks, name, error);
  if (work->home == NULL)
    return FALSE;
  work->socket = g_build_filename (work->home, DISK_SERVER_FILE_SOCKET, NULL);
  work->options.socket = work->socket;
  if (wish->disk_directory == NULL)
    work->options.directory = work->home;
  else if (g_mkdir_with_parents (wish->disk_directory, 0700) < 0)
    return fd_set_errno_error (error, "making %s", wish->disk_directory);
  return TRUE;
}

gboolean
disk_work_write (DiskWork *work, Request *request, Guest *guest, Store *store,
                 const Manifest *manifest, GError **error)
{
  Daemon *daemon = request->daemon;
  const HydrationGuest restored = { guest_spec (guest), work->planned };

  if (work->options.way == RESTORE_DISKS_IN_PLACE &&
      !disks_left_check_in_place (daemon->runtime, guest_uuid (guest), work->planned, store,
                                  &request->watcher, error))
    return FALSE;
  if (work->home == NULL)
    return TRUE;
  g_autofree char *home = g_steal_pointer (&work->home);
  work->hydration = hydration_begin (daemon->hydrations, home, &restored, 1, store,
                                     request_query (request, "store"), request->key, manifest,
                                     &request->watcher, error);
  return work->hydration != NULL;
}

gboolean
disk_work_note_run (gpointer data, GError **error)
{
  DiskWork *work = data;

  if (work->hydration != NULL && !hydration_note_run (work->hydration, error))
    return FALSE;
  disks_left_forget (work->runtime, work->uuid);
  return TRUE;
}
