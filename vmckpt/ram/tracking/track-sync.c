/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "track-sync.h"

#include "track-async.h"
#include "uffd.h"

WriteFaults *
track_sync_begin (const TrackedMemory *memory, DirtyLog *log, GError **error)
{
  g_autoptr (GError) cause = NULL;
  WriteFaults *faults;

  if (!uffd_agree (memory->uffd_sync, UFFD_FEATURES_SYNC, &dirty_log_header (log)->features_sync,
                   error))
    return NULL;
  faults = write_faults_start (memory->uffd_sync, memory->address,
                               memory->bytes / DIRTY_LOG_PAGE_BYTES, &cause);
  if (faults == NULL)
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED, cause->message);
  return faults;
}

gboolean
track_sync_collect (WriteFaults *faults, DirtyLog *log, PageBitmap *found, GError **error)
{
  g_autoptr (PageBitmap) written = page_bitmap_new (dirty_log_pages (log));
  gboolean ok = write_faults_collect (faults, written->words, error);

  for (guint64 first = 0, end; page_bitmap_next_run (written, &first, &end); first = end)
    dirty_log_add (log, first, end);
  if (found != NULL)
    page_bitmap_add (found, written);
  return ok;
}

void
track_sync_clean_up (const TrackedMemory *memory)
{
  struct uffdio_range all = { .start = memory->address, .len = memory->bytes };

  /* Waking comes second: who is woken and finds the protection still there waits again. */
  if (ioctl (memory->uffd_sync, UFFDIO_UNREGISTER, &all) == 0)
    ioctl (memory->uffd_sync, UFFDIO_WAKE, &all);
}
