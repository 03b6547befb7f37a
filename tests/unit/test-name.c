/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/util/name.h>

#include <string.h>

static void
test_good_names (void)
{
  static const char *const good[] = {
    "a", "7", "guest-1", "Web.Server_02", "x-", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKL",
  };

  g_assert_cmpuint (strlen (good[5]), ==, NAME_MAX_LENGTH);
  for (gsize i = 0; i < G_N_ELEMENTS (good); i++) {
    g_autoptr (GError) error = NULL;
    g_assert_true (name_check (good[i], "guest name", &error));
    g_assert_no_error (error);
  }
}

/* Each of these would be another file than meant, an option, or unreadable in a message. */
static void
test_bad_names (void)
{
  static const char *const bad[] = {
    "",   ".",    "..",       ".hidden",  "-rf",
    "_x", "a/b",  "a b",      "a\n",      "a@b",
    "ä",  "a\\b", "a\x1b[1m", "\xff\xfe", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLM",
  };

  for (gsize i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (GError) error = NULL;
    g_assert_false (name_check (bad[i], "tag", &error));
    g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
    g_assert_nonnull (strstr (error->message, "is not a tag: use 1 to 48 letters"));
    g_assert_true (g_str_is_ascii (error->message));
    g_assert_null (strpbrk (error->message, "\n\x1b"));
  }
}

/* A name of a megabyte does not come back in full. */
static void
test_message_is_bounded (void)
{
  g_autofree char *name = g_strnfill (1 << 20, 'x');
  g_autoptr (GError) error = NULL;

  g_assert_false (name_check (name, "guest name", &error));
  g_assert_cmpuint (strlen (error->message), <, 300);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/name/good", test_good_names);
  g_test_add_func ("/name/bad", test_bad_names);
  g_test_add_func ("/name/message-is-bounded", test_message_is_bounded);
  return g_test_run();
}
