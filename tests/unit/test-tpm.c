/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tpm.h"

#include <vmckpt/drivers/qemu.h>

#include <string.h>

static gboolean
is_there (const char *directory, const char *name)
{
  g_autofree char *path = g_build_filename (directory, name, NULL);

  return g_file_test (path, G_FILE_TEST_EXISTS);
}

/* It listens when it was started, and ends when its client goes away: then its socket is gone. */
static void
test_life (void)
{
  g_autofree char *directory = g_dir_make_tmp (NULL, NULL);
  gint64 deadline = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;
  g_autoptr (GError) error = NULL;

  if (!tpm_start (directory, &error) &&
      g_error_matches (error, DRIVER_ERROR, DRIVER_ERROR_NOT_FOUND)) {
    g_test_skip (error->message);
    qemu_remove_directory (directory);
    return;
  }
  g_assert_no_error (error);
  g_assert_true (is_there (directory, GUEST_FILE_TPM));
  tpm_abandon (directory);
  while (is_there (directory, GUEST_FILE_TPM) && g_get_monotonic_time() < deadline)
    g_usleep (1000);
  g_assert_false (is_there (directory, GUEST_FILE_TPM));
  /* Its files are the guest's, and go with it. */
  qemu_remove_directory (directory);
  g_assert_false (g_file_test (directory, G_FILE_TEST_EXISTS));
}

/* What it says is in the error. */
static void
test_failure (void)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *program = g_find_program_in_path ("swtpm");

  g_assert_false (tpm_start ("/no/such/directory", &error));
  int expected = program != NULL ? DRIVER_ERROR_FAILED : DRIVER_ERROR_NOT_FOUND;
  g_assert_error (error, DRIVER_ERROR, expected);
}

static void
test_arguments (void)
{
  g_autoptr (GuestSpec) spec = guest_spec_new ("g");

  spec->tpm = TRUE;
  g_auto (GStrv) argv = qemu_command_line (spec, "/run/g", &(QemuLaunch){ 0 });
  g_assert_true (
      g_strv_contains ((const char *const *)argv, "emulator,id=tpm,chardev=tpm-chardev"));
  spec->tpm = FALSE;
  g_auto (GStrv) without = qemu_command_line (spec, "/run/g", &(QemuLaunch){ 0 });
  g_assert_false (g_strv_contains ((const char *const *)without, "-tpmdev"));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/tpm/life", test_life);
  g_test_add_func ("/tpm/failure", test_failure);
  g_test_add_func ("/tpm/arguments", test_arguments);
  return g_test_run();
}
