/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests to vmckpt-inspect: bounded, checked, names of any bytes. */
#include "inspect-request.h"

#include <string.h>
#include <vmckpt/inspect/inspector.h>

static InspectRequest *
parse (const char *line)
{
  g_autoptr (GError) error = NULL;
  InspectRequest *request = inspect_request_parse (line, strlen (line), &error);

  g_assert_no_error (error);
  return request;
}

static void
refuse (const char *line)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (inspect_request_parse (line, strlen (line), &error));
  g_assert_error (error, INSPECT_ERROR, INSPECT_ERROR_USAGE);
}

static void
test_good (void)
{
  g_autoptr (InspectRequest) plain = parse ("{\"command\":\"inspect\"}");
  g_autoptr (InspectRequest) ls =
      parse ("{\"command\":\"ls\",\"path\":\"/etc\",\"volume\":\"disk0p1\"}");
  g_autoptr (InspectRequest) files = parse ("{\"command\":\"files\",\"checksums\":true}");
  g_autoptr (InspectRequest) bytes =
      parse ("{\"command\":\"copy\",\"path\":\"/?\",\"path_bytes\":\"L/8=\",\"file_only\":true}");

  g_assert_cmpint (plain->command, ==, COMMAND_INSPECT);
  g_assert_cmpstr (plain->path, ==, "/");
  g_assert_null (plain->volume);
  g_assert_cmpint (ls->command, ==, COMMAND_LS);
  g_assert_cmpstr (ls->path, ==, "/etc");
  g_assert_cmpstr (ls->volume, ==, "disk0p1");
  g_assert_true (files->checksums && !files->file_only);
  g_assert_cmpstr (bytes->path, ==, "/\xff");
  g_assert_true (bytes->file_only);
}

static void
test_bad (void)
{
  g_autofree char *name = g_strnfill (REQUEST_PATH_MAX, 'x');
  g_autofree char *path = g_strdup_printf ("{\"command\":\"ls\",\"path\":\"/%s\"}", name);
  g_autofree char *blanks = g_strnfill (REQUEST_LINE_MAX, ' ');
  g_autofree char *line = g_strdup_printf ("{\"command\":\"ls\"%s}", blanks);

  refuse ("");
  refuse ("[]");
  refuse ("{}");
  refuse ("{\"command\":\"rm\"}");
  refuse ("{\"command\":7}");
  refuse ("{\"command\":\"ls\",\"path\":\"etc\"}");
  refuse ("{\"command\":\"ls\",\"path\":\"\"}");
  refuse ("{\"command\":\"ls\",\"path\":7}");
  /* A NUL would end the name early. */
  refuse ("{\"command\":\"ls\",\"path\":\"/\",\"path_bytes\":\"LwBh\"}");
  refuse (path);
  refuse (line);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/inspect-request/good", test_good);
  g_test_add_func ("/inspect-request/bad", test_bad);
  return g_test_run();
}
