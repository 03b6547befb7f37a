/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Asking a QEMU program what it is and can do. */
#include "qemu-session.h"

#include <vmckpt/drivers/kvm.h>
#include <vmckpt/qmp/commands.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/last-words.h>

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PROBE_TIMEOUT_MS 20000
#define MONITOR_FD 3 /* where the program finds its monitor */

void
qemu_probe_clear (QemuProbe *probe)
{
  g_clear_pointer (&probe->program, g_free);
  g_clear_pointer (&probe->package, g_free);
}

void
qemu_session_clear (QemuSession *session)
{
  g_clear_pointer (&session->monitor, qmp_client_unref);
  child_process_end (&session->child);
}

char *
qemu_find_program (const char *program, GError **error)
{
  g_autofree char *path = g_find_program_in_path (program);

  if (path == NULL) {
    g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_NOT_FOUND, "there is no program '%s'%s", program,
                 strchr (program, '/') == NULL ? " in PATH" : "");
    return NULL;
  }
  return g_canonicalize_filename (path, NULL);
}

/* Runs @program with one end of a socket as its monitor. */
static gboolean
spawn (const char *program, const char *accel, int monitor, int said, QemuSession *session,
       GError **error)
{
  const char *argv[] = { program,
                         "-nodefaults",
                         "-no-user-config",
                         "-display",
                         "none",
                         "-machine",
                         "none",
                         "-accel",
                         accel != NULL ? accel : "tcg",
                         "-S",
                         "-chardev",
                         "socket,id=monitor,fd=3",
                         "-mon",
                         "chardev=monitor,mode=control",
                         NULL };
  g_autoptr (GError) cause = NULL;
  const int target = MONITOR_FD;
  GPid pid;

  if (!g_spawn_async_with_pipes_and_fds (
          NULL, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, -1,
          -1, said, &monitor, &target, 1, &pid, NULL, NULL, NULL, &cause)) {
    g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_FAILED, "%s", cause->message);
    return FALSE;
  }
  session->child.pid = pid;
  return TRUE;
}

gboolean
qemu_session_open (const char *program, const char *accel, QemuSession *session, GError **error)
{
  g_autofree char *path = qemu_find_program (program, error);
  g_auto (AutoFd) said = last_words_new();
  g_auto (AutoFd) ours = -1;
  g_auto (AutoFd) theirs = -1;
  g_autoptr (GError) cause = NULL;
  int pair[2];

  *session = QEMU_SESSION_NONE;
  if (path == NULL)
    return FALSE;
  if (said < 0 || socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
    return fd_set_errno_error (error, "starting %s", path);
  ours = pair[0];
  theirs = pair[1];
  if (!spawn (path, accel, theirs, said, session, error))
    return FALSE;
  fd_close (&theirs);
  session->monitor = qmp_client_new_for_fd (fd_steal (&ours), PROBE_TIMEOUT_MS, &cause);
  if (session->monitor != NULL)
    return TRUE;
  qemu_session_clear (session);
  g_autofree char *text = last_words_read (said);
  g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_FAILED, "%s does not answer as QEMU does: %s",
               path, *text != '\0' ? text : cause->message);
  return FALSE;
}

gboolean
qemu_probe (const char *program, QemuProbe *probe, GError **error)
{
  g_auto (PrivateContext) home = private_context_push();
  g_auto (QemuSession) session = QEMU_SESSION_NONE;

  *probe = (QemuProbe){ 0 };
  if (!qemu_session_open (program, NULL, &session, error))
    return FALSE;

  const QmpGreeting *greeting = qmp_client_greeting (session.monitor);
  if (greeting->major == 0) {
    g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_FAILED, "%s does not say which QEMU it is",
                 program);
    return FALSE;
  }
  probe->program = qemu_find_program (program, NULL);
  probe->major = greeting->major;
  probe->minor = greeting->minor;
  probe->micro = greeting->micro;
  probe->package = g_strdup (greeting->package);
  /* QEMU accepts the capability only where the kernel lets it have a userfaultfd. */
  probe->has_background_snapshot =
      qmp_migrate_set_capability (session.monitor, "background-snapshot", TRUE, NULL);
  probe->kvm = kvm_usable (NULL);
  return TRUE;
}
