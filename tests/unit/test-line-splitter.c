/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/util/line-splitter.h>

#include <string.h>

static void
expect_line (LineSplitter *splitter, const char *wanted)
{
  g_autofree char *line = NULL;
  g_autoptr (GError) error = NULL;

  g_assert_true (line_splitter_next (splitter, &line, &error));
  g_assert_no_error (error);
  g_assert_cmpstr (line, ==, wanted);
}

/* However the stream is cut, the lines are the same. */
static void
test_any_cut (void)
{
  static const char text[] = "one\n\nthree\nrest";

  for (gsize cut = 0; cut < sizeof text; cut++) {
    g_autoptr (LineSplitter) splitter = line_splitter_new (16);
    GString *seen = g_string_new (NULL);
    for (gsize i = 0; i < strlen (text); i += cut + 1) {
      char *line = NULL;
      line_splitter_add (splitter, text + i, MIN (cut + 1, strlen (text) - i));
      while (line_splitter_next (splitter, &line, NULL) && line != NULL) {
        g_string_append_printf (seen, "[%s]", line);
        g_free (line);
      }
    }
    g_assert_cmpstr (seen->str, ==, "[one][][three]");
    g_string_free (seen, TRUE);
    line_splitter_add (splitter, "\n", 1);
    expect_line (splitter, "rest");
    expect_line (splitter, NULL);
  }
}

static void
test_bound (void)
{
  g_autoptr (LineSplitter) splitter = line_splitter_new (4);
  g_autofree char *line = NULL;
  g_autoptr (GError) error = NULL;

  expect_line (splitter, NULL);
  line_splitter_add (splitter, "1234\n", 5);
  expect_line (splitter, "1234");
  line_splitter_add (splitter, "12345", 5);
  g_assert_false (line_splitter_next (splitter, &line, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
  g_assert_nonnull (strstr (error->message, "longer than 4 bytes"));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/line-splitter/any-cut", test_any_cut);
  g_test_add_func ("/line-splitter/bound", test_bound);
  return g_test_run();
}
