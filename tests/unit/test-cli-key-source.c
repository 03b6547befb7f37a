/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where a key comes from: files, or answers. */
#include "key-source.h"

#include "cli-error.h"

#include <glib/gstdio.h>
#include <string.h>

static const char *const *answers;
static guint asked;

static Secret *
answer_next (const char *prompt, GError **error)
{
  const char *answer = answers[asked++];
  return secret_new_copy (answer, strlen (answer));
}

static char *
file_with (const char *content)
{
  char *path = g_build_filename (g_get_tmp_dir(), "vmckpt-key-XXXXXX", NULL);

  g_close (g_mkstemp (path), NULL);
  g_assert_true (g_file_set_contents (path, content, -1, NULL));
  return path;
}

static void
test_files (void)
{
  g_autofree char *long_file = file_with ("0123456789abcdef0123456789abcdef\n");
  g_autoptr (GError) error = NULL;
  g_autoptr (KeyMaterial) none = key_source_read (&(KeySource){ NULL, NULL, NULL }, &error);
  g_assert_no_error (error);
  g_assert_null (none);
  g_autoptr (KeyMaterial) file = key_source_read (&(KeySource){ long_file, NULL, NULL }, &error);
  g_assert_no_error (error);
  g_assert_cmpint (file->kind, ==, KEY_FILE);
  g_autoptr (KeyMaterial) word = key_source_read (&(KeySource){ NULL, long_file, NULL }, &error);
  g_assert_no_error (error);
  g_assert_cmpint (word->kind, ==, KEY_PASSWORD);
  g_assert_cmpuint (word->secret->len, ==, 32);
  g_assert_null (key_source_read (&(KeySource){ long_file, long_file, NULL }, &error));
  g_assert_error (error, CLI_ERROR, CLI_ERROR_USAGE);
  g_clear_error (&error);
  g_unlink (long_file);
  g_assert_null (key_source_read (&(KeySource){ long_file, NULL, NULL }, &error));
  g_assert_error (error, CLI_ERROR, CLI_ERROR_USAGE);
}

static KeyMaterial *
new_key (const char *const *given, GError **error)
{
  const KeySource source = { NULL, NULL, given != NULL ? answer_next : NULL };

  answers = given;
  asked = 0;
  return key_source_new_key (&source, error);
}

static void
test_new_password (void)
{
  static const char *const same[] = { "pass word", "pass word" };
  static const char *const different[] = { "pass word", "pass work" };
  static const char *const empty[] = { "", "" };
  g_autoptr (GError) error = NULL;
  g_autoptr (KeyMaterial) key = new_key (same, &error);

  g_assert_no_error (error);
  g_assert_cmpmem (key->secret->bytes, key->secret->len, "pass word", 9);
  g_assert_null (new_key (different, &error));
  g_assert_error (error, CLI_ERROR, CLI_ERROR_USAGE);
  g_clear_error (&error);
  g_assert_null (new_key (empty, &error));
  g_assert_error (error, CLI_ERROR, CLI_ERROR_USAGE);
  g_clear_error (&error);
  g_assert_null (new_key (NULL, &error)); /* nobody to ask */
  g_assert_error (error, CLI_ERROR, CLI_ERROR_USAGE);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/cli/key-source/files", test_files);
  g_test_add_func ("/cli/key-source/new-password", test_new_password);
  return g_test_run();
}
