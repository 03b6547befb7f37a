/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libnbd for tests: connections that close themselves, errors that end the test. */
#pragma once

#include <glib.h>
#include <libnbd.h>

typedef struct nbd_handle NbdHandle;
G_DEFINE_AUTOPTR_CLEANUP_FUNC (NbdHandle, nbd_close)

static inline NbdHandle *
nbd_client_connect (const char *uri)
{
  NbdHandle *nbd = nbd_create();

  g_assert_nonnull (nbd);
  g_assert_cmpint (nbd_set_uri_allow_local_file (nbd, true), ==, 0);
  g_assert_cmpint (nbd_add_meta_context (nbd, LIBNBD_CONTEXT_BASE_ALLOCATION), ==, 0);
  if (nbd_connect_uri (nbd, uri) < 0)
    g_error ("%s: %s", uri, nbd_get_error());
  return nbd;
}

/* All of an export is what @wanted has. */
static inline void
nbd_client_assert (const char *uri, const guint8 *wanted, gsize len)
{
  g_autoptr (NbdHandle) nbd = nbd_client_connect (uri);
  g_autofree guint8 *data = g_malloc (len);

  g_assert_cmpint (nbd_get_size (nbd), ==, (gint64)len);
  for (gsize at = 0; at < len; at += 1024 * 1024)
    g_assert_cmpint (nbd_pread (nbd, data + at, MIN (len - at, 1024 * 1024), at, 0), ==, 0);
  g_assert_cmpmem (data, len, wanted, len);
  nbd_shutdown (nbd, 0);
}
