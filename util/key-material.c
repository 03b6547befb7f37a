/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/util/key-material.h>

#include <vmckpt/util/bytes.h>

#include <sodium.h>
#include <vmckpt/util/error.h>

#include <string.h>

#define BASE64 sodium_base64_VARIANT_ORIGINAL

static const char *const kind_names[] = { [KEY_PASSWORD] = "password", [KEY_FILE] = "file" };

const char *
key_kind_name (KeyKind kind)
{
  return kind_names[kind];
}

gboolean
key_kind_from_name (const char *name, KeyKind *kind)
{
  for (guint i = 0; i < G_N_ELEMENTS (kind_names); i++)
    if (g_str_equal (name, kind_names[i])) {
      *kind = i;
      return TRUE;
    }
  return FALSE;
}

static KeyMaterial *
material_take (KeyKind kind, Secret *secret)
{
  KeyMaterial *material = g_new (KeyMaterial, 1);

  *material = (KeyMaterial){ kind, secret };
  return material;
}

static gboolean
bad_argument (GError **error, const char *text)
{
  g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, text);
  return FALSE;
}

KeyMaterial *
key_material_new_password (const void *password, gsize len, GError **error)
{
  if (len >= 1 && len <= KEY_PASSWORD_MAX)
    return material_take (KEY_PASSWORD, secret_new_copy (password, len));
  bad_argument (error, len == 0 ? "a password must not be empty"
                                : "a password may have 1024 bytes at most");
  return NULL;
}

KeyMaterial *
key_material_new_file (const void *content, gsize len, GError **error)
{
  if (len < KEY_FILE_MIN) {
    bad_argument (error, "a key file needs 32 bytes or more; 'vmckpt store key generate FILE' "
                         "makes a good one");
    return NULL;
  }
  Secret *digest = secret_new (KEY_FILE_DIGEST_BYTES);
  crypto_generichash (digest->bytes, digest->len, content, len, NULL, 0);
  return material_take (KEY_FILE, digest);
}

KeyMaterial *
key_material_read_password (const char *path, GError **error)
{
  ERROR_PREFIX (error, "the password file %s", path);
  g_autoptr (Secret) content = secret_read_file (path, KEY_FILE_MAX, error);

  if (content == NULL)
    return NULL;
  const guint8 *end = content->len > 0 ? memchr (content->bytes, '\n', content->len) : NULL;
  gsize len = end != NULL ? (gsize)(end - content->bytes) : content->len;
  if (len > 0 && content->bytes[len - 1] == '\r')
    len--;
  return key_material_new_password (content->bytes, len, error);
}

KeyMaterial *
key_material_read_file (const char *path, GError **error)
{
  ERROR_PREFIX (error, "the key file %s", path);
  g_autoptr (Secret) content = secret_read_file (path, KEY_FILE_MAX, error);

  return content != NULL ? key_material_new_file (content->bytes, content->len, error) : NULL;
}

SecretText *
key_material_to_text (const KeyMaterial *material)
{
  const Secret *secret = material->secret;
  const char *kind = key_kind_name (material->kind);
  gsize space = strlen (kind) + 1;
  gsize size = space + MAX (2 * secret->len + 1, sodium_base64_ENCODED_LEN (secret->len, BASE64));
  char *text = g_malloc0 (size);

  memcpy (text, kind, space - 1);
  text[space - 1] = ' ';
  if (material->kind == KEY_FILE)
    sodium_bin2hex (text + space, size - space, secret->bytes, secret->len);
  else
    sodium_bin2base64 (text + space, size - space, secret->bytes, secret->len, BASE64);
  return text;
}

static KeyMaterial *
password_from_base64 (const char *text, GError **error)
{
  g_autoptr (Secret) password = secret_new (KEY_PASSWORD_MAX + 1);
  gsize len;

  if (sodium_base642bin (password->bytes, password->len, text, strlen (text), NULL, &len, NULL,
                         BASE64) == 0)
    return key_material_new_password (password->bytes, len, error);
  bad_argument (error, "a key that was sent is no password of 1 to 1024 bytes in base64");
  return NULL;
}

KeyMaterial *
key_material_from_text (const char *text, GError **error)
{
  if (g_str_has_prefix (text, "password "))
    return password_from_base64 (text + strlen ("password "), error);
  if (g_str_has_prefix (text, "file ")) {
    g_autoptr (Secret) digest = secret_new (KEY_FILE_DIGEST_BYTES);
    if (bytes_from_hex (text + strlen ("file "), digest->bytes, digest->len))
      return material_take (KEY_FILE, g_steal_pointer (&digest));
  }
  bad_argument (error, "a key that was sent is neither 'password BASE64' nor 'file' and 64 digits");
  return NULL;
}

KeyMaterial *
key_material_copy (const KeyMaterial *material)
{
  return material_take (material->kind,
                        secret_new_copy (material->secret->bytes, material->secret->len));
}

void
key_material_free (KeyMaterial *material)
{
  if (material == NULL)
    return;
  secret_free (material->secret);
  g_free (material);
}
