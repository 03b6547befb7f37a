/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bridge-record.h"

#include <vmckpt/util/fd.h>
#include <vmckpt/util/json.h>
#include <vmckpt/util/process-json.h>

#include <string.h>
#include <unistd.h>

#define RECORD_VERSION 1
#define RECORD_MAX_BYTES 65536
#define RECORD_DEPTH 4

gboolean
bridge_record_write (const char *directory, const LibvirtBridge *bridge, GError **error)
{
  g_autoptr (JsonObject) object = json_object_new();
  g_autofree char *path = g_build_filename (directory, LIBVIRT_BRIDGE_RECORD, NULL);
  g_autofree char *boot = process_boot_id();

  json_object_set_int_member (object, "version", RECORD_VERSION);
  json_object_set_string_member (object, "boot", boot);
  process_json_add (object, "bridge", bridge->bridge);
  process_json_add (object, "qemu", bridge->qemu);
  json_object_set_string_member (object, "uri", bridge->uri);
  json_object_set_string_member (object, "uuid", bridge->uuid);
  json_object_set_boolean_member (object, "agent", bridge->agent);
  json_object_set_boolean_member (object, "console", bridge->console);
  g_autofree char *text = json_to_pretty (object);
  return fd_replace_file (path, text, strlen (text), error);
}

gboolean
bridge_record_read (const char *directory, LibvirtBridge *bridge, GError **error)
{
  g_autofree char *path = g_build_filename (directory, LIBVIRT_BRIDGE_RECORD, NULL);
  g_autofree char *boot = process_boot_id();
  g_autofree char *text = NULL;
  g_autoptr (GError) cause = NULL;
  const char *uri, *uuid;
  gsize len;

  if (!g_file_get_contents (path, &text, &len, &cause)) {
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND, cause->message);
    return FALSE;
  }
  g_autoptr (JsonObject) object =
      json_parse_bounded (text, len, RECORD_MAX_BYTES, RECORD_DEPTH, error);
  if (object == NULL || !process_json_get (object, "bridge", &bridge->bridge, error) ||
      !process_json_get (object, "qemu", &bridge->qemu, error) ||
      (uri = json_get_string (object, "uri", error)) == NULL ||
      (uuid = json_get_string (object, "uuid", error)) == NULL)
    return FALSE;
  if (!g_str_equal (json_get_string_or (object, "boot", ""), boot)) {
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND, "%s is of an earlier boot", path);
    return FALSE;
  }
  bridge->uri = g_strdup (uri);
  bridge->uuid = g_strdup (uuid);
  bridge->agent = json_get_bool_or (object, "agent", FALSE);
  bridge->console = json_get_bool_or (object, "console", FALSE);
  return TRUE;
}

void
bridge_record_remove (const char *directory)
{
  static const char *const names[] = { LIBVIRT_BRIDGE_RECORD, LIBVIRT_BRIDGE_QMP,
                                       LIBVIRT_BRIDGE_KEEPER_QMP, LIBVIRT_BRIDGE_AGENT,
                                       LIBVIRT_BRIDGE_CONSOLE };

  for (guint i = 0; i < G_N_ELEMENTS (names); i++) {
    g_autofree char *path = g_build_filename (directory, names[i], NULL);
    unlink (path);
  }
}
