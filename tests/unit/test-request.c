/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "request.h"

#include "api-error.h"

#include <string.h>

static Request *
parse (const char *body, GError **error)
{
  g_autoptr (Request) request = g_new0 (Request, 1);
  g_autoptr (GBytes) bytes = g_bytes_new_static (body, strlen (body));

  return request_parse_body (request, bytes, error) ? g_steal_pointer (&request) : NULL;
}

static void
assert_refused (const char *body)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Request) request = parse (body, &error);

  g_assert_null (request);
  g_assert_error (error, API_ERROR, API_USAGE);
}

static void
test_bodies_that_are_refused (void)
{
  g_autoptr (GString) deep = g_string_new ("{\"a\":");
  g_autofree char *large = g_strnfill (REQUEST_MAX_BODY + 1, ' ');

  for (int i = 0; i < REQUEST_MAX_DEPTH; i++)
    g_string_append_c (deep, '[');
  assert_refused ("[]");
  assert_refused ("{");
  assert_refused ("{\"a\":\"\xff\"}");
  assert_refused (deep->str);
  assert_refused (large);
}

static void
test_an_unknown_member_is_named (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Request) request = parse ("{\"mode\":\"live\",\"tga\":\"x\"}", &error);

  g_assert_no_error (error);
  g_assert_false (request_expect (request, &error, "mode", "tag", NULL));
  g_assert_error (error, API_ERROR, API_USAGE);
  g_assert_nonnull (strstr (error->message, "'tga'"));
}

static void
test_absent_and_null_members_keep_the_default (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Request) request = parse ("{\"tag\":null,\"paused\":true}", &error);
  const char *tag = "default", *mode = "live";
  gboolean paused = FALSE;

  g_assert_true (request_string (request, "tag", &tag, &error));
  g_assert_true (request_string (request, "mode", &mode, &error));
  g_assert_true (request_bool (request, "paused", &paused, &error));
  g_assert_cmpstr (tag, ==, "default");
  g_assert_cmpstr (mode, ==, "live");
  g_assert_true (paused);
}

static void
test_a_member_of_another_type_is_refused (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Request) request = parse ("{\"tag\":5}", &error);
  const char *tag = NULL;

  g_assert_false (request_string (request, "tag", &tag, &error));
  g_assert_error (error, API_ERROR, API_USAGE);
}

static void
test_a_store_must_be_named_absolutely (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Request) request = parse ("", &error);

  g_assert_null (request_store_path (request, &error));
  g_assert_error (error, API_ERROR, API_USAGE);
  g_clear_error (&error);
  request->query = g_hash_table_new (g_str_hash, g_str_equal);
  g_hash_table_insert (request->query, (char *)"store", (char *)"relative/dir");
  g_assert_null (request_store_path (request, &error));
  g_assert_error (error, API_ERROR, API_USAGE);
  g_clear_error (&error);
  g_hash_table_insert (request->query, (char *)"store", (char *)"/srv/store");
  g_assert_cmpstr (request_store_path (request, &error), ==, "/srv/store");
}

static void
test_a_choice_names_the_choices (void)
{
  static const char *const modes[] = { "live", "stop", NULL };
  g_autoptr (GError) error = NULL;
  guint index;

  g_assert_true (request_choice ("mode", "stop", modes, &index, &error));
  g_assert_cmpuint (index, ==, 1);
  g_assert_false (request_choice ("mode", "frozen", modes, &index, &error));
  g_assert_cmpstr (error->message, ==, "mode 'frozen' is none of 'live', 'stop'");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/request/refused-bodies", test_bodies_that_are_refused);
  g_test_add_func ("/request/unknown-member", test_an_unknown_member_is_named);
  g_test_add_func ("/request/defaults", test_absent_and_null_members_keep_the_default);
  g_test_add_func ("/request/wrong-type", test_a_member_of_another_type_is_refused);
  g_test_add_func ("/request/store", test_a_store_must_be_named_absolutely);
  g_test_add_func ("/request/choice", test_a_choice_names_the_choices);
  return g_test_run();
}
