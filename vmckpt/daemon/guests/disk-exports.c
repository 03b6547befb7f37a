/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What must be known of an export after a daemon's end is in RUNTIME/nbd/NUMBER/export.json,
 * written before its server is started; the server's own record is beside it (disk-server.h).
 */
#include "disk-exports.h"

#include "api-error.h"

#include <vmckpt/disk/disk-server.h>
#include <vmckpt/store/store.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/json.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXPORT_FILE "export.json"
#define EXPORT_MAX_BYTES (64 * 1024)
#define EXPORT_MAX_DEPTH 5
#define DEFAULT_PORT 10809
#define STOP_GRACE_MS 500
#define EXPORTS_MAX 1000

typedef struct {
  DiskExports *exports; /* (not owned) */
  guint64 number;
  char *directory;
  JsonObject *about;  /* export.json */
  DiskServer *server; /* NULL while it is being started */
  char *problem;      /* (nullable): why it does not serve now */
} DiskExport;

struct _DiskExports {
  const Runtime *runtime;
  char *path; /* RUNTIME/nbd */
  GMutex lock;
  GCond changed;      /* one was stopped */
  GPtrArray *exports; /* of DiskExport, by number */
};

#define LOCK(exports)                                                                              \
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&(exports)->lock)

DiskExports *
disk_exports_new (const Runtime *runtime)
{
  DiskExports *exports = g_new0 (DiskExports, 1);

  exports->runtime = runtime;
  exports->path = g_build_filename (runtime->path, "nbd", NULL);
  g_mutex_init (&exports->lock);
  g_cond_init (&exports->changed);
  exports->exports = g_ptr_array_new();
  return exports;
}

/* Removes the directory of an export whose server is gone. */
static void
remove_files (const char *directory)
{
  static const char *const names[] = { EXPORT_FILE, DISK_SERVER_FILE_STATE, DISK_SERVER_FILE_LOG,
                                       DISK_SERVER_FILE_SOCKET };

  for (guint i = 0; i < G_N_ELEMENTS (names); i++) {
    g_autofree char *path = g_build_filename (directory, names[i], NULL);
    unlink (path);
  }
  rmdir (directory);
}

static void
export_free (DiskExport *export)
{
  g_free (export->directory);
  g_free (export->problem);
  g_clear_pointer (&export->about, json_object_unref);
  g_free (export);
}

void
disk_exports_free (DiskExports *exports)
{
  for (guint i = 0; i < exports->exports->len; i++) {
    DiskExport *export = exports->exports->pdata[i];
    disk_server_free (export->server);
    export_free (export);
  }
  g_ptr_array_unref (exports->exports);
  g_mutex_clear (&exports->lock);
  g_cond_clear (&exports->changed);
  g_free (exports->path);
  g_free (exports);
}

/* With the lock. */
static DiskExport *
find_export (DiskExports *exports, guint64 number, guint *index)
{
  for (guint i = 0; i < exports->exports->len; i++) {
    DiskExport *export = exports->exports->pdata[i];
    if (export->number == number) {
      if (index != NULL)
        *index = i;
      return export;
    }
  }
  return NULL;
}

/* A DiskServerFunc; main thread. */
static void
on_server_event (DiskServer *server, DiskServerEvent event, const char *message, gpointer user_data)
{
  DiskExports *exports = user_data;
  LOCK (exports);

  for (guint i = 0; i < exports->exports->len; i++) {
    DiskExport *export = exports->exports->pdata[i];
    if (export->server != server)
      continue;
    g_message ("export %" G_GUINT64_FORMAT ": %s", export->number, message);
    g_free (export->problem);
    export->problem = event == DISK_SERVER_WAITING ? g_strdup (message) : NULL;
  }
}

/* ---- Starting ---- */

/* "ADDRESS", "ADDRESS:PORT", "[V6]:PORT"; "localhost" is 127.0.0.1. */
static gboolean
parse_listen (const char *text, char **address, guint16 *port, GError **error)
{
  g_autofree char *host = g_strdup (text);
  const char *port_text = NULL;
  char *colon = strrchr (host, ':');
  guint64 number = DEFAULT_PORT;

  if (*host == '[') {
    char *end = strchr (host, ']');
    if (end != NULL && (end[1] == ':' || end[1] == '\0')) {
      port_text = end[1] == ':' ? end + 2 : NULL;
      *end = '\0';
      memmove (host, host + 1, strlen (host));
    }
  } else if (colon != NULL && strchr (host, ':') == colon) {
    *colon = '\0';
    port_text = colon + 1;
  }
  g_autoptr (GInetAddress) found =
      g_inet_address_new_from_string (g_str_equal (host, "localhost") ? "127.0.0.1" : host);
  if (found == NULL ||
      (port_text != NULL && !g_ascii_string_to_unsigned (port_text, 10, 0, 65535, &number, NULL))) {
    g_set_error (error, API_ERROR, API_USAGE,
                 "'%s' is no place to listen at: an IP address, with a port if it is not %d "
                 "(192.0.2.1, 127.0.0.1:10810, [::1]:10810)",
                 text, DEFAULT_PORT);
    return FALSE;
  }
  *address = g_inet_address_to_string (found);
  *port = number;
  return TRUE;
}

