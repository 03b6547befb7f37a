/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Device state and its description, both of foreign origin. */
#include "vmstate.h"

#include "vmstate-build.h"

#include <string.h>
#include <vmckpt/exchange/sink.h>

/* u32 7, three of u16, a structure of two bytes twice, a subsection "s/x" of one byte. */
static const guint8 body[] = { 0,  0,  0, 7, 1,   0,   1,   1, 1, 2, 10, 11,
                               20, 21, 5, 3, 's', '/', 'x', 0, 0, 0, 1,  99 };
#define BODY                                                                                       \
  "\"fields\": [{\"name\": \"n\", \"size\": 4}, {\"name\": \"a\", \"size\": 2, \"array_len\": "    \
  "3}, {\"name\": \"t\", \"size\": 2, \"array_len\": 2, \"struct\": {\"fields\": [{\"name\": "     \
  "\"x\", \"size\": 1}, {\"name\": \"y\", \"size\": 1}, {\"name\": \"beyond\", \"size\": 1}]}}], " \
  "\"subsections\": [{\"vmsd_name\": \"s/x\", \"fields\": [{\"name\": \"z\", \"size\": 1}]}]"

static VmState *
make_good (void)
{
  g_autoptr (GError) error = NULL;
  g_auto (VmStateBuild) build;
  vmstate_build_init (&build);
  vmstate_build_add (&build, "timer", 0, NULL, 0, "\"fields\": []");
  vmstate_build_add (&build, "dev", 3, body, sizeof body, BODY);
  g_autoptr (GBytes) bytes = vmstate_build_bytes (&build);
  VmState *state = vmstate_new (bytes, &error);

  g_assert_no_error (error);
  return state;
}

static void
test_fields (void)
{
  g_autoptr (VmState) state = make_good();
  const VmSection *section = vmstate_get (state, 1);
  VmField field, member;

  g_assert_cmpuint (vmstate_length (state), ==, 2);
  g_assert_cmpstr (section->name, ==, "dev");
  g_assert_cmpuint (section->instance, ==, 3);
  g_assert_cmpuint (section->len, ==, sizeof body);
  g_assert_true (vmstate_find (section, "n", &field));
  g_assert_cmpuint (vmstate_number (&field, 0), ==, 7);
  g_assert_true (vmstate_find (section, "a", &field));
  g_assert_cmpuint (field.count, ==, 3);
  g_assert_cmpuint (vmstate_number (&field, 2), ==, 0x102);
  g_assert_cmpuint (vmstate_number (&field, 3), ==, 0); /* there is none */
  g_assert_false (vmstate_find_member (&field, 0, "x", &member));
  g_assert_true (vmstate_find (section, "t", &field));
  g_assert_true (vmstate_find_member (&field, 1, "y", &member));
  g_assert_cmpuint (vmstate_number (&member, 0), ==, 21);
  g_assert_false (vmstate_find (section, "z", &field));
  g_assert_false (vmstate_find (vmstate_get (state, 0), "n", &field));
}

/* A structure's description may say more than the structure has. */
static void
test_members_stay_inside (void)
{
  g_autoptr (VmState) state = make_good();
  VmField field, member;

  g_assert_true (vmstate_find (vmstate_get (state, 1), "t", &field));
  g_assert_false (vmstate_find_member (&field, 1, "beyond", &member));
  g_assert_false (vmstate_find_member (&field, 2, "x", &member));
  g_assert_false (vmstate_find_member (&field, G_MAXUINT, "x", &member));
}

static void
assert_refused (const guint8 *data, gsize len, const char *description, int code)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) bytes = description != NULL ? vmstate_build_described (data, len, description)
                                                 : g_bytes_new (data, len);

  g_test_message ("%.200s", description != NULL ? description : "no description");
  g_assert_null (vmstate_new (bytes, &error));
  if (code >= 0)
    g_assert_error (error, EXCHANGE_ERROR, code);
  g_assert_nonnull (error);
}

