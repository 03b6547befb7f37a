/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the program takes for a request. A line that it does not understand ends it, so every way to
 * be wrong has to be told as wrong use. */
#include "link-request.h"

#include <string.h>

static Request *
parse (const char *line, GError **error)
{
  return request_parse (line, strlen (line), error);
}

static void
test_members (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GError) missing = NULL;
  g_autoptr (GError) mistyped = NULL;
  g_autoptr (Request) request =
      parse ("{\"id\": 9223372036854775807, \"request\": \"start\", \"fd\": true,"
             " \"domain\": \"d\", \"paused\": true}",
             &error);

  g_assert_no_error (error);
  g_assert_cmpuint (request->id, ==, G_MAXINT64);
  g_assert_cmpstr (request->name, ==, "start");
  g_assert_true (request->fd);
  g_assert_cmpstr (request_text (request, "domain", &error), ==, "d");
  g_assert_no_error (error);
  g_assert_null (request_text (request, "uri", &missing));
  g_assert_error (missing, LIBVIRT_ERROR, LIBVIRT_ERROR_USAGE);
  g_assert_nonnull (strstr (missing->message, "uri"));
  g_assert_null (request_text (request, "paused", &mistyped));
  g_assert_error (mistyped, LIBVIRT_ERROR, LIBVIRT_ERROR_USAGE);
}

/* A descriptor is looked for only when the line says that one came. */
static void
test_no_descriptor_unless_said (void)
{
  static const char *const lines[] = {
    "{\"id\": 0, \"request\": \"list\"}",
    "{\"id\": 0, \"request\": \"list\", \"fd\": false}",
    "{\"id\": 0, \"request\": \"list\", \"fd\": null}",
    "{\"id\": 0, \"request\": \"list\", \"fd\": 1}",
  };

  for (guint i = 0; i < G_N_ELEMENTS (lines); i++) {
    g_autoptr (Request) request = parse (lines[i], NULL);
    g_assert_nonnull (request);
    g_assert_false (request->fd);
  }
}

static void
test_what_is_no_request (void)
{
  static const char *const lines[] = {
    "",
    "list",
    "[]",
    "{}",
    "{\"id\": 1}",
    "{\"request\": \"list\"}",
    "{\"id\": -1, \"request\": \"list\"}",
    "{\"id\": 1.5, \"request\": \"list\"}",
    "{\"id\": \"1\", \"request\": \"list\"}",
    "{\"id\": null, \"request\": \"list\"}",
    "{\"id\": 1, \"request\": 7}",
    "{\"id\": 1, \"request\": {}}",
    "{\"id\": 1, \"request\": null}",
    "{\"id\": 1, \"request\": \"list\"",
    "{\"id\": 1, \"request\": \"\xff\"}",
  };

  for (guint i = 0; i < G_N_ELEMENTS (lines); i++) {
    g_autoptr (GError) error = NULL;
    g_autoptr (Request) request = parse (lines[i], &error);
    g_assert_null (request);
    g_assert_error (error, LIBVIRT_ERROR, LIBVIRT_ERROR_USAGE);
  }
}

/* @depth objects in each other, of which the request is one. */
static char *
nest (guint depth)
{
  GString *line = g_string_new ("{\"id\": 1, \"request\": \"list\", \"more\": ");

  for (guint i = 1; i < depth; i++)
    g_string_append (line, i + 1 < depth ? "{\"more\": " : "{}");
  for (guint i = 1; i < depth; i++)
    g_string_append_c (line, '}');
  return g_string_free (line, FALSE);
}

static void
test_bounds (void)
{
  g_autoptr (GError) deep = NULL;
  g_autoptr (GError) large = NULL;
  g_autofree char *as_deep = nest (REQUEST_DEPTH);
  g_autofree char *too_deep = nest (REQUEST_DEPTH + 1);
  g_autofree char *too_large = g_malloc (LIBVIRT_LINE_MAX + 1); /* not looked at */

  g_autoptr (Request) fits = parse (as_deep, NULL);
  g_assert_nonnull (fits);
  g_assert_null (parse (too_deep, &deep));
  g_assert_error (deep, LIBVIRT_ERROR, LIBVIRT_ERROR_USAGE);
  g_assert_null (request_parse (too_large, LIBVIRT_LINE_MAX + 1, &large));
  g_assert_error (large, LIBVIRT_ERROR, LIBVIRT_ERROR_USAGE);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/link-request/members", test_members);
  g_test_add_func ("/link-request/no-descriptor", test_no_descriptor_unless_said);
  g_test_add_func ("/link-request/no-request", test_what_is_no_request);
  g_test_add_func ("/link-request/bounds", test_bounds);
  return g_test_run();
}
