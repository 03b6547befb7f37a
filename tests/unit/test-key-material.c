/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Passwords and key files: what is taken, what is refused, and the form in which they travel. */
#include <vmckpt/util/key-material.h>

#include <glib/gstdio.h>
#include <string.h>

static char *
file_with (const char *content, gsize len)
{
  char *path = g_build_filename (g_get_tmp_dir(), "vmckpt-key-XXXXXX", NULL);
  g_autoptr (GError) error = NULL;
  int fd = g_mkstemp (path);

  g_assert_cmpint (fd, >=, 0);
  g_close (fd, NULL);
  g_file_set_contents (path, content, (gssize)len, &error);
  g_assert_no_error (error);
  return path;
}

static void
assert_password (const char *content, gsize len, const char *expected)
{
  g_autofree char *path = file_with (content, len);
  g_autoptr (GError) error = NULL;
  g_autoptr (KeyMaterial) key = key_material_read_password (path, &error);

  g_unlink (path);
  if (expected == NULL) {
    g_assert_null (key);
    g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
    return;
  }
  g_assert_no_error (error);
  g_assert_cmpint (key->kind, ==, KEY_PASSWORD);
  g_assert_cmpmem (key->secret->bytes, key->secret->len, expected, strlen (expected));
}

/* The first line counts, without its end. */
static void
test_password_file (void)
{
  g_autofree char *longest = g_strnfill (KEY_PASSWORD_MAX, 'x');
  g_autofree char *longer = g_strnfill (KEY_PASSWORD_MAX + 1, 'x');

  assert_password ("secret\n", 7, "secret");
  assert_password ("secret", 6, "secret");
  assert_password ("two words \r\nsecond line\n", 24, "two words ");
  assert_password ("", 0, NULL);
  assert_password ("\nsecond\n", 8, NULL);
  assert_password (longest, KEY_PASSWORD_MAX, longest);
  assert_password (longer, KEY_PASSWORD_MAX + 1, NULL);
}

/* Any content of 32 bytes or more; another byte is another key. */
static void
test_key_file (void)
{
  g_autofree char *content = g_strnfill (40, 'k');
  g_autofree char *path = file_with (content, 40);
  g_autoptr (GError) error = NULL;
  g_autoptr (KeyMaterial) key = key_material_read_file (path, &error);
  g_assert_no_error (error);
  g_autoptr (KeyMaterial) same = key_material_new_file (content, 40, &error);
  g_autoptr (KeyMaterial) other = key_material_new_file (content, 39, &error);

  g_unlink (path);
  g_assert_true (secret_equal (key->secret, same->secret));
  g_assert_false (secret_equal (key->secret, other->secret));
  g_assert_cmpuint (key->secret->len, ==, KEY_FILE_DIGEST_BYTES);
  g_assert_null (key_material_new_file (content, 31, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
  g_clear_error (&error);
  g_assert_null (key_material_read_file (path, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
}

/* What is sent is what arrives. */
static void
test_text (void)
{
  static const char odd[] = "p\xc3\xa4ss w\0rd\xff";
  g_autoptr (GError) error = NULL;
  g_autoptr (KeyMaterial) password = key_material_new_password (odd, sizeof odd, &error);
  g_autoptr (KeyMaterial) file =
      key_material_new_file ("0123456789abcdef0123456789abcdef", 32, &error);
  const KeyMaterial *both[] = { password, file };

  for (guint i = 0; i < G_N_ELEMENTS (both); i++) {
    g_autoptr (SecretText) text = key_material_to_text (both[i]);
    g_autoptr (KeyMaterial) back = key_material_from_text (text, &error);
    g_assert_no_error (error);
    g_assert_cmpint (back->kind, ==, both[i]->kind);
    g_assert_true (secret_equal (back->secret, both[i]->secret));
  }
}

/* What is no key is refused, without quoting it. */
static void
test_bad_text (void)
{
  g_autofree char *much = g_strnfill (8192, 'A');
  g_autofree char *too_long = g_strconcat ("password ", much, NULL);
  const char *const bad[] = {
    "",
    "password",
    "password ",
    "password s3cret!",
    "password AAA",
    "file",
    "file 00",
    "file 0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef",
    "token AAAA",
    too_long
  };

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (GError) error = NULL;
    g_assert_null (key_material_from_text (bad[i], &error));
    g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
    g_assert_null (strstr (error->message, "s3cret"));
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/util/key-material/password-file", test_password_file);
  g_test_add_func ("/util/key-material/key-file", test_key_file);
  g_test_add_func ("/util/key-material/text", test_text);
  g_test_add_func ("/util/key-material/bad-text", test_bad_text);
  return g_test_run();
}
