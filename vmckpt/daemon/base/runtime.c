/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "runtime.h"

#include "api-error.h"

#include <vmckpt/util/error.h>
#include <vmckpt/util/process.h>

#include <errno.h>
#include <fcntl.h>
#include <gio/gunixsocketaddress.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SERVED_PATIENCE_US G_USEC_PER_SEC
#define DYING_PATIENCE_US (3 * G_USEC_PER_SEC)
#define LOCK_RETRY_US (20 * 1000)

void
runtime_free (Runtime *runtime)
{
  if (runtime == NULL)
    return;
  g_free (runtime->path);
  g_free (runtime->guests);
  g_free (runtime->files);
  g_free (runtime->disks);
  g_free (runtime->socket);
  g_free (runtime->host);
  g_free (runtime->boot_id);
  qemu_facts_free (runtime->facts);
  fd_close (&runtime->lock);
  g_free (runtime);
}

/* TRUE if somebody takes connections on the socket. */
static gboolean
is_served (const Runtime *runtime)
{
  g_autoptr (GSocketClient) client = g_socket_client_new();
  g_autoptr (GSocketAddress) address = g_unix_socket_address_new (runtime->socket);
  g_autoptr (GSocketConnection) connection =
      g_socket_client_connect (client, G_SOCKET_CONNECTABLE (address), NULL, NULL);

  return connection != NULL;
}

/* A killed daemon keeps its lock until the last of its threads has returned from the kernel, which
 * takes as long as a slow disk does; a daemon that ends, until its work is undone. Such is waited
 * for; one that serves the directory is not, but for the moment in which a dying one still seems
 * to. */
static gboolean
take_lock (Runtime *runtime, GError **error)
{
  g_autofree char *path = g_build_filename (runtime->path, "lock", NULL);
  gint64 began = g_get_monotonic_time();

  runtime->lock = open (path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (runtime->lock < 0)
    return fd_set_errno_error (error, "opening %s", path);
  while (flock (runtime->lock, LOCK_EX | LOCK_NB) < 0) {
    if (errno != EWOULDBLOCK)
      return fd_set_errno_error (error, "locking %s", path);
    gint64 patience = is_served (runtime) ? SERVED_PATIENCE_US : DYING_PATIENCE_US;
    if (g_get_monotonic_time() - began > patience) {
      g_set_error (error, API_ERROR, API_CONFLICT, "another vmckptd serves this directory");
      return FALSE;
    }
    g_usleep (LOCK_RETRY_US);
  }
  return TRUE;
}

char *
runtime_default_path (void)
{
  return geteuid() == 0 ? g_strdup ("/run/vmckpt")
                        : g_build_filename (g_get_user_runtime_dir(), "vmckpt", NULL);
}

/* Beside a directory that somebody chose; the default one is in memory and gone with a boot. */
static char *
default_disks (const char *runtime)
{
  g_autofree char *common = runtime_default_path();

  if (!g_str_equal (runtime, common))
    return g_build_filename (runtime, "disks", NULL);
  return geteuid() == 0 ? g_strdup (RUNTIME_STATE_DIRECTORY "/disks")
                        : g_build_filename (g_get_user_state_dir(), "vmckpt", "disks", NULL);
}

char *
runtime_temporary_directory (const Runtime *runtime, GError **error)
{
  g_autofree char *path = g_build_filename (runtime->disks, "temporary", NULL);

  if (g_mkdir_with_parents (path, 0700) < 0) {
    fd_set_errno_error (error, "making %s", path);
    return NULL;
  }
  return g_steal_pointer (&path);
}

Runtime *
runtime_open (const char *path, const char *disks, GError **error)
{
  ERROR_PREFIX (error, "runtime directory %s", path);
  g_autoptr (Runtime) runtime = g_new0 (Runtime, 1);

  runtime->lock = -1;
  runtime->path = g_canonicalize_filename (path, NULL);
  runtime->guests = g_build_filename (runtime->path, "guests", NULL);
  runtime->files = g_build_filename (runtime->path, "files", NULL);
  runtime->disks =
      disks != NULL ? g_canonicalize_filename (disks, NULL) : default_disks (runtime->path);
  runtime->socket = g_build_filename (runtime->path, "api.sock", NULL);
  runtime->host = g_strdup (g_get_host_name());
  runtime->boot_id = process_boot_id();
  runtime->facts = qemu_facts_new();
  if (g_mkdir_with_parents (runtime->path, 0700) < 0 ||
      g_mkdir_with_parents (runtime->guests, 0700) < 0) {
    fd_set_errno_error (error, "making it");
    return NULL;
  }
  if (!take_lock (runtime, error))
    return NULL;
  return g_steal_pointer (&runtime);
}

char *
runtime_guest_directory (const Runtime *runtime, const char *name)
{
  return g_build_filename (runtime->guests, name, NULL);
}
