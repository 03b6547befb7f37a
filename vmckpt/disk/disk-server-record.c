/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "disk-server-record.h"

#include <vmckpt/util/error.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/json.h>

#include <string.h>
#include <unistd.h>

#define RECORD_VERSION 1
#define RECORD_MAX_BYTES (64 * 1024)
#define RECORD_MAX_DEPTH 2

DiskServerRecord *
disk_server_record_new (const DiskServerOptions *options)
{
  DiskServerRecord *record = g_new0 (DiskServerRecord, 1);

  record->directory = g_strdup (options->directory);
  record->store = g_strdup (options->store);
  record->checkpoint = g_strdup (options->checkpoint);
  record->disk = g_strdup (options->disk);
  if (options->address != NULL)
    record->address = g_strdup (options->address);
  else if (options->socket != NULL)
    record->socket = g_strdup (options->socket);
  else
    record->socket = g_build_filename (options->directory, DISK_SERVER_FILE_SOCKET, NULL);
  record->port = options->port;
  record->tls = g_strdup (options->tls);
  record->temporary = g_strdup (options->temporary);
  record->exit_last = options->exit_last;
  record->encrypted = options->key != NULL;
  return record;
}

void
disk_server_record_free (DiskServerRecord *record)
{
  if (record == NULL)
    return;
  g_free (record->directory);
  g_free (record->store);
  g_free (record->checkpoint);
  g_free (record->disk);
  g_free (record->socket);
  g_free (record->address);
  g_free (record->tls);
  g_free (record->temporary);
  g_free (record);
}

gboolean
disk_server_record_write (const DiskServerRecord *record, GError **error)
{
  g_autofree char *path = g_build_filename (record->directory, DISK_SERVER_FILE_STATE, NULL);
  g_autoptr (JsonObject) object = json_object_new();
  g_autofree char *boot = process_boot_id();

  json_object_set_int_member (object, "version", RECORD_VERSION);
  json_object_set_string_member (object, "boot", boot);
  json_object_set_int_member (object, "pid", record->process.pid);
  json_object_set_int_member (object, "start_ticks", record->process.start_ticks);
  json_object_set_string_member (object, "store", record->store);
  json_object_set_string_member (object, "checkpoint", record->checkpoint);
  json_set_string_or_null (object, "disk", record->disk);
  json_set_string_or_null (object, "socket", record->socket);
  json_set_string_or_null (object, "address", record->address);
  json_object_set_int_member (object, "port", record->port);
  json_set_string_or_null (object, "tls", record->tls);
  json_set_string_or_null (object, "temporary", record->temporary);
  json_object_set_boolean_member (object, "exit_last", record->exit_last);
  json_object_set_boolean_member (object, "encrypted", record->encrypted);

  g_autofree char *text = json_to_pretty (object);
  return fd_replace_file (path, text, strlen (text), error);
}

static DiskServerRecord *
parse (JsonObject *object, GError **error)
{
  g_autoptr (DiskServerRecord) record = g_new0 (DiskServerRecord, 1);
  g_autofree char *boot = process_boot_id();
  guint64 version;

  if (!json_get_uint64 (object, "version", &version, error))
    return NULL;
  if (version != RECORD_VERSION) {
    g_set_error (error, DISK_ERROR, DISK_ERROR_FAILED,
                 "it has version %" G_GUINT64_FORMAT "; version %d is understood here", version,
                 RECORD_VERSION);
    return NULL;
  }
  record->store = g_strdup (json_get_string (object, "store", error));
  if (record->store == NULL)
    return NULL;
  record->checkpoint = g_strdup (json_get_string (object, "checkpoint", error));
  if (record->checkpoint == NULL)
    return NULL;
  record->disk = g_strdup (json_get_string_or (object, "disk", NULL));
  record->address = g_strdup (json_get_string_or (object, "address", NULL));
  if (record->address == NULL) {
    record->socket = g_strdup (json_get_string (object, "socket", error));
    if (record->socket == NULL)
      return NULL;
  }
  record->port = json_get_uint64_or (object, "port", 0);
  record->tls = g_strdup (json_get_string_or (object, "tls", NULL));
  record->temporary = g_strdup (json_get_string_or (object, "temporary", NULL));
  record->exit_last = json_get_bool_or (object, "exit_last", FALSE);
  record->encrypted = json_get_bool_or (object, "encrypted", FALSE);
  /* After a new start of the machine that pid means nothing. */
  if (g_str_equal (json_get_string_or (object, "boot", ""), boot))
    record->process = (ProcessId){ MIN (json_get_uint64_or (object, "pid", 0), G_MAXINT32),
                                   json_get_uint64_or (object, "start_ticks", 0) };
  return g_steal_pointer (&record);
}

DiskServerRecord *
disk_server_record_read (const char *directory, GError **error)
{
  g_autofree char *path = g_build_filename (directory, DISK_SERVER_FILE_STATE, NULL);
  ERROR_PREFIX (error, "the disk server of %s", path);
  g_autoptr (GError) cause = NULL;
  g_autofree char *text = NULL;
  gsize len;

  if (!g_file_get_contents (path, &text, &len, &cause)) {
    gboolean none = g_error_matches (cause, G_FILE_ERROR, G_FILE_ERROR_NOENT);
    g_set_error_literal (error, G_IO_ERROR, none ? G_IO_ERROR_NOT_FOUND : G_IO_ERROR_FAILED,
                         cause->message);
    return NULL;
  }
  g_autoptr (JsonObject) object =
      json_parse_bounded (text, len, RECORD_MAX_BYTES, RECORD_MAX_DEPTH, error);
  DiskServerRecord *record = object != NULL ? parse (object, error) : NULL;
  if (record != NULL)
    record->directory = g_strdup (directory);
  return record;
}

void
disk_server_record_remove (const DiskServerRecord *record)
{
  g_autofree char *path = g_build_filename (record->directory, DISK_SERVER_FILE_STATE, NULL);

  if (record->socket != NULL)
    unlink (record->socket);
  unlink (path);
}
