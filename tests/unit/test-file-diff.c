/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lists of files compared. */
#include "file-diff.h"

#include <vmckpt/util/json.h>

#include <string.h>

static JsonObject *
file (const char *text)
{
  g_autoptr (GError) error = NULL;
  JsonObject *object = json_parse_bounded (text, strlen (text), 4096, 4, &error);

  g_assert_no_error (error);
  return object;
}

/* What becomes of @old when it is @new, as a line; NULL if nothing. */
static char *
change (const char *old, const char *new)
{
  g_autoptr (FileDiff) diff = file_diff_new();
  g_autoptr (JsonObject) a = file (old);
  g_autoptr (JsonObject) b = file (new);
  g_autoptr (GError) error = NULL;

  g_assert_true (file_diff_add_old (diff, a, &error));
  g_assert_no_error (error);
  g_autoptr (JsonObject) found = file_diff_add_new (diff, b);
  return found != NULL ? json_to_line (found) : NULL;
}

#define FILE_A                                                                                     \
  "{\"path\":\"a\",\"kind\":\"file\",\"mode\":420,\"bytes\":5,\"modified_us\":1,\"sha256\":\"x\"}"

static void
test_same (void)
{
  g_assert_null (change (FILE_A, FILE_A));
  /* A directory is younger since what is in it came or went. */
  g_assert_null (change ("{\"path\":\"d\",\"kind\":\"directory\",\"modified_us\":1}",
                         "{\"path\":\"d\",\"kind\":\"directory\",\"modified_us\":2}"));
}

static void
test_changed (void)
{
  g_autofree char *touched =
      change (FILE_A, "{\"path\":\"a\",\"kind\":\"file\",\"mode\":420,\"bytes\":5,"
                      "\"modified_us\":2,\"sha256\":\"x\"}");
  g_autofree char *rewritten =
      change (FILE_A, "{\"path\":\"a\",\"kind\":\"file\",\"mode\":493,\"bytes\":5,"
                      "\"modified_us\":1,\"sha256\":\"y\"}");
  g_autofree char *link = change ("{\"path\":\"l\",\"kind\":\"symlink\",\"target\":\"a\"}",
                                  "{\"path\":\"l\",\"kind\":\"symlink\",\"target\":\"b\"}");

  g_assert_cmpstr (touched, ==,
                   "{\"path\":\"a\",\"change\":\"changed\",\"what\":[\"modified_us\"]}");
  g_assert_cmpstr (rewritten, ==,
                   "{\"path\":\"a\",\"change\":\"changed\",\"what\":[\"mode\",\"sha256\"]}");
  g_assert_cmpstr (link, ==, "{\"path\":\"l\",\"change\":\"changed\",\"what\":[\"target\"]}");
}

static void
test_came_and_went (void)
{
  g_autoptr (FileDiff) diff = file_diff_new();
  static const char *const old[] = { "{\"path\":\"c\"}", "{\"path\":\"b\"}",
                                     "{\"path\":\"?\",\"path_bytes\":\"/w==\"}" };

  for (guint i = 0; i < G_N_ELEMENTS (old); i++) {
    g_autoptr (JsonObject) one = file (old[i]);
    g_assert_true (file_diff_add_old (diff, one, NULL));
  }
  /* Two names that look the same when they are shown are two. */
  g_autoptr (JsonObject) other = file ("{\"path\":\"?\",\"path_bytes\":\"/g==\"}");
  g_autoptr (JsonObject) same = file ("{\"path\":\"c\"}");
  g_autoptr (JsonObject) added = file_diff_add_new (diff, other);
  g_autofree char *line = json_to_line (added);
  g_assert_cmpstr (line, ==, "{\"path\":\"?\",\"path_bytes\":\"/g==\",\"change\":\"added\"}");
  g_assert_null (file_diff_add_new (diff, same));
  g_autoptr (GPtrArray) removed = file_diff_removed (diff);
  g_assert_cmpuint (removed->len, ==, 2);
  g_assert_cmpstr (json_object_get_string_member (removed->pdata[0], "path"), ==, "?");
  g_assert_cmpstr (json_object_get_string_member (removed->pdata[1], "path"), ==, "b");
  g_assert_cmpstr (json_object_get_string_member (removed->pdata[1], "change"), ==, "removed");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/file-diff/same", test_same);
  g_test_add_func ("/file-diff/changed", test_changed);
  g_test_add_func ("/file-diff/came-and-went", test_came_and_went);
  return g_test_run();
}
