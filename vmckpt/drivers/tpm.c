/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tpm.h"

#include <vmckpt/keeper/keeper.h>

#include <gio/gunixsocketaddress.h>

#define ANSWER_TIMEOUT_S 5

gboolean
tpm_start (const char *directory, GError **error)
{
  g_autofree char *state = g_strdup_printf ("dir=%s,mode=0600", directory);
  g_autofree char *control =
      g_strdup_printf ("type=unixio,path=%s/" GUEST_FILE_TPM ",mode=0600", directory);
  g_autofree char *log = g_strdup_printf ("file=%s/" GUEST_FILE_TPM_LOG, directory);
  /* --daemon: its parent ends when the socket is there; --terminate: with the connection. */
  const char *const argv[] = { "swtpm", "socket", "--tpm2", "--tpmstate", state,         "--ctrl",
                               control, "--log",  log,      "--daemon",   "--terminate", NULL };
  g_autofree char *said = NULL;
  g_autoptr (GError) cause = NULL;
  int status;

  if (!g_spawn_sync (NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL,
                     NULL, NULL, NULL, &said, &status, &cause)) {
    g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_NOT_FOUND,
                 "the guest's TPM needs swtpm (package swtpm): %s", cause->message);
    return FALSE;
  }
  if (!g_spawn_check_wait_status (status, &cause)) {
    g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_FAILED, "swtpm, the guest's TPM: %s (%s)",
                 g_strstrip (said), cause->message);
    return FALSE;
  }
  return TRUE;
}

void
tpm_abandon (const char *directory)
{
  /* CMD_SHUTDOWN of swtpm_ioctls(3), big-endian; a number answers. */
  static const char shutdown_command[4] = { 0, 0, 0, 3 };
  char answer[4];
  g_autofree char *path = g_build_filename (directory, GUEST_FILE_TPM, NULL);
  g_autoptr (GSocketAddress) address = g_unix_socket_address_new (path);
  g_autoptr (GSocket) control =
      g_socket_new (G_SOCKET_FAMILY_UNIX, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_DEFAULT, NULL);

  if (control == NULL)
    return;
  g_socket_set_timeout (control, ANSWER_TIMEOUT_S);
  if (g_socket_connect (control, address, NULL, NULL) &&
      g_socket_send (control, shutdown_command, sizeof shutdown_command, NULL, NULL) > 0)
    g_socket_receive (control, answer, sizeof answer, NULL, NULL);
}

void
tpm_arguments (GPtrArray *args)
{
  /* QEMU works in the guest's directory. The memory of the "physical presence interface" would be
   * RAM beside the guest's, for a question that firmware asks a person at the machine. */
  static const char *const fixed[] = {
    "-chardev", "socket,id=tpm-chardev,path=" GUEST_FILE_TPM,
    "-tpmdev",  "emulator,id=tpm,chardev=tpm-chardev",
    "-device",  "tpm-crb,id=tpm0,tpmdev=tpm,ppi=off",
  };

  for (guint i = 0; i < G_N_ELEMENTS (fixed); i++)
    g_ptr_array_add (args, g_strdup (fixed[i]));
}