/* Whoever reaches a disk without TLS can read it. */
static gboolean
check_reach (const DiskExportWish *wish, const char *address, GError **error)
{
  g_autoptr (GInetAddress) where =
      address != NULL ? g_inet_address_new_from_string (address) : NULL;

  if (where == NULL || g_inet_address_get_is_loopback (where) || wish->tls != NULL ||
      wish->insecure)
    return TRUE;
  g_set_error (error, API_ERROR, API_USAGE,
               "%s can be reached from other hosts, and whoever reaches it reads the disk: give a "
               "directory of certificates (--tls), or say --insecure",
               address);
  return FALSE;
}

/* The disks that are wanted, each an object. */
static JsonArray *
list_disks (const DiskExportWish *wish)
{
  JsonArray *disks = json_array_new();

  for (guint i = 0; i < wish->manifest->parts->len; i++) {
    const ManifestPart *part = g_ptr_array_index (wish->manifest->parts, i);
    if (!g_str_equal (part->role, "disk") ||
        (wish->disk != NULL && !g_str_equal (part->name, wish->disk)))
      continue;
    JsonObject *disk = json_object_new();
    json_object_set_string_member (disk, "name", part->name);
    json_object_set_int_member (disk, "bytes", part->map.length);
    json_array_add_object_element (disks, disk);
  }
  return disks;
}

static gboolean
check_disks (const DiskExportWish *wish, JsonArray *disks, GError **error)
{
  guint count = json_array_get_length (disks);

  if (count == 0) {
    g_set_error (error, API_ERROR, API_NOT_FOUND, "checkpoint %.12s of %s has no %s%s",
                 wish->manifest->id, wish->manifest->guest, wish->disk != NULL ? "disk " : "disks",
                 wish->disk != NULL ? wish->disk : "");
    return FALSE;
  }
  if (!wish->writable || count == 1)
    return TRUE;
  g_set_error (error, API_ERROR, API_USAGE,
               "a writable export has one disk, and checkpoint %.12s has %u: name it (ID:DISK)",
               wish->manifest->id, count);
  return FALSE;
}

static JsonObject *
describe (const DiskExportWish *wish, guint64 number, JsonArray *disks)
{
  JsonObject *about = json_object_new();

  json_object_set_int_member (about, "number", number);
  json_object_set_string_member (about, "store", wish->store_path);
  json_object_set_string_member (about, "store_id", store_id (wish->store));
  json_object_set_string_member (about, "id", wish->manifest->id);
  json_object_set_string_member (about, "guest", wish->manifest->guest);
  json_object_set_boolean_member (about, "writable", wish->writable);
  json_object_set_boolean_member (about, "tls", wish->tls != NULL);
  json_object_set_boolean_member (about, "attached", wish->attached);
  json_object_set_array_member (about, "disks", json_array_ref (disks));
  return about;
}

/* Takes a number that is free, and its directory. */
static DiskExport *
reserve (DiskExports *exports, const DiskExportWish *wish, JsonArray *disks, GError **error)
{
  LOCK (exports);

  if (g_mkdir_with_parents (exports->path, 0700) < 0) {
    fd_set_errno_error (error, "making %s", exports->path);
    return NULL;
  }
  for (guint64 number = 1; number <= EXPORTS_MAX; number++) {
    g_autofree char *directory = g_strdup_printf ("%s/%" G_GUINT64_FORMAT, exports->path, number);
    if (find_export (exports, number, NULL) != NULL ||
        (mkdir (directory, 0700) < 0 && errno == EEXIST))
      continue;
    DiskExport *export = g_new0 (DiskExport, 1);
    export->exports = exports;
    export->number = number;
    export->directory = g_steal_pointer (&directory);
    /* From here on the checkpoint is not removed. */
    export->about = describe (wish, number, disks);
    g_ptr_array_add (exports->exports, export);
    return export;
  }
  g_set_error (error, API_ERROR, API_CONFLICT, "there are %d exports already", EXPORTS_MAX);
  return NULL;
}