/* Whatever byte the state ends at before its description. */
static void
test_cut (void)
{
  g_auto (VmStateBuild) build;
  vmstate_build_init (&build);
  vmstate_build_add (&build, "dev", 3, body, sizeof body, BODY);
  g_autofree char *text = g_strdup_printf ("{\"devices\": [%s]}", build.devices->str);

  for (gsize len = 0; len < build.data->len; len++)
    assert_refused (build.data->data, len, text, EXCHANGE_ERROR_DAMAGED);
  assert_refused (build.data->data, build.data->len, NULL, EXCHANGE_ERROR_UNSUPPORTED);
  assert_refused (NULL, 0, NULL, EXCHANGE_ERROR_UNSUPPORTED);
}

/* A description that is cut, or followed by something, is none. */
static void
test_cut_description (void)
{
  g_auto (VmStateBuild) build;
  vmstate_build_init (&build);
  vmstate_build_add (&build, "dev", 3, body, sizeof body, BODY);
  g_autoptr (GBytes) bytes = vmstate_build_bytes (&build);
  gsize whole;
  const guint8 *data = g_bytes_get_data (bytes, &whole);

  for (gsize len = 0; len < whole; len++)
    assert_refused (data, len, NULL, EXCHANGE_ERROR_UNSUPPORTED);
  g_autofree guint8 *longer = g_malloc0 (whole + 1);
  memcpy (longer, data, whole);
  assert_refused (longer, whole + 1, NULL, EXCHANGE_ERROR_UNSUPPORTED);
}

/* What a section with eight bytes of fields must not be said to have. */
static void
test_hostile_fields (void)
{
  static const char *const fields[] = {
    "{\"fields\": 1}",
    "\"fields\": [1]",
    "\"fields\": [null]",
    "\"fields\": [[]]",
    "\"fields\": [{}]",
    "\"fields\": [{\"size\": \"8\"}]",
    "\"fields\": [{\"size\": -8}]",
    "\"fields\": [{\"size\": 8.5}]",
    "\"fields\": [{\"size\": 9}]",
    "\"fields\": [{\"size\": 4294967296}]",
    "\"fields\": [{\"size\": 18446744073709551616}]",
    "\"fields\": [{\"size\": 9223372036854775807}]",
    "\"fields\": [{\"size\": 8, \"array_len\": -1}]",
    "\"fields\": [{\"size\": 8, \"array_len\": 1.0e300}]",
    "\"fields\": [{\"size\": 8, \"array_len\": \"1\"}]",
    "\"fields\": [{\"size\": 4294967295, \"array_len\": 4294967295}]",
    "\"fields\": [{\"size\": 2147483648, \"array_len\": 2147483648}]",
    "\"fields\": [{\"size\": 8, \"array_len\": 2305843009213693953}]",
    "\"fields\": [{\"size\": 4}, {\"size\": 5}]",
    "\"fields\": [{\"size\": 8}], \"subsections\": [null]",
    "\"fields\": [{\"size\": 8}], \"subsections\": [{}]",
    "\"fields\": [{\"size\": 8}], \"subsections\": [[]]",
  };
  static const guint8 eight[8];
  g_auto (VmStateBuild) build;
  vmstate_build_init (&build);
  vmstate_build_add (&build, "dev", 0, eight, sizeof eight, "");

  for (guint i = 0; i < G_N_ELEMENTS (fields); i++) {
    g_autofree char *text = g_strdup_printf ("{\"devices\": [{\"name\": \"dev\", %s}]}", fields[i]);
    assert_refused (build.data->data, build.data->len, text, -1);
  }
}

/* Elements of no size take no room, however many there are; nobody may walk them. */
static void
test_many_of_nothing (void)
{
  g_autoptr (GError) error = NULL;
  g_auto (VmStateBuild) build;
  VmField field;
  vmstate_build_init (&build);
  vmstate_build_add (&build, "dev", 0, NULL, 0,
                     "\"fields\": [{\"name\": \"e\", \"size\": 0, \"array_len\": 4294967295, "
                     "\"struct\": {\"fields\": [{\"name\": \"x\", \"size\": 1}]}}]");
  g_autoptr (GBytes) bytes = vmstate_build_bytes (&build);
  g_autoptr (VmState) state = vmstate_new (bytes, &error);

  g_assert_no_error (error);
  g_assert_true (vmstate_find (vmstate_get (state, 0), "e", &field));
  g_assert_cmpuint (vmstate_number (&field, 4294967294), ==, 0);
  g_assert_false (vmstate_find_member (&field, 4294967294, "x", &field));
}

