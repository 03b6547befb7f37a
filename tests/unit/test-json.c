/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/util/json.h>

#include <string.h>

static JsonObject *
parse (const char *text, GError **error)
{
  return json_parse_bounded (text, strlen (text), 1024, 4, error);
}

/* @text is refused as data, and the message says @why. */
static void
assert_refused (const char *text, gsize len, const char *why)
{
  g_autofree char *shown = g_strescape (text, NULL);
  g_autoptr (GError) error = NULL;

  g_test_message ("%.40s", shown);
  g_assert_null (json_parse_bounded (text, len, 1024, 4, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
  g_assert_nonnull (strstr (error->message, "not acceptable as JSON"));
  g_assert_nonnull (strstr (error->message, why));
}

static void
test_reads_members (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) object = parse (
      "{\"s\":\"x\",\"n\":9007199254740993,\"b\":true,\"o\":{\"a\":[1]},\"z\":null}", &error);
  guint64 number;
  gboolean flag;

  g_assert_no_error (error);
  g_assert_cmpstr (json_get_string (object, "s", &error), ==, "x");
  /* Beyond a double's 53 bits. */
  g_assert_true (json_get_uint64 (object, "n", &number, &error));
  g_assert_cmpuint (number, ==, G_GUINT64_CONSTANT (9007199254740993));
  g_assert_true (json_get_bool (object, "b", &flag, &error));
  g_assert_true (flag);
  JsonObject *inner = json_get_object (object, "o", &error);
  g_assert_nonnull (inner);
  g_assert_cmpuint (json_array_get_length (json_get_array (inner, "a", &error)), ==, 1);
  g_assert_no_error (error);
  g_assert_cmpstr (json_get_string_or (object, "z", "fallback"), ==, "fallback");
  g_assert_cmpuint (json_get_uint64_or (object, "s", 5), ==, 5);
  g_assert_true (json_get_bool_or (object, "missing", TRUE));
}

static void
test_wrong_members_are_named (void)
{
  g_autoptr (JsonObject) object = parse ("{\"s\":\"x\",\"n\":-1,\"d\":1.5}", NULL);
  static const struct {
    const char *member, *message;
  } cases[] = {
    { "missing", "member 'missing' is missing" },
    { "s", "member 's' is not a number" },
    { "n", "member 'n' is negative" },
    { "d", "member 'd' is not a number" },
  };
  guint64 number;

  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (GError) error = NULL;
    g_assert_false (json_get_uint64 (object, cases[i].member, &number, &error));
    g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
    g_assert_cmpstr (error->message, ==, cases[i].message);
  }
  g_assert_null (json_get_string (object, "n", NULL));
  g_assert_null (json_get_object (object, "s", NULL));
  g_assert_null (json_get_array (object, "s", NULL));
}

static void
test_bounds (void)
{
  g_autofree char *deep = g_strnfill (1000, '[');
  g_autofree char *padded = g_strdup_printf ("{\"a\":%1100d}", 1);
  g_autoptr (JsonObject) at_limit = parse ("{\"a\":[[[1]]]}", NULL);

  g_assert_nonnull (at_limit);
  assert_refused (deep, strlen (deep), "nested too deeply");
  assert_refused ("{\"a\":[[[[1]]]]}", 15, "nested too deeply");
  assert_refused (padded, strlen (padded), "too long");
}

static void
test_garbage (void)
{
  static const char *const bad[] = {
    "{", "}", "{\"a\":}", "{\"a\":\"", "{\"a\" 1}", "{\"\\", "nul"
  };

  for (gsize i = 0; i < G_N_ELEMENTS (bad); i++)
    assert_refused (bad[i], strlen (bad[i]), "");
  assert_refused ("", 0, "not an object");
  assert_refused ("[1]", 3, "not an object");
  assert_refused ("1", 1, "not an object");
  assert_refused ("{\"a\":\"\xff\"}", 9, "not UTF-8");
  assert_refused ("{\"a\":1}\0{}", 10, "not UTF-8");
}

/* Brackets inside a string are text. */
static void
test_strings_do_not_nest (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) object = parse ("{\"a\":\"[[[[[[{{{{\\\"[[[[[\"}", &error);

  g_assert_no_error (error);
  g_assert_cmpstr (json_get_string (object, "a", NULL), ==, "[[[[[[{{{{\"[[[[[");
}

/* json-glib passes over comments and takes single quotes. A double quote in them is no string's
 * beginning: brackets behind it would be text to whoever counts, and nest to whoever parses. */
static void
test_comments_hide_nothing (void)
{
  static const char *const bad[] = {
    "/*\"*/{\"a\":[[[[1]]]]}", "//\"\n{\"a\":[[[[1]]]]}", "{\"a\":'\"',\"b\":[[[[1]]]]}",
    "{\"a\":1} // [",          "{\"a\":1 /* */}",         "#\"\n{\"a\":[[[[1]]]]}"
  };

  for (gsize i = 0; i < G_N_ELEMENTS (bad); i++)
    assert_refused (bad[i], strlen (bad[i]), "");
}

/* Only the given length counts: what follows may be the next line of a socket's buffer. */
static void
test_length_counts (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) object = json_parse_bounded ("{\"a\":1}{\"b\"", 7, 1024, 4, &error);

  g_assert_no_error (error);
  g_assert_cmpuint (json_get_uint64_or (object, "a", 0), ==, 1);
}

static void
test_writes (void)
{
  g_autoptr (JsonObject) object = parse ("{\"z\":1,\"a\":{\"t\":\"\\n\"}}", NULL);
  g_autofree char *line = json_to_line (object);
  g_autofree char *pretty = json_to_pretty (object);

  g_assert_cmpstr (line, ==, "{\"z\":1,\"a\":{\"t\":\"\\n\"}}");
  g_assert_true (g_str_has_suffix (pretty, "}\n"));
  g_autoptr (JsonObject) back = parse (pretty, NULL);
  g_autofree char *again = json_to_line (back);
  g_assert_cmpstr (again, ==, line);
}

/* What is read back is the very number, written as people would. */
static void
test_doubles_are_brief (void)
{
  g_autoptr (JsonObject) object = json_object_new();

  json_object_set_double_member (object, "a", 2.1);
  json_object_set_double_member (object, "b", 1.0 / 3);
  json_object_set_double_member (object, "c", -5e300);
  json_object_set_int_member (object, "d", G_MAXINT64);
  json_object_set_double_member (object, "e", 3);
  json_object_set_string_member (object, "2.1000000000000001", "\"1.10000000000000009");
  json_object_set_boolean_member (object, "f", TRUE);
  g_autofree char *line = json_to_line (object);
  g_assert_cmpstr (line, ==,
                   "{\"a\":2.1,\"b\":0.33333333333333331,\"c\":-5e+300,\"d\":9223372036854775807,"
                   "\"e\":3.0,\"2.1000000000000001\":\"\\\"1.10000000000000009\",\"f\":true}");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/json/reads-members", test_reads_members);
  g_test_add_func ("/json/wrong-members-are-named", test_wrong_members_are_named);
  g_test_add_func ("/json/bounds", test_bounds);
  g_test_add_func ("/json/garbage", test_garbage);
  g_test_add_func ("/json/strings-do-not-nest", test_strings_do_not_nest);
  g_test_add_func ("/json/comments-hide-nothing", test_comments_hide_nothing);
  g_test_add_func ("/json/length-counts", test_length_counts);
  g_test_add_func ("/json/writes", test_writes);
  g_test_add_func ("/json/brief-doubles", test_doubles_are_brief);
  return g_test_run();
}
