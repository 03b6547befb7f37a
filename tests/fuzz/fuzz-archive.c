/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An archive to import: any bytes are refused or understood, within bounds. */
#include <vmckpt/exchange/archive.h>
#include <vmckpt/util/fd.h>

#include "fuzz.h"

#include <sodium.h>
#include <sys/mman.h>
#include <unistd.h>

static gboolean
on_document (JsonObject *document, gpointer user_data, GError **error)
{
  return TRUE;
}

static gboolean
on_pages (guint part, guint64 page, guint64 count, const guint8 *data, gpointer user_data,
          GError **error)
{
  volatile guint8 last = data != NULL ? data[count * PAGE_SIZE_BYTES - 1] : 0;
  (void)last;
  return TRUE;
}

static gboolean
on_copy (guint part, guint64 page, guint64 count, guint from_part, guint64 from_page,
         gpointer user_data, GError **error)
{
  return TRUE;
}

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  static const ArchiveEvents events = { on_document, on_pages, on_copy };
  g_autoptr (GError) error = NULL;
  g_auto (AutoFd) fd = memfd_create ("fuzz", MFD_CLOEXEC);

  if (sodium_init() < 0 || !fd_write_full (fd, data, size, NULL) || lseek (fd, 0, SEEK_SET) != 0)
    return 0;
  g_assert_true (archive_parse (fd, &events, NULL, NULL, &error) == (error == NULL));
  return 0;
}