static void
test_hostile_devices (void)
{
  static const char *const texts[] = {
    "{}",
    "{\"devices\": {}}",
    "{\"devices\": null}",
    "{\"devices\": [1]}",
    "{\"devices\": [null]}",
    "{\"devices\": [{}]}",
    "{\"devices\": [{\"name\": 1}]}",
    "{\"devices\": [{\"name\": \"other\", \"fields\": []}]}",
    "{\"devices\": [{\"name\": \"de\", \"fields\": []}]}",
    "{\"devices\": [{\"name\": \"dev\"}, {\"name\": \"dev\"}]}",
    "{\"devices\": [{\"name\": \"dev\"}}",
    "{\"devices\": [",
    "{",
  };
  g_auto (VmStateBuild) build;
  vmstate_build_init (&build);
  vmstate_build_add (&build, "dev", 0, NULL, 0, "");

  for (guint i = 0; i < G_N_ELEMENTS (texts); i++)
    assert_refused (build.data->data, build.data->len, texts[i], -1);
}

static char *
repeat (const char *head, const char *piece, guint count, const char *tail)
{
  g_autoptr (GString) text = g_string_new (head);

  for (guint i = 0; i < count; i++)
    g_string_append (text, piece);
  g_string_append (text, tail);
  return g_string_free (g_steal_pointer (&text), FALSE);
}

/* Neither the parser nor ours may go as deep as the text says, nor keep all that it says. */
static void
test_depth_and_number (void)
{
  g_autofree char *deep = repeat ("{\"devices\": [", "{\"subsections\": [", 100000, "");
  g_autofree char *many = repeat ("{\"devices\": [", "{},", 2000000, "{}]}");

  assert_refused (NULL, 0, deep, -1);
  assert_refused (NULL, 0, many, EXCHANGE_ERROR_DAMAGED);
}

/* Real ones: a machine of QEMU 7.2 and one of 10.0. */
static void
test_real (void)
{
  static const char *const names[] = { "microvm-7.2", "microvm-10.0" };

  for (guint i = 0; i < G_N_ELEMENTS (names); i++) {
    g_autoptr (GError) error = NULL;
    g_autofree char *path =
        g_test_build_filename (G_TEST_DIST, "..", "fuzz", "corpus", "vmstate", names[i], NULL);
    g_autofree char *contents = NULL;
    VmField field;
    gsize len;
    g_assert_true (g_file_get_contents (path, &contents, &len, &error));
    g_autoptr (GBytes) bytes = g_bytes_new (contents, len);
    g_autoptr (VmState) state = vmstate_new (bytes, &error);
    g_assert_no_error (error);
    g_assert_cmpstr (vmstate_get (state, 0)->name, ==, "timer");
    g_assert_true (vmstate_find (vmstate_get (state, 0), "cpu_ticks_offset", &field));
    g_assert_cmpuint (field.size, ==, 8);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/vmstate/fields", test_fields);
  g_test_add_func ("/vmstate/members-inside", test_members_stay_inside);
  g_test_add_func ("/vmstate/cut", test_cut);
  g_test_add_func ("/vmstate/cut-description", test_cut_description);
  g_test_add_func ("/vmstate/hostile-fields", test_hostile_fields);
  g_test_add_func ("/vmstate/many-of-nothing", test_many_of_nothing);
  g_test_add_func ("/vmstate/hostile-devices", test_hostile_devices);
  g_test_add_func ("/vmstate/depth-and-number", test_depth_and_number);
  g_test_add_func ("/vmstate/real", test_real);
  return g_test_run();
}
