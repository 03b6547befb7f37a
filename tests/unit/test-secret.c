/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Guarded bytes: content, bounds, and that they are not in a core dump. */
#include <vmckpt/util/secret.h>

#include <glib/gstdio.h>
#include <string.h>

static void
test_content (void)
{
  g_autoptr (Secret) empty = secret_new (0);
  g_autoptr (Secret) zeros = secret_new (5);
  g_autoptr (Secret) one = secret_new_copy ("abcde", 5);
  g_autoptr (Secret) same = secret_new_copy ("abcde", 5);
  g_autoptr (Secret) shorter = secret_new_copy ("abcd", 4);

  g_assert_cmpmem (zeros->bytes, zeros->len, "\0\0\0\0\0", 5);
  g_assert_true (secret_equal (one, same));
  g_assert_false (secret_equal (one, zeros));
  g_assert_false (secret_equal (one, shorter));
  g_assert_false (secret_equal (one, empty));
}

static void
test_read_file (void)
{
  g_autofree char *path = g_build_filename (g_get_tmp_dir(), "vmckpt-secret-XXXXXX", NULL);
  g_autoptr (GError) error = NULL;

  g_close (g_mkstemp (path), NULL);
  g_file_set_contents (path, "0123456789", 10, NULL);
  g_autoptr (Secret) all = secret_read_file (path, 10, &error);
  g_assert_no_error (error);
  g_assert_cmpmem (all->bytes, all->len, "0123456789", 10);
  g_assert_null (secret_read_file (path, 9, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
  g_clear_error (&error);
  g_unlink (path);
  g_assert_null (secret_read_file (path, 9, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
}

/* The flags that the kernel has for the memory: "dd" is "not in a core dump". */
static void
test_not_dumped (void)
{
  g_autoptr (Secret) secret = secret_new_copy ("do not dump", 11);
  g_autofree char *maps = NULL;
  gboolean inside = FALSE, found = FALSE;

  if (!g_file_get_contents ("/proc/self/smaps", &maps, NULL, NULL)) {
    g_test_skip ("no /proc/self/smaps");
    return;
  }
  g_auto (GStrv) lines = g_strsplit (maps, "\n", -1);
  for (guint i = 0; lines[i] != NULL; i++) {
    char *end;
    guint64 from = g_ascii_strtoull (lines[i], &end, 16);
    if (*end == '-') {
      guint64 to = g_ascii_strtoull (end + 1, NULL, 16);
      inside = (guint64)(gsize)secret->bytes >= from && (guint64)(gsize)secret->bytes < to;
    }
    if (inside && g_str_has_prefix (lines[i], "VmFlags:")) {
      found = TRUE;
      g_assert_nonnull (strstr (lines[i], " dd"));
    }
  }
  g_assert_true (found);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/util/secret/content", test_content);
  g_test_add_func ("/util/secret/read-file", test_read_file);
  g_test_add_func ("/util/secret/not-dumped", test_not_dumped);
  return g_test_run();
}
