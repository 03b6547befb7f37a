/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "track-soft-dirty.h"

#include <vmckpt/util/fd.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

/* Bits of an entry of pagemap (Documentation/admin-guide/mm/pagemap.rst). */
#define ENTRY_SOFT_DIRTY (G_GUINT64_CONSTANT (1) << 55)
#define ENTRY_MAPPED (G_GUINT64_CONSTANT (3) << 62) /* present, or swapped */

#define ENTRIES 4096 /* read at a time */

gboolean
track_soft_dirty_is_there (void)
{
  g_auto (AutoFd) pagemap = open ("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  gsize size = sysconf (_SC_PAGESIZE);
  guint8 *page = mmap (NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  guint64 entry = 0;
  gboolean read_it;

  if (page == MAP_FAILED)
    return FALSE;
  /* Whatever is new is dirty, where there is such a bit. */
  page[0] = 1;
  read_it = pagemap >= 0 && pread (pagemap, &entry, sizeof entry,
                                   (guintptr)page / size * sizeof entry) == sizeof entry;
  munmap (page, size);
  return read_it && (entry & ENTRY_SOFT_DIRTY) != 0;
}

/* Clears the bits of all of QEMU's memory. */
static gboolean
clear_bits (const TrackedMemory *memory, GError **error)
{
  g_autofree char *path = g_strdup_printf ("/proc/%d/clear_refs", (int)memory->pid);
  g_auto (AutoFd) fd = open (path, O_WRONLY | O_CLOEXEC);

  if (fd < 0)
    return fd_set_errno_error (error, "opening %s", path);
  return fd_write_full (fd, "4", 1, error);
}

gboolean
track_soft_dirty_begin (const TrackedMemory *memory, GError **error)
{
  if (memory->pagemap >= 0 && track_soft_dirty_is_there() && clear_bits (memory, NULL))
    return TRUE;
  g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                       "the kernel has no soft-dirty bits (CONFIG_MEM_SOFT_DIRTY), or "
                       "/proc/PID/clear_refs of QEMU may not be written");
  return FALSE;
}

void
track_soft_dirty_parse (const guint64 *entries, gsize count, guint64 first, PageBitmap *written)
{
  for (gsize i = 0; i < count; i++)
    if ((entries[i] & ENTRY_SOFT_DIRTY) != 0 || (entries[i] & ENTRY_MAPPED) == 0)
      page_bitmap_set (written, first + i);
}

/* Adds to @written what the bits say. */
static gboolean
read_bits (const TrackedMemory *memory, PageBitmap *written, GError **error)
{
  g_autofree guint64 *entries = g_new (guint64, ENTRIES);
  guint64 at = memory->address / DIRTY_LOG_PAGE_BYTES;

  for (guint64 page = 0, count; page < written->pages; page += count) {
    count = MIN (written->pages - page, ENTRIES);
    gssize len =
        pread (memory->pagemap, entries, count * sizeof *entries, (at + page) * sizeof *entries);
    if (len != (gssize)(count * sizeof *entries))
      return fd_set_errno_error (error, "reading QEMU's pagemap");
    track_soft_dirty_parse (entries, count, page, written);
  }
  return TRUE;
}

gboolean
track_soft_dirty_collect (const TrackedMemory *memory, DirtyLog *log, PageBitmap *found,
                          GError **error)
{
  guint64 pages = dirty_log_pages (log);
  g_autoptr (PageBitmap) written = page_bitmap_new (pages);
  g_autoptr (PageBitmap) populated = page_bitmap_new (pages);

  if (!read_bits (memory, written, error) || !tracked_memory_populated (memory, populated, error))
    return FALSE;
  /* What has no content was not written; what was discarded is known otherwise. */
  page_bitmap_intersect (written, populated);
  for (guint64 first = 0, end; page_bitmap_next_run (written, &first, &end); first = end)
    dirty_log_add (log, first, end);
  if (found != NULL)
    page_bitmap_add (found, written);
  return clear_bits (memory, error);
}
