/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "track-async.h"

#include "uffd.h"

#include <vmckpt/util/fd.h>

#include <errno.h>

/* Regions that one call may find; then it is called again. */
#define REGIONS 4096
/* Guests above this are scanned by two threads: below, a thread costs more than it saves. */
#define TWO_THREADS_BYTES (G_GUINT64_CONSTANT (1) << 30)
/* What a thread takes at a time: what is written often lies together. A multiple of 64 pages, so
 * that threads never touch the same word of a bitmap. */
#define SHARE_PAGES (G_GUINT64_CONSTANT (64) << 20 >> 12)

gboolean
uffd_agree (int uffd, guint64 features, _Atomic uint64_t *agreed, GError **error)
{
  struct uffdio_api api = { .api = UFFD_API, .features = features };

  if (uffd < 0) {
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED, "QEMU has no userfaultfd");
    return FALSE;
  }
  if ((atomic_load (agreed) & features) == features)
    return TRUE;
  if (atomic_load (agreed) == 0 && ioctl (uffd, UFFDIO_API, &api) == 0) {
    /* The kernel says what it has, not what was asked for. */
    atomic_store (agreed, features);
    return TRUE;
  }
  g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                       "the kernel lacks features of userfaultfd");
  return FALSE;
}

gboolean
uffd_register (int uffd, const TrackedMemory *memory, guint64 mode, GError **error)
{
  struct uffdio_register range = {
    .range = { .start = memory->address, .len = memory->bytes },
    .mode = mode,
  };

  if (ioctl (uffd, UFFDIO_REGISTER, &range) < 0)
    return fd_set_errno_error (error, "registering the guest's memory with userfaultfd");
  return TRUE;
}

gboolean
uffd_unregister (int uffd, const TrackedMemory *memory, GError **error)
{
  struct uffdio_range range = { .start = memory->address, .len = memory->bytes };

  if (ioctl (uffd, UFFDIO_UNREGISTER, &range) < 0)
    return fd_set_errno_error (error, "taking the guest's memory from userfaultfd");
  return TRUE;
}

gboolean
uffd_protect (int uffd, const TrackedMemory *memory, gboolean on, GError **error)
{
  struct uffdio_writeprotect range = {
    .range = { .start = memory->address, .len = memory->bytes },
    .mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
  };

  if (ioctl (uffd, UFFDIO_WRITEPROTECT, &range) < 0)
    return fd_set_errno_error (error, "write-protecting the guest's memory");
  return TRUE;
}

gboolean
track_async_begin (const TrackedMemory *memory, DirtyLog *log, GError **error)
{
  struct pagemap_scan probe = { .size = sizeof probe,
                                .start = memory->address,
                                .end = memory->address };

  if (!uffd_agree (memory->uffd_async, UFFD_FEATURES_ASYNC, &dirty_log_header (log)->features,
                   error))
    return FALSE;
  if (memory->pagemap < 0 || ioctl (memory->pagemap, PAGEMAP_SCAN_IOCTL, &probe) < 0) {
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                         "the kernel cannot tell written pages (PAGEMAP_SCAN)");
    return FALSE;
  }
  return uffd_register (memory->uffd_async, memory, UFFDIO_REGISTER_MODE_WP, error) &&
         uffd_protect (memory->uffd_async, memory, TRUE, error);
}

gboolean
track_async_is_on (const TrackedMemory *memory)
{
  /* Asks of the first and of the last page, and changes nothing. */
  const guint64 pages[] = { memory->address,
                            memory->address + memory->bytes - DIRTY_LOG_PAGE_BYTES };

  for (guint i = 0; i < G_N_ELEMENTS (pages); i++) {
    struct pagemap_scan scan = {
      .size = sizeof scan,
      .flags = PAGEMAP_SCAN_CHECK_ASYNC,
      .start = pages[i],
      .end = pages[i] + DIRTY_LOG_PAGE_BYTES,
      .category_mask = PAGEMAP_WRITTEN,
      .return_mask = PAGEMAP_WRITTEN,
    };
    if (ioctl (memory->pagemap, PAGEMAP_SCAN_IOCTL, &scan) < 0)
      return FALSE;
  }
  return TRUE;
}

