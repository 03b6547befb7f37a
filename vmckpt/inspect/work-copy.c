/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* copy: a file's content, or a directory as a tar stream. */
#include "place.h"
#include "relay.h"
#include "work.h"

#include <vmckpt/inspect/inspector.h>

#include <sys/stat.h>

static gboolean
on_content (const guint8 *data, gsize len, gpointer user_data)
{
  return reply_data (user_data, data, len);
}

/* What comes first: what it is. */
static void
tell_kind (Appliance *appliance, const struct guestfs_statns *st)
{
  JsonObject *object = json_object_new();

  json_object_set_string_member (object, "kind", S_ISDIR (st->st_mode) ? "directory" : "file");
  json_object_set_int_member (object, "mode", st->st_mode & 07777);
  json_object_set_int_member (object, "bytes", S_ISREG (st->st_mode) ? st->st_size : 0);
  json_object_set_int_member (object, "modified_us",
                              st->st_mtime_sec * G_USEC_PER_SEC + st->st_mtime_nsec / 1000);
  reply_object (appliance->reply, "content", object);
}

/* Links are followed inside the guest's tree: libguestfs resolves paths with that as the root. */
static struct guestfs_statns *
find_file (Appliance *appliance, const InspectRequest *request, GError **error)
{
  struct guestfs_statns *st = guestfs_statns (appliance->g, request->path);

  if (st == NULL) {
    appliance_fail (appliance, error, "%s", request->path);
    return NULL;
  }
  if (S_ISREG (st->st_mode) || (S_ISDIR (st->st_mode) && !request->file_only))
    return st;
  g_set_error (error, INSPECT_ERROR, INSPECT_ERROR_USAGE, "%s is %s", request->path,
               S_ISDIR (st->st_mode) ? "a directory" : "neither a file nor a directory");
  guestfs_free_statns (st);
  return NULL;
}

static gboolean
copy_out (Appliance *appliance, const char *path, gboolean directory, GError **error)
{
  Relay *relay = relay_begin (on_content, appliance->reply, error);

  if (relay == NULL)
    return FALSE;
  int done = directory ? guestfs_tar_out_opts (appliance->g, path, relay_name (relay),
                                               GUESTFS_TAR_OUT_OPTS_NUMERICOWNER, 1, -1)
                       : guestfs_download (appliance->g, path, relay_name (relay));
  if (!relay_end (relay)) {
    g_set_error_literal (error, INSPECT_ERROR, INSPECT_ERROR_FAILED, "nobody reads the answer");
    return FALSE;
  }
  return done == 0 || appliance_fail (appliance, error, "reading %s", path);
}

JsonObject *
work_copy (Appliance *appliance, const InspectRequest *request, GError **error)
{
  struct guestfs_statns *st;

  if (!place_mount (appliance, request->volume, error))
    return NULL;
  appliance_set_phase (appliance, "read");
  st = find_file (appliance, request, error);
  if (st == NULL)
    return NULL;
  gboolean directory = S_ISDIR (st->st_mode);
  tell_kind (appliance, st);
  guestfs_free_statns (st);
  appliance->reply->bytes = 0;
  if (!copy_out (appliance, request->path, directory, error))
    return NULL;
  JsonObject *result = json_object_new();
  json_object_set_string_member (result, "kind", directory ? "directory" : "file");
  json_object_set_int_member (result, "bytes", appliance->reply->bytes);
  return result;
}
