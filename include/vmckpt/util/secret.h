/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Bytes that must not get out: kept between guard pages, left out of core dumps, locked into memory
 * where the process may lock any (RLIMIT_MEMLOCK), and overwritten when they are freed.
 */
#pragma once

#include <gio/gio.h>

typedef struct {
  gsize len;
  guint8 *bytes; /* (guarded) */
} Secret;

/* @len bytes, all zero. Aborts if there is no memory, as g_malloc() does. */
Secret *secret_new (gsize len);

/* A guarded copy of @len bytes at @data, which stay the caller's to wipe. */
Secret *secret_new_copy (const void *data, gsize len);

/* Wipes and frees; NULL is ignored. */
void secret_free (Secret *secret);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Secret, secret_free)

/* TRUE if both hold the same bytes; takes as long whether they differ early or late. */
gboolean secret_equal (const Secret *a, const Secret *b);

/**
 * secret_read_file:
 * @path: file to read
 * @max: the most bytes that are taken
 *
 * Returns: (transfer full): its content; NULL with @error (G_IO_ERROR) if it cannot be read or is
 * longer.
 */
Secret *secret_read_file (const char *path, gsize max, GError **error);

/* Overwrites and frees text that held a secret for a while; for g_autoptr (SecretText). */
typedef char SecretText;
/* NULL is ignored. */
void secret_text_free (SecretText *text);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SecretText, secret_text_free)
