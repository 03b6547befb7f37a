/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/util/fd.h>
#include <vmckpt/util/last-words.h>

#include <string.h>

static void
test_said (void)
{
  g_auto (AutoFd) fd = last_words_new();

  g_assert_cmpint (fd, >=, 0);
  g_autofree char *nothing = last_words_read (fd);
  g_assert_cmpstr (nothing, ==, "");
  g_assert_true (fd_write_full (fd, "one\r\ntwo\n\n", 10, NULL));
  g_autofree char *lines = last_words_read (fd);
  g_assert_cmpstr (lines, ==, "one  two");
  /* Reading does not move where the program writes; what is no text becomes some. */
  g_assert_true (fd_write_full (fd, "three\xff", 6, NULL));
  g_autofree char *more = last_words_read (fd);
  g_assert_true (g_str_has_prefix (more, "one  two  three"));
  g_assert_true (g_utf8_validate (more, -1, NULL));
}

/* Of much, the end. */
static void
test_much (void)
{
  g_auto (AutoFd) fd = last_words_new();

  for (guint i = 0; i < 1000; i++)
    g_assert_true (fd_write_full (fd, "chatter\n", 8, NULL));
  g_assert_true (fd_write_full (fd, "the reason", 10, NULL));
  g_autofree char *words = last_words_read (fd);
  g_assert_true (g_str_has_suffix (words, "chatter the reason"));
  g_assert_cmpuint (strlen (words), <=, 1024);
}

static void
test_none (void)
{
  g_autofree char *words = last_words_read (-1);

  g_assert_cmpstr (words, ==, "");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/util/last-words/said", test_said);
  g_test_add_func ("/util/last-words/much", test_much);
  g_test_add_func ("/util/last-words/none", test_none);
  return g_test_run();
}
