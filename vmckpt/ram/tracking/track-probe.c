/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/ram/track-probe.h>

#include "track-async.h"
#include "track-soft-dirty.h"
#include "uffd.h"

#include <vmckpt/util/fd.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BYTES (16 * DIRTY_LOG_PAGE_BYTES)

/* A userfaultfd that sees faults of the kernel, too; -1 with errno. */
static int
make_userfaultfd (void)
{
  int fd = syscall (SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
  int code = errno;

  if (fd >= 0)
    return fd;
  g_auto (AutoFd) device = open ("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
  fd = device >= 0 ? ioctl (device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK) : -1;
  errno = code;
  return fd;
}

/* Protects @memory in the synchronous way, and lets go of it again. */
static gboolean
try_sync (const TrackedMemory *memory)
{
  struct uffdio_range range = { .start = memory->address, .len = memory->bytes };
  _Atomic uint64_t agreed = 0;
  gboolean works = uffd_agree (memory->uffd_sync, UFFD_FEATURES_SYNC, &agreed, NULL) &&
                   uffd_register (memory->uffd_sync, memory, UFFDIO_REGISTER_MODE_WP, NULL) &&
                   uffd_protect (memory->uffd_sync, memory, TRUE, NULL);

  ioctl (memory->uffd_sync, UFFDIO_UNREGISTER, &range);
  return works;
}

/* Protects @memory in the asynchronous way, writes a page and asks which. */
static gboolean
try_async (const TrackedMemory *memory, GError **error)
{
  g_autoptr (PageBitmap) found = page_bitmap_new (BYTES / DIRTY_LOG_PAGE_BYTES);
  g_auto (AutoFd) fd = dirty_log_create (BYTES, error);
  g_autoptr (DirtyLog) log = fd >= 0 ? dirty_log_open (fd, BYTES, error) : NULL;

  if (log == NULL || !track_async_begin (memory, log, error))
    return FALSE;
  *(volatile guint8 *)(guintptr)memory->address = 1;
  if (!track_async_collect (memory, log, found, error))
    return FALSE;
  if (page_bitmap_count (found) == 1 && page_bitmap_test (found, 0))
    return TRUE;
  g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                       "the kernel does not report what is written");
  return FALSE;
}

void
track_probe (TrackProbe *probe)
{
  g_auto (AutoFd) ram = memfd_create ("probe", MFD_CLOEXEC);
  g_auto (AutoFd) pagemap = open ("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  g_auto (AutoFd) async = make_userfaultfd();
  int code = errno;
  g_auto (AutoFd) sync = make_userfaultfd();
  g_autoptr (GError) error = NULL;
  TrackedMemory memory = {
    .bytes = BYTES, .memory = ram, .pagemap = pagemap, .uffd_async = async, .uffd_sync = sync
  };
  void *map = MAP_FAILED;

  *probe = (TrackProbe){ .soft_dirty = track_soft_dirty_is_there() };
  if (async < 0 || sync < 0) {
    probe->lacks = g_strdup_printf ("userfaultfd(2): %s", g_strerror (code));
    return;
  }
  if (ram >= 0 && ftruncate (ram, BYTES) == 0)
    map = mmap (NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, ram, 0);
  if (map == MAP_FAILED) {
    probe->lacks = g_strdup_printf ("memfd_create(2): %s", g_strerror (errno));
    return;
  }
  memory.address = (guintptr)map;
  probe->sync = try_sync (&memory);
  probe->async = try_async (&memory, &error);
  if (!probe->async)
    probe->lacks = g_strdup (error->message);
  munmap (map, BYTES);
}

void
track_probe_clear (TrackProbe *probe)
{
  g_clear_pointer (&probe->lacks, g_free);
}
