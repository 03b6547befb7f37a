/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tracked-memory.h"

#include "dirty-log.h"

#include <vmckpt/util/fd.h>

#include <errno.h>
#include <unistd.h>

gboolean
tracked_memory_populated (const TrackedMemory *memory, PageBitmap *populated, GError **error)
{
  off_t at = 0;

  /* What shared memory has no page for was never touched, or was discarded; pages that are swapped
   * out count as data. */
  while ((guint64)at < memory->bytes) {
    off_t data = lseek (memory->memory, at, SEEK_DATA);
    if (data < 0 && errno == ENXIO)
      return TRUE;
    off_t hole = data < 0 ? -1 : lseek (memory->memory, data, SEEK_HOLE);
    if (hole < 0)
      return fd_set_errno_error (error, "looking for populated pages of the guest's memory");
    page_bitmap_set_range (populated, data / DIRTY_LOG_PAGE_BYTES,
                           ((guint64)hole + DIRTY_LOG_PAGE_BYTES - 1) / DIRTY_LOG_PAGE_BYTES);
    at = hole;
  }
  return TRUE;
}
