/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/disk/disk-mirror.h>

#include "qemu-img.h"

#include <vmckpt/disk/disk-find.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/json.h>

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define MIRROR_PREFIX DISK_PREFIX "mirror-" /* of jobs and nodes; then the disk's name */
#define TLS_OBJECT DISK_PREFIX "mirror-tls"
#define POLL_US 50000
#define FINISH_POLL_US 1000
#define END_TIMEOUT_US (20 * G_USEC_PER_SEC)
#define PORT_TRIES 8

static gboolean
run (QmpClient *monitor, const char *command, JsonObject *arguments, GError **error)
{
  g_autoptr (JsonNode) answer =
      qmp_client_execute (monitor, command, arguments, -1, 0, NULL, error);

  return answer != NULL;
}

static char *
mirror_name (const char *disk)
{
  return g_strconcat (MIRROR_PREFIX, disk, NULL);
}

static gboolean
add_credentials (QmpClient *monitor, const char *directory, const char *endpoint, GError **error)
{
  JsonObject *object = json_object_new();

  json_object_set_string_member (object, "qom-type", "tls-creds-x509");
  json_object_set_string_member (object, "id", TLS_OBJECT);
  json_object_set_string_member (object, "dir", directory);
  json_object_set_string_member (object, "endpoint", endpoint);
  json_object_set_boolean_member (object, "verify-peer", TRUE);
  return run (monitor, "object-add", object, error);
}

static void
remove_credentials (QmpClient *monitor)
{
  JsonObject *object = json_object_new();

  json_object_set_string_member (object, "id", TLS_OBJECT);
  run (monitor, "object-del", object, NULL);
}

/* ---- Destination ---- */

