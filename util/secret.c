/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/util/secret.h>

#include <vmckpt/util/fd.h>

#include <fcntl.h>
#include <sodium.h>
#include <string.h>

Secret *
secret_new (gsize len)
{
  Secret *secret = g_new (Secret, 1);

  if (sodium_init() < 0)
    g_error ("libsodium does not start");
  /* Locking may fail: then the bytes may be swapped out, but all else holds. */
  *secret = (Secret){ len, sodium_malloc (MAX (len, 1)) };
  if (secret->bytes == NULL)
    g_error ("no memory for a secret of %zu bytes", len);
  sodium_memzero (secret->bytes, len);
  return secret;
}

Secret *
secret_new_copy (const void *data, gsize len)
{
  Secret *secret = secret_new (len);

  if (len > 0)
    memcpy (secret->bytes, data, len);
  return secret;
}

void
secret_free (Secret *secret)
{
  if (secret == NULL)
    return;
  sodium_free (secret->bytes);
  g_free (secret);
}

gboolean
secret_equal (const Secret *a, const Secret *b)
{
  return a->len == b->len && sodium_memcmp (a->bytes, b->bytes, a->len) == 0;
}

Secret *
secret_read_file (const char *path, gsize max, GError **error)
{
  g_auto (AutoFd) fd = open (path, O_RDONLY | O_CLOEXEC);
  g_autoptr (Secret) all = NULL;

  if (fd < 0) {
    fd_set_errno_error (error, "opening %s", path);
    return NULL;
  }
  all = secret_new (max + 1);
  gssize len = fd_read_full (fd, all->bytes, all->len, error);
  if (len < 0) {
    g_prefix_error (error, "%s: ", path);
    return NULL;
  }
  if ((gsize)len > max) {
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "%s is longer than %zu bytes", path,
                 max);
    return NULL;
  }
  return secret_new_copy (all->bytes, len);
}

void
secret_text_free (SecretText *text)
{
  if (text != NULL)
    sodium_memzero (text, strlen (text));
  g_free (text);
}
