/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "qemu-img.h"

#include <vmckpt/disk/disk-error.h>

#define WORDS_MAX 600 /* bytes of what it says that go into a message */

static GSubprocess *
start (const char *const *args, GError **error)
{
  const char *program = g_getenv ("VMCKPT_QEMU_IMG");
  g_autoptr (GPtrArray) argv = g_ptr_array_new();
  g_autoptr (GError) cause = NULL;
  GSubprocess *child;

  g_ptr_array_add (argv, (char *)(program != NULL ? program : "qemu-img"));
  for (guint i = 0; args[i] != NULL; i++)
    g_ptr_array_add (argv, (char *)args[i]);
  g_ptr_array_add (argv, NULL);
  child = g_subprocess_newv ((const char *const *)argv->pdata,
                             G_SUBPROCESS_FLAGS_STDOUT_SILENCE | G_SUBPROCESS_FLAGS_STDERR_PIPE,
                             &cause);
  if (child == NULL)
    g_set_error (error, DISK_ERROR, DISK_ERROR_IMPOSSIBLE,
                 "qemu-img does not start (Debian: qemu-utils): %s", cause->message);
  return child;
}

gboolean
qemu_img_run (const char *const *args, GCancellable *cancellable, GError **error)
{
  g_autoptr (GSubprocess) child = start (args, error);
  g_autofree char *words = NULL;

  if (child == NULL)
    return FALSE;
  if (!g_subprocess_communicate_utf8 (child, NULL, cancellable, NULL, &words, error)) {
    g_subprocess_force_exit (child);
    g_subprocess_wait (child, NULL, NULL);
    return FALSE;
  }
  if (g_subprocess_get_successful (child))
    return TRUE;
  g_set_error (error, DISK_ERROR, DISK_ERROR_FAILED, "qemu-img %s failed: %.*s", args[0], WORDS_MAX,
               words != NULL ? g_strstrip (words) : "it was killed");
  return FALSE;
}
