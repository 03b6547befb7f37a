/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/util/line-diff.h>

typedef struct {
  const char *name, *old, *new, *diff;
} Case;

static const Case cases[] = {
  { "equal", "a\nb\n", "a\nb\n", "" },
  { "both-empty", "", "", "" },
  { "from-nothing", "", "a\n", "--- old\n+++ new\n@@ -0,0 +1,1 @@\n+a\n" },
  { "to-nothing", "a\n", "", "--- old\n+++ new\n@@ -1,1 +0,0 @@\n-a\n" },
  { "no-break-at-end", "a\nb", "a\nb\n", "" },
  { "one-in-the-middle", "1\n2\n3\n4\n5\n", "1\n2\nx\n4\n5\n",
    "--- old\n+++ new\n@@ -2,3 +2,3 @@\n 2\n-3\n+x\n 4\n" },
  { "two-hunks", "a\n1\n2\n3\n4\nb\n", "1\n2\n3\n4\n",
    "--- old\n+++ new\n@@ -1,2 +1,1 @@\n-a\n 1\n@@ -5,2 +4,1 @@\n 4\n-b\n" },
  { "close-ones-are-one", "a\n1\n2\nb\n", "1\n2\n",
    "--- old\n+++ new\n@@ -1,4 +1,2 @@\n-a\n 1\n 2\n-b\n" },
  { "repeated-lines", "x\nx\nx\n", "x\nx\n", "--- old\n+++ new\n@@ -2,2 +2,1 @@\n x\n-x\n" },
};

static void
test_case (gconstpointer data)
{
  const Case *expected = data;
  g_autofree char *diff = line_diff ("old", expected->old, "new", expected->new, 1);

  g_assert_cmpstr (diff, ==, expected->diff);
}

/* More than is compared line by line: still a change from the one to the other. */
static void
test_long (void)
{
  g_autoptr (GString) old = g_string_new ("same\n");
  g_autoptr (GString) new = g_string_new ("same\n");

  for (guint i = 0; i < 3000; i++) {
    g_string_append_printf (old, "%u\n", i);
    g_string_append_printf (new, "%u\n", i + 10000);
  }
  g_autofree char *diff = line_diff ("old", old->str, "new", new->str, 3);
  g_assert_true (g_str_has_prefix (diff, "--- old\n+++ new\n@@ -1,3001 +1,3001 @@\n same\n-0\n"));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree char *path = g_strconcat ("/line-diff/", cases[i].name, NULL);
    g_test_add_data_func (path, &cases[i], test_case);
  }
  g_test_add_func ("/line-diff/long", test_long);
  return g_test_run();
}