static void
withdraw (DiskExport *export)
{
  LOCK (export->exports);

  g_ptr_array_remove (export->exports->exports, export);
  remove_files (export->directory);
  export_free (export);
}

/* Each disk's URI, now that it is known where the server listens; then the record. */
static gboolean
write_about (DiskExport *export, DiskServer *server, GError **error)
{
  g_autofree char *path = g_build_filename (export->directory, EXPORT_FILE, NULL);
  JsonArray *disks = json_object_get_array_member (export->about, "disks");
  g_autofree char *first = NULL;

  for (guint i = 0; server != NULL && i < json_array_get_length (disks); i++) {
    JsonObject *disk = json_array_get_object_element (disks, i);
    g_autofree char *uri = disk_server_uri (server, json_object_get_string_member (disk, "name"));
    json_object_set_string_member (disk, "uri", uri);
    if (i == 0)
      first = g_steal_pointer (&uri);
  }
  json_set_string_or_null (export->about, "uri", first);
  g_autofree char *text = json_to_pretty (export->about);
  return fd_replace_file (path, text, strlen (text), error);
}

/* As the API shows it; with the lock. */
static JsonObject *
to_json (const DiskExport *export)
{
  g_autofree char *text = json_to_line (export->about);
  JsonObject *object =
      json_parse_bounded (text, strlen (text), EXPORT_MAX_BYTES, EXPORT_MAX_DEPTH, NULL);

  json_object_set_string_member (object, "state",
                                 disk_server_needs_key (export->server) ? "needs-key"
                                 : export->problem != NULL              ? "down"
                                                                        : "serving");
  json_set_string_or_null (object, "reason", export->problem);
  json_object_set_int_member (object, "pid", disk_server_process (export->server).pid);
  return object;
}

static DiskServer *
start_server (DiskExport *export, const DiskExportWish *wish, const char *address, guint16 port,
              const char *temporary, GError **error)
{
  DiskServerOptions options = {
    .directory = export->directory,
    .store = wish->store_path,
    .checkpoint = wish->manifest->id,
    .key = wish->key,
    .disk = wish->disk,
    .socket = wish->socket,
    .address = address,
    .port = port,
    .tls = wish->tls,
    .temporary = temporary,
  };
  DiskServerWatch watch = { .func = on_server_event, .user_data = export->exports };

  return disk_server_start (&options, &watch, error);
}

JsonObject *
disk_exports_start (DiskExports *exports, const DiskExportWish *wish, GError **error)
{
  g_autoptr (JsonArray) disks = list_disks (wish);
  g_autofree char *address = NULL;
  g_autofree char *temporary = NULL;
  guint16 port = 0;

  if (!check_disks (wish, disks, error) ||
      (wish->listen != NULL && !parse_listen (wish->listen, &address, &port, error)) ||
      !check_reach (wish, address, error) ||
      (wish->writable &&
       (temporary = runtime_temporary_directory (exports->runtime, error)) == NULL))
    return NULL;
  DiskExport *export = reserve (exports, wish, disks, error);
  if (export == NULL)
    return NULL;
  DiskServer *server = write_about (export, NULL, error)
                           ? start_server (export, wish, address, port, temporary, error)
                           : NULL;
  if (server == NULL || !write_about (export, server, error)) {
    if (server != NULL)
      disk_server_end (server, 0);
    withdraw (export);
    return NULL;
  }
  LOCK (exports);
  export->server = server;
  return to_json (export);
}

/* ---- Later ---- */

static void
on_cancelled (GCancellable *cancellable, gpointer user_data)
{
  DiskExports *exports = user_data;
  LOCK (exports);

  g_cond_broadcast (&exports->changed);
}

gboolean
disk_exports_wait (DiskExports *exports, guint64 number, GCancellable *cancellable, GError **error)
{
  gulong link = g_cancellable_connect (cancellable, G_CALLBACK (on_cancelled), exports, NULL);

  g_mutex_lock (&exports->lock);
  while (find_export (exports, number, NULL) != NULL && !g_cancellable_is_cancelled (cancellable))
    g_cond_wait (&exports->changed, &exports->lock);
  g_mutex_unlock (&exports->lock);
  g_cancellable_disconnect (cancellable, link);
  return !g_cancellable_set_error_if_cancelled (cancellable, error);
}

