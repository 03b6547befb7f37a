/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ram-proof.h"

#include <vmckpt/ram/capture.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fd.h>

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PIECE_BYTES (1 << 20)

struct _RamProof {
  AutoFd copy;
  guint64 pages;
};

gboolean
ram_proof_wanted (void)
{
  return g_strcmp0 (g_getenv ("VMCKPT_PROVE"), "1") == 0;
}

void
ram_proof_free (RamProof *proof)
{
  if (proof == NULL)
    return;
  fd_close (&proof->copy);
  g_free (proof);
}

/* Copies what lies between two holes. */
static gboolean
copy_data (int from, int to, guint64 begin, guint64 end, guint8 *piece, GError **error)
{
  for (guint64 at = begin; at < end;) {
    ssize_t n = pread (from, piece, MIN (PIECE_BYTES, end - at), at);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0 || pwrite (to, piece, n, at) != n)
      return fd_set_errno_error (error, "copying the guest's memory aside");
    at += n;
  }
  return TRUE;
}

RamProof *
ram_proof_take (int fd, guint64 length, GError **error)
{
  g_autoptr (RamProof) proof = g_new0 (RamProof, 1);
  g_autofree guint8 *piece = g_malloc (PIECE_BYTES);

  proof->pages = length / PAGE_SIZE_BYTES;
  proof->copy = memfd_create ("vmckpt-proof", MFD_CLOEXEC);
  if (proof->copy < 0 || ftruncate (proof->copy, length) < 0) {
    fd_set_errno_error (error, "memory for a copy of the guest's");
    return NULL;
  }
  for (off_t begin = 0; (begin = lseek (fd, begin, SEEK_DATA)) >= 0 && (guint64)begin < length;) {
    off_t end = lseek (fd, begin, SEEK_HOLE);
    if (!copy_data (fd, proof->copy, begin, end, piece, error))
      return NULL;
    begin = end;
  }
  return g_steal_pointer (&proof);
}

typedef struct {
  const RamProof *proof;
  const PageBitmap *skip;
  guint64 differing, first;
} Comparison;

/* A PageFunc. */
static gboolean
compare_page (guint64 page, const guint8 *data, gpointer user_data, GError **error)
{
  static const guint8 zeros[PAGE_SIZE_BYTES];
  Comparison *comparison = user_data;
  guint8 was[PAGE_SIZE_BYTES];

  if (comparison->skip != NULL && page_bitmap_test (comparison->skip, page))
    return TRUE;
  if (pread (comparison->proof->copy, was, sizeof was, page * PAGE_SIZE_BYTES) != sizeof was)
    return fd_set_errno_error (error, "reading the copy of the guest's memory");
  if (memcmp (was, data != NULL ? data : zeros, sizeof was) == 0)
    return TRUE;
  if (comparison->differing++ == 0)
    comparison->first = page;
  return TRUE;
}

gboolean
ram_proof_check (const RamProof *proof, Store *store, const PageMap *map, const PageBitmap *skip,
                 GError **error)
{
  ERROR_PREFIX (error, "proving that tracking missed nothing");
  Comparison comparison = { .proof = proof, .skip = skip };
  g_autoptr (PageMapReader) reader = page_map_reader_new (store, map, error);

  if (reader == NULL ||
      !page_map_reader_foreach (reader, TRUE, compare_page, &comparison, NULL, NULL, error))
    return FALSE;
  if (map->length != proof->pages * PAGE_SIZE_BYTES || comparison.differing > 0) {
    g_set_error (error, RAM_ERROR, RAM_ERROR_FAILED,
                 "page %" G_GUINT64_FORMAT
                 " is not what the guest had when it was paused, and %" G_GUINT64_FORMAT
                 " pages in all",
                 comparison.first, comparison.differing);
    return FALSE;
  }
  return TRUE;
}
