/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "copy-list.h"

static void
assert_resolves (const CopyList *list, guint32 part, guint64 page, guint32 to_part, guint64 to_page)
{
  copy_list_resolve (list, &part, &page);
  g_assert_cmpuint (part, ==, to_part);
  g_assert_cmpuint (page, ==, to_page);
}

static void
test_chains_end_at_content (void)
{
  g_autoptr (CopyList) list = copy_list_new();

  copy_list_add (list, &(CopyRun){ .page = 10, .count = 5, .from_page = 2 });
  copy_list_add (list, &(CopyRun){ .part = 1, .page = 3, .count = 4, .from_page = 8 });
  assert_resolves (list, 0, 9, 0, 9);
  assert_resolves (list, 0, 12, 0, 4);
  assert_resolves (list, 1, 3, 0, 8);
  assert_resolves (list, 1, 6, 0, 3); /* page 11 of part 0 is page 3 */
  assert_resolves (list, 1, 7, 1, 7);
}

static void
test_a_run_may_repeat_itself (void)
{
  g_autoptr (CopyList) list = copy_list_new();

  copy_list_add (list, &(CopyRun){ .page = 5, .count = 1000000, .from_page = 3 });
  assert_resolves (list, 0, 5, 0, 3);
  assert_resolves (list, 0, 6, 0, 4);
  assert_resolves (list, 0, 7, 0, 3);
  assert_resolves (list, 0, 1000004, 0, 4);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/copy-list/chains", test_chains_end_at_content);
  g_test_add_func ("/copy-list/repeats", test_a_run_may_repeat_itself);
  return g_test_run();
}
