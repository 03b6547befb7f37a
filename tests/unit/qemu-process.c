/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "qemu-process.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <vmckpt/util/fd.h>

/* The descriptor on which the child finds its monitor's listening socket. */
#define MONITOR_FD 3

void
qemu_process_end (QemuProcess *qemu)
{
  child_process_end (&qemu->child);
  if (qemu->socket != NULL)
    g_unlink (qemu->socket);
  if (qemu->dir != NULL)
    g_rmdir (qemu->dir);
  g_clear_pointer (&qemu->socket, g_free);
  g_clear_pointer (&qemu->dir, g_free);
}

static char *
find_program (const char *name)
{
  char *path = g_find_program_in_path (name);

  if (path == NULL)
    g_test_skip_printf ("%s is not installed", name);
  return path;
}

char *
qemu_program (void)
{
  return find_program ("qemu-system-x86_64");
}

char *
qemu_program_newer (void)
{
  g_autofree char *tool = g_test_build_filename (G_TEST_DIST, "..", "tools", "qemu10", NULL);
  const char *argv[] = { tool, NULL };
  g_autofree char *out = NULL;
  g_autofree char *reason = NULL;
  int status = -1;

  g_spawn_sync (NULL, (char **)argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, &out, &reason, &status,
                NULL);
  if (status == 0)
    return g_strdup (g_strstrip (out));
  g_test_skip_printf ("%s", reason != NULL ? g_strstrip (reason) : "tools/qemu10 does not run");
  return NULL;
}

/* Starts @argv, whose monitor is a socket that listens on MONITOR_FD. */
static QemuProcess
start (char **argv)
{
  QemuProcess qemu = { 0 };
  g_autoptr (GError) error = NULL;
  g_auto (AutoFd) listener = -1;
  GPid pid;

  qemu.dir = g_dir_make_tmp ("vmckpt-test-XXXXXX", &error);
  g_assert_no_error (error);
  qemu.socket = g_build_filename (qemu.dir, "monitor", NULL);
  listener = fd_listen_unix (qemu.socket, &error);
  g_assert_no_error (error);
  int source = listener, target = MONITOR_FD;
  g_spawn_async_with_pipes_and_fds (NULL, (const char *const *)argv, NULL,
                                    G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, -1,
                                    -1, -1, &source, &target, 1, &pid, NULL, NULL, NULL, &error);
  g_assert_no_error (error);
  qemu.child.pid = pid;
  return qemu;
}

QemuProcess
qemu_process_start (const char *program, const char *machine, const char *more)
{
  g_autofree char *line = g_strdup_printf (
      "%s -accel tcg -machine %s -m 16 -nodefaults -no-user-config -display none "
      "-chardev socket,id=mon,fd=%d,server=on,wait=off -mon chardev=mon,mode=control %s",
      program, machine, MONITOR_FD, more);
  g_autoptr (GError) error = NULL;
  g_auto (GStrv) argv = NULL;

  g_shell_parse_argv (line, NULL, &argv, &error);
  g_assert_no_error (error);
  return start (argv);
}

QemuProcess
qemu_storage_daemon_start (void)
{
  g_autofree char *program = find_program ("qemu-storage-daemon");
  g_autofree char *chardev = g_strdup_printf ("socket,id=mon,fd=%d,server=on,wait=off", MONITOR_FD);
  char *argv[] = {
    program, (char *)"--chardev", chardev, (char *)"--monitor", (char *)"chardev=mon", NULL
  };

  return program != NULL ? start (argv) : (QemuProcess){ 0 };
}

QmpClient *
qemu_process_connect (QemuProcess *qemu)
{
  g_autoptr (GError) error = NULL;
  QmpClient *client = qmp_client_connect (qemu->socket, 30000, &error);

  g_assert_no_error (error);
  return client;
}
