/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "domain-pid.h"

#include <vmckpt/util/fd.h>

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CANDIDATES_MAX 16

/* Whether @pid was started with "-uuid @uuid"; libvirt always says it. */
static gboolean
has_uuid (pid_t pid, const char *uuid)
{
  g_autofree char *path = g_strdup_printf ("/proc/%d/cmdline", (int)pid);
  g_autofree char *text = NULL;
  gsize len;

  if (!g_file_get_contents (path, &text, &len, NULL))
    return FALSE;
  for (const char *arg = text; arg < text + len; arg += strlen (arg) + 1) {
    const char *next = arg + strlen (arg) + 1;
    if (g_str_equal (arg, "-uuid") && next < text + len)
      return g_ascii_strcasecmp (next, uuid) == 0;
  }
  return FALSE;
}

static guint
find_candidates (const char *uuid, pid_t *pids)
{
  g_autoptr (GDir) proc = g_dir_open ("/proc", 0, NULL);
  const char *name;
  guint n = 0;

  while (proc != NULL && n < CANDIDATES_MAX && (name = g_dir_read_name (proc)) != NULL) {
    pid_t pid = (pid_t)g_ascii_strtoll (name, NULL, 10);
    if (pid > 0 && has_uuid (pid, uuid))
      pids[n++] = pid;
  }
  return n;
}

/* What libvirt's daemon has recorded, as its mount namespace sees it; 0 if nothing. */
static pid_t
read_record (const char *name, const ProcessId *manager)
{
  static const char *const places[] = { "/run/libvirt/qemu", "/var/run/libvirt/qemu" };

  for (guint i = 0; i < G_N_ELEMENTS (places); i++) {
    g_autofree char *path =
        g_strdup_printf ("/proc/%d/root%s/%s.pid", (int)manager->pid, places[i], name);
    g_autofree char *text = NULL;
    if (strchr (name, '/') == NULL && g_file_get_contents (path, &text, NULL, NULL))
      return (pid_t)g_ascii_strtoll (text, NULL, 10);
  }
  return 0;
}

ProcessId
domain_pid_find (const char *name, const char *uuid, const ProcessId *manager)
{
  pid_t pids[CANDIDATES_MAX];
  guint n = find_candidates (uuid, pids);
  pid_t recorded = n > 1 && manager != NULL && manager->pid > 0 ? read_record (name, manager) : 0;

  for (guint i = 0; i < n; i++)
    if (n == 1 || pids[i] == recorded) {
      ProcessId id = process_id_of (pids[i]);
      /* It may have ended and its number been given away since. */
      if (id.start_ticks != 0 && has_uuid (pids[i], uuid))
        return id;
    }
  return (ProcessId){ 0 };
}

ProcessId
domain_pid_of_listener (const char *path)
{
  g_auto (AutoFd) fd = fd_connect_unix_within (path, 1000, NULL);
  struct ucred peer;
  socklen_t len = sizeof peer;

  if (fd < 0 || getsockopt (fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
    return (ProcessId){ 0 };
  return process_id_of (peer.pid);
}

char *
domain_pid_socket_of_uri (const char *uri)
{
  static const char *const places[] = { "/run/libvirt/libvirt-sock",
                                        "/run/libvirt/virtqemud-sock" };
  const char *authority = strstr (uri, "://");
  const char *query = strchr (uri, '?');

  if (authority == NULL || authority[3] != '/')
    return NULL;
  if (query != NULL) {
    g_autoptr (GHashTable) params =
        g_uri_parse_params (query + 1, -1, "&", G_URI_PARAMS_NONE, NULL);
    const char *socket = params != NULL ? g_hash_table_lookup (params, "socket") : NULL;
    if (socket != NULL)
      return g_strdup (socket);
  }
  if (g_str_has_prefix (authority, ":///session"))
    return g_build_filename (g_get_user_runtime_dir(), "libvirt", "libvirt-sock", NULL);
  for (guint i = 0; i < G_N_ELEMENTS (places); i++)
    if (g_file_test (places[i], G_FILE_TEST_EXISTS))
      return g_strdup (places[i]);
  return g_strdup (places[0]);
}

gboolean
domain_pid_has_open (ProcessId id, int fd)
{
  g_autofree char *path = g_strdup_printf ("/proc/%d/fd", (int)id.pid);
  g_autoptr (GDir) dir = g_dir_open (path, 0, NULL);
  struct stat wanted, found;
  const char *name;

  if (fstat (fd, &wanted) < 0)
    return FALSE;
  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL) {
    g_autofree char *link = g_build_filename (path, name, NULL);
    if (stat (link, &found) == 0 && found.st_ino == wanted.st_ino && found.st_dev == wanted.st_dev)
      return process_id_alive (id);
  }
  return FALSE;
}