/* Notes the pages of @count regions. */
static void
note_regions (const TrackedMemory *memory, DirtyLog *log, PageBitmap *found,
              const struct pagemap_region *regions, gsize count)
{
  for (gsize i = 0; i < count; i++) {
    guint64 first = (regions[i].start - memory->address) / DIRTY_LOG_PAGE_BYTES;
    guint64 end = (regions[i].end - memory->address) / DIRTY_LOG_PAGE_BYTES;
    dirty_log_add (log, first, end);
    if (found != NULL)
      page_bitmap_set_range (found, first, end);
  }
}

/* Scans pages @first to @end (excluded); the log knows already that a scan goes on. */
static gboolean
scan_range (const TrackedMemory *memory, DirtyLog *log, PageBitmap *found, guint64 first,
            guint64 end, GError **error)
{
  g_autofree struct pagemap_region *regions = g_new (struct pagemap_region, REGIONS);
  /* Exactly this combination takes the kernel's short way. */
  struct pagemap_scan scan = {
    .size = sizeof scan,
    .flags = PAGEMAP_SCAN_PROTECT | PAGEMAP_SCAN_CHECK_ASYNC,
    .start = memory->address + first * DIRTY_LOG_PAGE_BYTES,
    .end = memory->address + end * DIRTY_LOG_PAGE_BYTES,
    .regions = (guintptr)regions,
    .region_count = REGIONS,
    .category_mask = PAGEMAP_WRITTEN,
    .return_mask = PAGEMAP_WRITTEN,
  };

  while (scan.start < scan.end) {
    int count = ioctl (memory->pagemap, PAGEMAP_SCAN_IOCTL, &scan);
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return fd_set_errno_error (error, "scanning for written pages");
    note_regions (memory, log, found, regions, count);
    if (scan.walk_end <= scan.start) {
      g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_FAILED,
                           "scanning for written pages does not get on");
      return FALSE;
    }
    scan.start = scan.walk_end;
  }
  return TRUE;
}

gboolean
track_async_collect_range (const TrackedMemory *memory, DirtyLog *log, PageBitmap *found,
                           guint64 first, guint64 end, GError **error)
{
  dirty_log_begin_scan (log);
  if (!scan_range (memory, log, found, first, end, error))
    return FALSE;
  dirty_log_end_scan (log);
  return TRUE;
}

/* A scan that several threads share. */
typedef struct {
  const TrackedMemory *memory;
  DirtyLog *log;
  PageBitmap *found;
  guint64 pages;
  _Atomic guint64 next; /* page of the next share */
} Scan;

/* Scans share after share. Returns the error, or NULL. */
static gpointer
scan_shares (gpointer data)
{
  Scan *scan = data;
  GError *error = NULL;

  while (error == NULL) {
    guint64 first = atomic_fetch_add (&scan->next, SHARE_PAGES);
    if (first >= scan->pages)
      break;
    scan_range (scan->memory, scan->log, scan->found, first, MIN (first + SHARE_PAGES, scan->pages),
                &error);
  }
  return error;
}

gboolean
track_async_collect (const TrackedMemory *memory, DirtyLog *log, PageBitmap *found, GError **error)
{
  Scan scan = { memory, log, found, memory->bytes / DIRTY_LOG_PAGE_BYTES, 0 };
  GThread *second = NULL;
  g_autoptr (GError) failed = NULL, failed_too = NULL;

  dirty_log_begin_scan (log);
  if (memory->bytes > TWO_THREADS_BYTES)
    second = g_thread_try_new ("scan", scan_shares, &scan, NULL);
  failed = scan_shares (&scan);
  if (second != NULL)
    failed_too = g_thread_join (second);
  if (failed == NULL)
    failed = g_steal_pointer (&failed_too);
  if (failed != NULL) {
    g_propagate_error (error, g_steal_pointer (&failed));
    return FALSE;
  }
  dirty_log_end_scan (log);
  return TRUE;
}
