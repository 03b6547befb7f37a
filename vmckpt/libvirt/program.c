/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "program.h"

#include <vmckpt/libvirt/libvirt-link.h>

char *
libvirt_program_find (GError **error)
{
  const char *named = g_getenv ("VMCKPT_LIBVIRT_PROGRAM");
  g_autofree char *self = g_file_read_link ("/proc/self/exe", NULL);
  g_autofree char *bin = self != NULL ? g_path_get_dirname (self) : g_strdup (".");
  g_autofree char *beside = g_build_filename (bin, "vmckpt-libvirt", NULL);
  g_autofree char *built = g_build_filename (bin, "../libvirt/vmckpt-libvirt", NULL);
  const char *candidates[] = { beside, built, VMCKPT_LIBEXECDIR "/vmckpt-libvirt" };

  if (named != NULL && *named != '\0')
    return g_strdup (named);
  for (guint i = 0; i < G_N_ELEMENTS (candidates); i++)
    if (g_file_test (candidates[i], G_FILE_TEST_IS_EXECUTABLE))
      return g_canonicalize_filename (candidates[i], NULL);
  g_set_error (error, LIBVIRT_ERROR, LIBVIRT_ERROR_IMPOSSIBLE,
               "libvirt needs %s, which is built where libvirt's library is; "
               "VMCKPT_LIBVIRT_PROGRAM can name it",
               candidates[2]);
  return NULL;
}