gboolean
disk_mirror_make_file (const char *path, gboolean qcow2, guint64 bytes, GError **error)
{
  ERROR_PREFIX (error, "making disk %s", path);
  g_autofree char *size = g_strdup_printf ("%" G_GUINT64_FORMAT, bytes);
  const char *const args[] = { "create", "-q", "-f", "qcow2", path, size, NULL };
  g_auto (AutoFd) fd = open (path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

  /* Made here, since qemu-img would overwrite what is there. */
  if (fd < 0)
    return fd_set_errno_error (error, "making it");
  if (!qcow2 && ftruncate (fd, (off_t)bytes) < 0) {
    fd_set_errno_error (error, "setting its size");
    unlink (path);
    return FALSE;
  }
  if (!qcow2 || qemu_img_run (args, NULL, error))
    return TRUE;
  unlink (path);
  return FALSE;
}

/* A port that is free now; 0 with @error. */
static guint
find_port (const char *address, GError **error)
{
  g_autoptr (GInetAddress) inet = g_inet_address_new_from_string (address);
  g_autoptr (GSocket) socket = NULL;
  g_autoptr (GSocketAddress) wanted = NULL;
  g_autoptr (GSocketAddress) got = NULL;

  if (inet == NULL) {
    g_set_error (error, DISK_ERROR, DISK_ERROR_FAILED, "'%s' is no address", address);
    return 0;
  }
  wanted = g_inet_socket_address_new (inet, 0);
  socket = g_socket_new (g_inet_address_get_family (inet), G_SOCKET_TYPE_STREAM,
                         G_SOCKET_PROTOCOL_TCP, error);
  if (socket == NULL || !g_socket_bind (socket, wanted, FALSE, error) ||
      (got = g_socket_get_local_address (socket, error)) == NULL)
    return 0;
  return g_inet_socket_address_get_port (G_INET_SOCKET_ADDRESS (got));
}

/* As QEMU takes it; nested for the server, flat for a node. */
static JsonObject *
describe_address (const char *uri)
{
  JsonObject *address = json_object_new();
  const char *rest = strchr (uri, ':') + 1, *port = strrchr (uri, ':');

  if (g_str_has_prefix (uri, "unix:")) {
    json_object_set_string_member (address, "type", "unix");
    json_object_set_string_member (address, "path", rest);
    return address;
  }
  g_autofree char *host = g_strndup (rest, MAX (port - rest, 0));
  g_strdelimit (host, "[]", ' ');
  json_object_set_string_member (address, "type", "inet");
  json_object_set_string_member (address, "host", g_strstrip (host));
  json_object_set_string_member (address, "port", port + 1);
  return address;
}

static gboolean
start_server (QmpClient *monitor, const char *uri, const char *tls, GError **error)
{
  JsonObject *arguments = json_object_new();
  JsonObject *outer = json_object_new();
  JsonObject *address = describe_address (uri);
  JsonObject *data = json_object_new();

  json_object_set_string_member (outer, "type", json_object_get_string_member (address, "type"));
  for (const char *const *member = (const char *const[]){ "path", "host", "port", NULL };
       *member != NULL; member++)
    if (json_object_has_member (address, *member))
      json_object_set_string_member (data, *member,
                                     json_object_get_string_member (address, *member));
  json_object_unref (address);
  json_object_set_object_member (outer, "data", data);
  json_object_set_object_member (arguments, "addr", outer);
  if (tls != NULL)
    json_object_set_string_member (arguments, "tls-creds", TLS_OBJECT);
  return run (monitor, "nbd-server-start", arguments, error);
}

static char *
listen_somewhere (QmpClient *monitor, const char *socket, const char *address, const char *tls,
                  GError **error)
{
  g_autofree char *uri = socket != NULL ? g_strconcat ("unix:", socket, NULL) : NULL;

  if (uri != NULL)
    return start_server (monitor, uri, tls, error) ? g_steal_pointer (&uri) : NULL;
  for (guint i = 0; i < PORT_TRIES; i++) {
    guint port = find_port (address, error);
    if (port == 0)
      return NULL;
    g_clear_error (error);
    uri = g_strdup_printf (strchr (address, ':') != NULL ? "tcp:[%s]:%u" : "tcp:%s:%u", address,
                           port);
    if (start_server (monitor, uri, tls, error))
      return g_steal_pointer (&uri);
    g_clear_pointer (&uri, g_free);
  }
  return NULL;
}

static gboolean
add_export (QmpClient *monitor, const char *disk, GError **error)
{
  JsonObject *arguments = json_object_new();
  g_autofree char *id = mirror_name (disk);

  json_object_set_string_member (arguments, "type", "nbd");
  json_object_set_string_member (arguments, "id", id);
  json_object_set_string_member (arguments, "node-name", disk);
  json_object_set_string_member (arguments, "name", disk);
  json_object_set_boolean_member (arguments, "writable", TRUE);
  return run (monitor, "block-export-add", arguments, error);
}

char *
disk_mirror_serve (QmpClient *monitor, const char *socket, const char *address, const char *tls,
                   const GPtrArray *names, GError **error)
{
  ERROR_PREFIX (error, "serving empty disks");
  g_autofree char *uri = NULL;

  if (tls != NULL && !add_credentials (monitor, tls, "server", error))
    return NULL;
  uri = listen_somewhere (monitor, socket, address, tls, error);
  if (uri == NULL)
    return NULL;
  for (guint i = 0; i < names->len; i++)
    if (!add_export (monitor, names->pdata[i], error))
      return NULL;
  return g_steal_pointer (&uri);
}

void
disk_mirror_unserve (QmpClient *monitor)
{
  run (monitor, "nbd-server-stop", NULL, NULL);
  remove_credentials (monitor);
}

/* ---- Source ---- */

static gboolean
add_target (QmpClient *monitor, const char *uri, gboolean tls, const char *tls_host,
            const char *disk, GError **error)
{
  JsonObject *node = json_object_new();
  g_autofree char *name = mirror_name (disk);

  json_object_set_string_member (node, "driver", "nbd");
  json_object_set_string_member (node, "node-name", name);
  json_object_set_object_member (node, "server", describe_address (uri));
  json_object_set_string_member (node, "export", disk);
  if (tls) {
    json_object_set_string_member (node, "tls-creds", TLS_OBJECT);
    if (tls_host != NULL)
      json_object_set_string_member (node, "tls-hostname", tls_host);
  }
  return run (monitor, "blockdev-add", node, error);
}

static gboolean
start_job (QmpClient *monitor, const char *disk, GError **error)
{
  JsonObject *arguments = json_object_new();
  g_autofree char *name = mirror_name (disk);

  json_object_set_string_member (arguments, "job-id", name);
  json_object_set_string_member (arguments, "device", disk);
  json_object_set_string_member (arguments, "target", name);
  json_object_set_string_member (arguments, "sync", "full");
  json_object_set_string_member (arguments, "copy-mode", "write-blocking");
  /* A copy that breaks ends the migration, never the guest. */
  json_object_set_string_member (arguments, "on-target-error", "report");
  json_object_set_boolean_member (arguments, "auto-dismiss", TRUE);
  return run (monitor, "blockdev-mirror", arguments, error);
}

gboolean
disk_mirror_begin (QmpClient *monitor, const char *uri, const char *tls, const char *tls_host,
                   const GPtrArray *names, GError **error)
{
  ERROR_PREFIX (error, "copying disks to %s", uri);

  if (!g_str_has_prefix (uri, "unix:") && !g_str_has_prefix (uri, "tcp:")) {
    g_set_error_literal (error, DISK_ERROR, DISK_ERROR_FAILED, "this is no address");
    return FALSE;
  }
  gboolean good = tls == NULL || add_credentials (monitor, tls, "client", error);
  for (guint i = 0; good && i < names->len; i++)
    good = add_target (monitor, uri, tls != NULL, tls_host, names->pdata[i], error) &&
           start_job (monitor, names->pdata[i], error);
  if (!good)
    disk_mirror_undo (monitor);
  return good;
}

/* What query-block-jobs says of our jobs. */
typedef struct {
  guint jobs, ready;
  guint64 done, total;
} Jobs;

static gboolean
ask_jobs (QmpClient *monitor, Jobs *jobs, GError **error)
{
  g_autoptr (JsonNode) node =
      qmp_client_execute (monitor, "query-block-jobs", NULL, -1, 0, NULL, error);

  *jobs = (Jobs){ 0 };
  if (node == NULL)
    return FALSE;
  JsonArray *array = JSON_NODE_HOLDS_ARRAY (node) ? json_node_get_array (node) : NULL;
  for (guint i = 0; array != NULL && i < json_array_get_length (array); i++) {
    JsonNode *element = json_array_get_element (array, i);
    JsonObject *job = JSON_NODE_HOLDS_OBJECT (element) ? json_node_get_object (element) : NULL;
    if (job == NULL || !g_str_has_prefix (json_get_string_or (job, "device", ""), MIRROR_PREFIX))
      continue;
    jobs->jobs++;
    jobs->ready += json_get_bool_or (job, "ready", FALSE);
    jobs->done += json_get_uint64_or (job, "offset", 0);
    jobs->total += json_get_uint64_or (job, "len", 0);
  }
  return TRUE;
}

/* A job that has failed is not there any more. */
static gboolean
check_jobs (const Jobs *jobs, const GPtrArray *names, GError **error)
{
  if (jobs->jobs == names->len)
    return TRUE;
  g_set_error (
      error, DISK_ERROR, DISK_ERROR_FAILED,
      "%u of %u copies broke: the other side does not take what is written, or its disk is "
      "full",
      names->len - jobs->jobs, names->len);
  return FALSE;
}

gboolean
disk_mirror_wait (QmpClient *monitor, const GPtrArray *names, const Progress *progress,
                  GCancellable *cancellable, GError **error)
{
  ERROR_PREFIX (error, "copying disks");
  Jobs jobs;

  while (!g_cancellable_set_error_if_cancelled (cancellable, error)) {
    if (!ask_jobs (monitor, &jobs, error) || !check_jobs (&jobs, names, error))
      return FALSE;
    progress_report (progress, PHASE_DISKS, jobs.done, jobs.total);
    if (jobs.ready == names->len)
      return TRUE;
    g_usleep (POLL_US);
  }
  return FALSE;
}

static void
end_job (QmpClient *monitor, const char *name, gboolean force)
{
  JsonObject *arguments = json_object_new();

  json_object_set_string_member (arguments, "device", name);
  json_object_set_boolean_member (arguments, "force", force);
  run (monitor, "block-job-cancel", arguments, NULL);
}

static gboolean
wait_for_no_jobs (QmpClient *monitor, GError **error)
{
  gint64 deadline = g_get_monotonic_time() + END_TIMEOUT_US;
  Jobs jobs;

  while (ask_jobs (monitor, &jobs, error)) {
    if (jobs.jobs == 0)
      return TRUE;
    if (g_get_monotonic_time() > deadline) {
      g_set_error_literal (error, DISK_ERROR, DISK_ERROR_FAILED, "QEMU does not end its jobs");
      return FALSE;
    }
    g_usleep (FINISH_POLL_US);
  }
  return FALSE;
}

gboolean
disk_mirror_finish (QmpClient *monitor, const GPtrArray *names, GError **error)
{
  ERROR_PREFIX (error, "completing the copies of disks");
  gint64 deadline = g_get_monotonic_time() + END_TIMEOUT_US;
  Jobs jobs;

  /* Nobody writes any more: what was under way arrives. */
  do {
    if (!ask_jobs (monitor, &jobs, error) || !check_jobs (&jobs, names, error))
      return FALSE;
    if (g_get_monotonic_time() > deadline) {
      g_set_error_literal (error, DISK_ERROR, DISK_ERROR_FAILED, "one fell behind");
      return FALSE;
    }
  } while (jobs.ready != names->len || jobs.done != jobs.total);
  for (guint i = 0; i < names->len; i++) {
    g_autofree char *name = mirror_name (names->pdata[i]);
    end_job (monitor, name, FALSE);
  }
  if (!wait_for_no_jobs (monitor, error))
    return FALSE;
  disk_mirror_undo (monitor);
  return TRUE;
}

/* Names of what we made, among QEMU's answer; each newly allocated. */
static GPtrArray *
list_names (QmpClient *monitor, const char *command, const char *member)
{
  g_autoptr (JsonNode) node = qmp_client_execute (monitor, command, NULL, -1, 0, NULL, NULL);
  GPtrArray *names = g_ptr_array_new_with_free_func (g_free);
  JsonArray *array =
      node != NULL && JSON_NODE_HOLDS_ARRAY (node) ? json_node_get_array (node) : NULL;

  for (guint i = 0; array != NULL && i < json_array_get_length (array); i++) {
    JsonNode *element = json_array_get_element (array, i);
    const char *name = JSON_NODE_HOLDS_OBJECT (element)
                           ? json_get_string_or (json_node_get_object (element), member, NULL)
                           : NULL;
    if (name != NULL && g_str_has_prefix (name, MIRROR_PREFIX))
      g_ptr_array_add (names, g_strdup (name));
  }
  return names;
}

void
disk_mirror_undo (QmpClient *monitor)
{
  g_autoptr (GPtrArray) jobs = list_names (monitor, "query-block-jobs", "device");

  for (guint i = 0; i < jobs->len; i++)
    end_job (monitor, jobs->pdata[i], TRUE);
  wait_for_no_jobs (monitor, NULL);
  g_autoptr (GPtrArray) nodes = list_names (monitor, "query-named-block-nodes", "node-name");
  for (guint i = 0; i < nodes->len; i++) {
    JsonObject *arguments = json_object_new();
    json_object_set_string_member (arguments, "node-name", nodes->pdata[i]);
    run (monitor, "blockdev-del", arguments, NULL);
  }
  remove_credentials (monitor);
}
