/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What somebody has to open an encrypted store with: a password, or the content of a key file. The
 * command line reads it and sends it with each request; the store's keys are unwrapped with it.
 */
#pragma once

#include <vmckpt/util/secret.h>

/* A password is 1 to 1024 bytes; a key file 32 bytes to 1 MiB of anything. */
#define KEY_PASSWORD_MAX 1024
#define KEY_FILE_MIN 32
#define KEY_FILE_MAX (1024 * 1024)
/* Of a key file only this counts: BLAKE2b-256 over its content. */
#define KEY_FILE_DIGEST_BYTES 32

typedef enum {
  KEY_PASSWORD,
  KEY_FILE,
} KeyKind;

typedef struct {
  KeyKind kind;
  Secret *secret; /* the password, or the key file's digest */
} KeyMaterial;

/* "password" and "file". */
const char *key_kind_name (KeyKind kind);
/* And back; FALSE, and *@kind untouched, for any other word. */
gboolean key_kind_from_name (const char *name, KeyKind *kind);

/* From a password; NULL with @error (G_IO_ERROR_INVALID_ARGUMENT) if it is empty or too long. */
KeyMaterial *key_material_new_password (const void *password, gsize len, GError **error);

/* From a key file's content; NULL with @error (G_IO_ERROR_INVALID_ARGUMENT) if it is too short. */
KeyMaterial *key_material_new_file (const void *content, gsize len, GError **error);

/* The same from files. Of a password file the first line counts, without its end. */
KeyMaterial *key_material_read_password (const char *path, GError **error);
KeyMaterial *key_material_read_file (const char *path, GError **error);

/**
 * key_material_to_text, key_material_from_text:
 *
 * The form in which it travels over the daemon's socket, in one line: "password BASE64", or "file"
 * and 64 hexadecimal digits. Whoever has the text has the key.
 *
 * Returns: NULL with @error (G_IO_ERROR_INVALID_ARGUMENT), which does not quote the text.
 */
SecretText *key_material_to_text (const KeyMaterial *material);
KeyMaterial *key_material_from_text (const char *text, GError **error);

/* Newly allocated, guarded as @material is (secret.h). */
KeyMaterial *key_material_copy (const KeyMaterial *material);
/* Frees @material; NULL is ignored. */
void key_material_free (KeyMaterial *material);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (KeyMaterial, key_material_free)
