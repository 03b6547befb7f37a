/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "domain-unfinished.h"

#include "domain-attach.h"
#include "domain-fill.h"
#include "domains.h"

#include <vmckpt/util/json.h>

#include <glib/gstdio.h>
#include <string.h>

#define DIRECTORY "restoring"
#define MAX_BYTES 65536
#define MAX_DEPTH 4
#define WAIT_US (20 * G_USEC_PER_SEC)
#define POLL_US (100 * 1000)

static char *
note_path (const Runtime *runtime, const char *uuid)
{
  g_autofree char *file = g_strconcat (uuid, ".json", NULL);

  return g_build_filename (runtime->path, DIRECTORY, file, NULL);
}

gboolean
domain_unfinished_note (const Runtime *runtime, const char *uri, const char *uuid, GError **error)
{
  g_autofree char *path = note_path (runtime, uuid);
  g_autofree char *directory = g_path_get_dirname (path);
  g_autoptr (JsonObject) object = json_object_new();

  if (g_mkdir_with_parents (directory, 0700) < 0)
    return fd_set_errno_error (error, "making %s", directory);
  json_object_set_string_member (object, "uri", uri);
  json_object_set_string_member (object, "uuid", uuid);
  g_autofree char *text = json_to_line (object);
  return fd_replace_file (path, text, strlen (text), error);
}

void
domain_unfinished_forget (const Runtime *runtime, const char *uuid)
{
  g_autofree char *path = note_path (runtime, uuid);

  g_unlink (path);
}

/* The domain when libvirt has nothing to do with it any more; NULL if it is gone, or nobody tells.
 */
static LibvirtDescription *
wait_for_libvirt (LibvirtLink *link, const char *uuid)
{
  gint64 deadline_us = g_get_monotonic_time() + WAIT_US;

  for (;;) {
    LibvirtDescription *description = libvirt_link_describe (link, uuid, NULL, NULL);
    if (description == NULL || description->domain->job == NULL ||
        g_get_monotonic_time() > deadline_us)
      return description;
    libvirt_description_free (description);
    g_usleep (POLL_US);
  }
}

/* What libvirt says of a domain that was loaded, and that nobody has touched since. */
static gboolean
is_left_stopped (const LibvirtDomain *domain)
{
  return domain->job == NULL && g_str_equal (domain->state, "paused") &&
         g_strcmp0 (domain->reason, "migration") == 0;
}

/* It was not far enough to be a guest. */
static void
remove_directory (const Runtime *runtime, const char *uuid)
{
  g_autofree char *directory = runtime_guest_directory (runtime, uuid);

  domain_detach (directory);
  qemu_remove_directory (directory);
}

/* Destroys it if it was not let run. One whose memory is missing may keep libvirt waiting for its
 * QEMU, whatever libvirt is at. */
static void
end_left (LibvirtLink *link, const char *uuid)
{
  gboolean forsaken = domain_fill_is_left (link, uuid);
  g_autoptr (LibvirtDescription) description = forsaken ? NULL : wait_for_libvirt (link, uuid);
  g_autoptr (GError) error = NULL;

  if ((forsaken || (description != NULL && is_left_stopped (description->domain))) &&
      !libvirt_link_command (link, "destroy", uuid, NULL, &error) &&
      !g_error_matches (error, LIBVIRT_ERROR, LIBVIRT_ERROR_NOT_FOUND))
    g_message ("domain %s, whose restore was interrupted: %s", uuid, error->message);
}

static void
end (const Daemon *daemon, const char *uri, const char *uuid)
{
  g_autoptr (Guest) guest = registry_find_uuid (daemon->registry, uuid);
  g_autoptr (LibvirtLink) link = guest == NULL ? domains_link (daemon->domains, uri, NULL) : NULL;

  if (link != NULL)
    end_left (link, uuid);
  if (guest == NULL)
    remove_directory (daemon->runtime, uuid);
}

static void
end_noted (const Daemon *daemon, const char *path)
{
  g_autofree char *text = NULL;
  g_autoptr (JsonObject) object = NULL;
  gsize len;

  if (g_file_get_contents (path, &text, &len, NULL))
    object = json_parse_bounded (text, len, MAX_BYTES, MAX_DEPTH, NULL);
  const char *uri = object != NULL ? json_get_string_or (object, "uri", NULL) : NULL;
  const char *uuid = object != NULL ? json_get_string_or (object, "uuid", NULL) : NULL;
  if (uri != NULL && uuid != NULL && g_uuid_string_is_valid (uuid))
    end (daemon, uri, uuid);
  g_unlink (path);
}

void
domain_unfinished_clean (const Daemon *daemon)
{
  g_autofree char *directory = g_build_filename (daemon->runtime->path, DIRECTORY, NULL);
  g_autoptr (GDir) dir = g_dir_open (directory, 0, NULL);
  const char *name;

  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL) {
    g_autofree char *path = g_build_filename (directory, name, NULL);
    end_noted (daemon, path);
  }
}
