/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ID[:DISK]:/PATH. */
#include "cli-error.h"
#include "guest-path.h"

#include <vmckpt/util/json.h>

static void
test_good (void)
{
  static const struct {
    const char *text, *ref, *volume, *path, *name;
  } cases[] = {
    { "web", "web", NULL, "/", "root" },
    { "web@tag:/etc/passwd", "web@tag", NULL, "/etc/passwd", "passwd" },
    { "1234:disk0p1:/a:/b", "1234", "disk0p1", "/a:/b", "b" },
    { "1234:vg/lv:/etc/", "1234", "vg/lv", "/etc/", "etc" },
    { "1234:disk1", "1234", "disk1", "/", "root" },
    { "1234:/..", "1234", NULL, "/..", "root" },
    { "1234:/\xff", "1234", NULL, "/\xff", "\xff" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (GError) error = NULL;
    g_autoptr (GuestPath) path = guest_path_parse (cases[i].text, FALSE, &error);
    g_assert_no_error (error);
    g_autofree char *name = guest_path_base_name (path);
    g_assert_cmpstr (path->ref, ==, cases[i].ref);
    g_assert_cmpstr (path->volume, ==, cases[i].volume);
    g_assert_cmpstr (path->path, ==, cases[i].path);
    g_assert_cmpstr (name, ==, cases[i].name);
  }
}

static void
test_bad (void)
{
  static const char *const cases[] = { "",     ":/etc",     "web",       "web:disk0",
                                       "web:", "web::/etc", "w\xff:/etc" };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (GError) error = NULL;
    g_assert_null (guest_path_parse (cases[i], TRUE, &error));
    g_assert_error (error, CLI_ERROR, CLI_ERROR_USAGE);
    g_assert_true (g_utf8_validate (error->message, -1, NULL));
  }
}

/* The daemon gets text, and what is none exactly. */
static void
test_body (void)
{
  g_autoptr (GuestPath) path = guest_path_parse ("x:disk0:/a\xff", TRUE, NULL);
  g_autoptr (JsonObject) body = json_object_new();

  guest_path_add_to_body (path, body);
  g_autofree char *line = json_to_line (body);
  g_assert_cmpstr (line, ==,
                   "{\"path\":\"/a\xef\xbf\xbd\",\"path_bytes\":\"L2H/\",\"volume\":\"disk0\"}");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/cli-guest-path/good", test_good);
  g_test_add_func ("/cli-guest-path/bad", test_bad);
  g_test_add_func ("/cli-guest-path/body", test_body);
  return g_test_run();
}
