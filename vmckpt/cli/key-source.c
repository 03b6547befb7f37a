/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "key-source.h"

#include "cli-error.h"

#include <string.h>

/* A bad key file is a bad argument. */
static KeyMaterial *
or_usage (KeyMaterial *key, GError *cause, GError **error)
{
  if (cause != NULL)
    g_set_error_literal (error, CLI_ERROR, CLI_ERROR_USAGE, cause->message);
  g_clear_error (&cause);
  return key;
}

KeyMaterial *
key_source_read (const KeySource *source, GError **error)
{
  GError *cause = NULL;
  KeyMaterial *key = NULL;

  if (source->key_file != NULL && source->password_file != NULL) {
    g_set_error_literal (error, CLI_ERROR, CLI_ERROR_USAGE,
                         "a key file and a password file are given: only one can be the key");
    return NULL;
  }
  if (source->key_file != NULL)
    key = key_material_read_file (source->key_file, &cause);
  else if (source->password_file != NULL)
    key = key_material_read_password (source->password_file, &cause);
  return or_usage (key, cause, error);
}

KeyMaterial *
key_source_ask (const KeySource *source, GError **error)
{
  g_autoptr (Secret) password =
      source->ask != NULL ? source->ask ("password of the store: ", error) : NULL;
  GError *cause = NULL;

  if (password == NULL)
    return NULL;
  KeyMaterial *key = key_material_new_password (password->bytes, password->len, &cause);
  return or_usage (key, cause, error);
}

KeyMaterial *
key_source_new_key (const KeySource *source, GError **error)
{
  g_autoptr (GError) cause = NULL;
  g_autoptr (KeyMaterial) key = key_source_read (source, &cause);

  if (key != NULL)
    return g_steal_pointer (&key);
  if (cause != NULL) {
    g_propagate_error (error, g_steal_pointer (&cause));
    return NULL;
  }
  if (source->ask == NULL) {
    g_set_error_literal (error, CLI_ERROR, CLI_ERROR_USAGE,
                         "a new key is needed, and there is no terminal to ask at: name a key file "
                         "or a password file");
    return NULL;
  }
  g_autoptr (Secret) once = source->ask ("new password: ", error);
  g_autoptr (Secret) again = once != NULL ? source->ask ("once more: ", error) : NULL;
  if (again == NULL)
    return NULL;
  if (!secret_equal (once, again)) {
    g_set_error_literal (error, CLI_ERROR, CLI_ERROR_USAGE, "the two passwords differ");
    return NULL;
  }
  GError *bad = NULL;
  KeyMaterial *fresh = key_material_new_password (once->bytes, once->len, &bad);
  return or_usage (fresh, bad, error);
}