gboolean
disk_exports_stop (DiskExports *exports, guint64 number, GError **error)
{
  DiskExport *export = NULL;
  guint index;

  g_mutex_lock (&exports->lock);
  export = find_export (exports, number, &index);
  /* One that is being started is nobody's to stop yet. */
  if (export != NULL && export->server != NULL)
    g_ptr_array_remove_index (exports->exports, index);
  else
    export = NULL;
  g_mutex_unlock (&exports->lock);
  if (export == NULL) {
    g_set_error (error, API_ERROR, API_NOT_FOUND, "no export %" G_GUINT64_FORMAT " is here",
                 number);
    return FALSE;
  }
  disk_server_end (export->server, STOP_GRACE_MS);
  remove_files (export->directory);
  export_free (export);
  g_mutex_lock (&exports->lock);
  g_cond_broadcast (&exports->changed);
  g_mutex_unlock (&exports->lock);
  return TRUE;
}

void
disk_exports_offer_key (DiskExports *exports, const char *store_path, const KeyMaterial *key)
{
  LOCK (exports);

  for (guint i = 0; i < exports->exports->len; i++) {
    const DiskExport *export = exports->exports->pdata[i];
    if (export->server != NULL && g_str_equal (disk_server_store (export->server), store_path))
      disk_server_offer_key (export->server, key);
  }
}

JsonArray *
disk_exports_list (DiskExports *exports)
{
  JsonArray *list = json_array_new();
  LOCK (exports);

  for (guint i = 0; i < exports->exports->len; i++) {
    const DiskExport *export = exports->exports->pdata[i];
    if (export->server != NULL)
      json_array_add_object_element (list, to_json (export));
  }
  return list;
}

guint64
disk_exports_find (DiskExports *exports, const char *store_id, const char *checkpoint)
{
  LOCK (exports);

  for (guint i = 0; i < exports->exports->len; i++) {
    const DiskExport *export = exports->exports->pdata[i];
    if (export->about != NULL &&
        g_str_equal (json_get_string_or (export->about, "store_id", ""), store_id) &&
        g_str_equal (json_get_string_or (export->about, "id", ""), checkpoint))
      return export->number;
  }
  return 0;
}

guint
disk_exports_count (DiskExports *exports)
{
  LOCK (exports);

  return exports->exports->len;
}

/* ---- After another daemon ---- */

/* What it served in @directory and is to go on; NULL if not. */
static DiskExport *
take_over (DiskExports *exports, const char *directory, guint64 number)
{
  g_autofree char *path = g_build_filename (directory, EXPORT_FILE, NULL);
  g_autofree char *text = NULL;
  g_autoptr (JsonObject) about = NULL;
  g_autoptr (GError) error = NULL;
  DiskServerWatch watch = { .func = on_server_event, .user_data = exports };
  gsize len;

  if (g_file_get_contents (path, &text, &len, &error))
    about = json_parse_bounded (text, len, EXPORT_MAX_BYTES, EXPORT_MAX_DEPTH, &error);
  /* Without a URI its start was never finished. */
  if (about == NULL || json_get_bool_or (about, "attached", TRUE) ||
      json_get_string_or (about, "uri", NULL) == NULL ||
      json_get_array (about, "disks", NULL) == NULL)
    return NULL;
  DiskServer *server = disk_server_adopt (directory, NULL, &watch, &error);
  if (server == NULL) {
    g_message ("export %" G_GUINT64_FORMAT " cannot go on: %s", number, error->message);
    return NULL;
  }
  DiskExport *export = g_new0 (DiskExport, 1);
  export->exports = exports;
  export->number = number;
  export->directory = g_strdup (directory);
  export->about = g_steal_pointer (&about);
  export->server = server;
  return export;
}

static int
by_number (gconstpointer a, gconstpointer b)
{
  const DiskExport *one = *(DiskExport *const *)a, *other = *(DiskExport *const *)b;

  return one->number < other->number ? -1 : one->number > other->number;
}

void
disk_exports_take_over (DiskExports *exports)
{
  g_autoptr (GDir) dir = g_dir_open (exports->path, 0, NULL);
  const char *name;
  LOCK (exports);

  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL) {
    g_autofree char *directory = g_build_filename (exports->path, name, NULL);
    guint64 number;
    if (!g_ascii_string_to_unsigned (name, 10, 1, EXPORTS_MAX, &number, NULL))
      continue;
    DiskExport *export = take_over (exports, directory, number);
    if (export != NULL) {
      g_ptr_array_add (exports->exports, export);
      continue;
    }
    disk_server_end_found (directory);
    remove_files (directory);
  }
  g_ptr_array_sort (exports->exports, by_number);
}
