/* SPDX-License-Identifier: LGPL-2.1-or-later */
#undef _FILE_OFFSET_BITS /* both of each pair of functions are defined here */

#include "preload-marks.h"

#include "dirty-log-layout.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT __attribute__ ((visibility ("default")))

/* Set once; `length` last, which is what says that the rest is there. */
static struct {
  struct dirty_log_header *log;
  uintptr_t address;
  dev_t device;
  ino_t inode;
  _Atomic int spared; /* `device` and `inode` are a template's, and nothing else is set */
  _Atomic size_t length;
} marks;

/* Maps the log; NULL if it is none of RAM of @length bytes. */
static struct dirty_log_header *
map_log (int fd, size_t length)
{
  size_t size = dirty_log_file_bytes (length / DIRTY_LOG_PAGE_BYTES);
  struct dirty_log_header *log;
  struct stat st;

  if (fstat (fd, &st) < 0 || (size_t)st.st_size < size)
    return NULL;
  log = mmap (NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (log == MAP_FAILED)
    return NULL;
  if (log->magic == DIRTY_LOG_MAGIC && log->version == DIRTY_LOG_VERSION &&
      log->pages == length / DIRTY_LOG_PAGE_BYTES)
    return log;
  munmap (log, size);
  return NULL;
}

void
preload_marks_begin (int ram, int log, void *address, size_t length)
{
  struct stat st;

  if (atomic_load (&marks.length) != 0 || fstat (ram, &st) < 0)
    return;
  marks.log = map_log (log, length);
  if (marks.log == NULL)
    return;
  marks.address = (uintptr_t)address;
  marks.device = st.st_dev;
  marks.inode = st.st_ino;
  atomic_store (&marks.length, length);
  atomic_fetch_or (&marks.log->preload, DIRTY_LOG_PRELOAD_DISCARDS | DIRTY_LOG_PRELOAD_TRANSFERS);
}

void
preload_marks_spare (int ram)
{
  struct stat st;

  if (fstat (ram, &st) < 0)
    return;
  marks.device = st.st_dev;
  marks.inode = st.st_ino;
  atomic_store (&marks.spared, 1);
}

/* Marks the pages that the bytes from @offset to @end (excluded) of RAM are in. */
static void
mark_bytes (enum dirty_log_bitmap which, uint64_t offset, uint64_t end)
{
  int saved = errno;

  dirty_log_set_bits (marks.log, which, offset / DIRTY_LOG_PAGE_BYTES,
                      (end + DIRTY_LOG_PAGE_BYTES - 1) / DIRTY_LOG_PAGE_BYTES);
  errno = saved;
}

/* The same for what of memory from @start on, @len bytes, is guest RAM. */
static void
mark_memory (enum dirty_log_bitmap which, const void *start, size_t len)
{
  size_t length = atomic_load_explicit (&marks.length, memory_order_acquire);
  uintptr_t first = (uintptr_t)start, end = first + len;

  if (length == 0 || end <= marks.address || first >= marks.address + length || len == 0)
    return;
  first = first < marks.address ? marks.address : first;
  end = end > marks.address + length ? marks.address + length : end;
  mark_bytes (which, first - marks.address, end - marks.address);
}

static void
mark_vector (enum dirty_log_bitmap which, const struct iovec *vector, int count)
{
  for (int i = 0; i < count; i++)
    mark_memory (which, vector[i].iov_base, vector[i].iov_len);
}

/* ---- Discards ---- */

/* Before the pages that the bytes from @offset to @end are in go away: what they hold may still
 * have to be copied (copy-before-write.h), which a write waits for, also one that changes nothing.
 */
static void
await_copies (uint64_t offset, uint64_t end)
{
  size_t length = atomic_load (&marks.length);

  if (!atomic_load (&marks.log->copying))
    return;
  end = end < length ? end : length;
  for (uint64_t at = offset; at < end; at += DIRTY_LOG_PAGE_BYTES)
    atomic_fetch_or ((_Atomic unsigned char *)(marks.address + at), 0);
}

/* Whether @mode takes pages out of the guest's RAM. */
static int
is_discard (int fd, int mode)
{
  struct stat st;

  return (mode & ~FALLOC_FL_KEEP_SIZE) != 0 &&
         (atomic_load (&marks.length) != 0 || atomic_load (&marks.spared)) &&
         fstat (fd, &st) == 0 && st.st_ino == marks.inode && st.st_dev == marks.device;
}

EXPORT int
fallocate (int fd, int mode, off_t offset, off_t len)
{
  int discard = is_discard (fd, mode), result;

  /* QEMU's madvise(2) that comes next drops what this guest wrote itself. */
  if (discard && atomic_load (&marks.spared))
    return 0;
  if (discard) {
    mark_bytes (DIRTY_LOG_DISCARDED, offset, offset + len);
    await_copies (offset, offset + len);
  }
  result = syscall (SYS_fallocate, fd, mode, offset, len);
  if (discard)
    mark_bytes (DIRTY_LOG_DISCARDED, offset, offset + len);
  return result;
}

EXPORT int
fallocate64 (int fd, int mode, off64_t offset, off64_t len)
{
  return fallocate (fd, mode, offset, len);
}

EXPORT int
madvise (void *address, size_t len, int advice)
{
  /* MADV_DONTNEED takes shared pages out of the page tables only, and loses nothing. */
  int result;

  if (advice == MADV_REMOVE) {
    size_t length = atomic_load (&marks.length);
    uintptr_t offset = (uintptr_t)address - marks.address;
    mark_memory (DIRTY_LOG_DISCARDED, address, len);
    if (length != 0 && offset < length)
      await_copies (offset, offset + len);
  }
  result = syscall (SYS_madvise, address, len, advice);
  if (advice == MADV_REMOVE)
    mark_memory (DIRTY_LOG_DISCARDED, address, len);
  return result;
}

/* ---- Reads, which may be direct: the kernel alone knows ---- */

EXPORT ssize_t
pread (int fd, void *buf, size_t len, off_t offset)
{
  ssize_t result = syscall (SYS_pread64, fd, buf, len, offset);

  mark_memory (DIRTY_LOG_TRANSFERRED, buf, len);
  return result;
}

EXPORT ssize_t
pread64 (int fd, void *buf, size_t len, off64_t offset)
{
  return pread (fd, buf, len, offset);
}

EXPORT ssize_t
preadv (int fd, const struct iovec *vector, int count, off_t offset)
{
  ssize_t result = syscall (SYS_preadv, fd, vector, (unsigned long)count, offset, 0);

  mark_vector (DIRTY_LOG_TRANSFERRED, vector, count);
  return result;
}

EXPORT ssize_t
preadv64 (int fd, const struct iovec *vector, int count, off64_t offset)
{
  return preadv (fd, vector, count, offset);
}

/* ---- What the kernel is to read sometime ---- */

/* libaio's: -errno on failure. Its type of @context and @blocks is the kernel's. */
EXPORT int io_submit (aio_context_t context, long count, struct iocb **blocks);

EXPORT int
io_submit (aio_context_t context, long count, struct iocb **blocks)
{
  int result;

  for (long i = 0; i < count; i++) {
    void *buf = (void *)(uintptr_t)blocks[i]->aio_buf;
    if (blocks[i]->aio_lio_opcode == IOCB_CMD_PREADV)
      mark_vector (DIRTY_LOG_BEGUN, buf, blocks[i]->aio_nbytes);
    else if (blocks[i]->aio_lio_opcode == IOCB_CMD_PREAD)
      mark_memory (DIRTY_LOG_BEGUN, buf, blocks[i]->aio_nbytes);
  }
  result = syscall (SYS_io_submit, context, count, blocks);
  return result < 0 ? -errno : result;
}

/* The beginning of liburing's struct io_uring, which is part of its ABI. */
struct ring {
  unsigned *head, *tail, *mask, *entries, *flags, *dropped, *array;
  struct io_uring_sqe *requests;
  unsigned first, end; /* of the requests that are to be submitted */
};

static void
mark_requests (const struct ring *ring)
{
  for (unsigned i = ring->first; i != ring->end; i++) {
    const struct io_uring_sqe *request = &ring->requests[i & *ring->mask];
    void *buf = (void *)(uintptr_t)request->addr;
    if (request->opcode == IORING_OP_READV)
      mark_vector (DIRTY_LOG_BEGUN, buf, request->len);
    else if (request->opcode == IORING_OP_READ || request->opcode == IORING_OP_READ_FIXED)
      mark_memory (DIRTY_LOG_BEGUN, buf, request->len);
  }
}

EXPORT int io_uring_submit (struct ring *ring);
EXPORT int io_uring_submit_and_wait (struct ring *ring, unsigned wait);

EXPORT int
io_uring_submit (struct ring *ring)
{
  int (*next) (struct ring *) = (int (*) (struct ring *))dlsym (RTLD_NEXT, "io_uring_submit");

  mark_requests (ring);
  return next (ring);
}

EXPORT int
io_uring_submit_and_wait (struct ring *ring, unsigned wait)
{
  int (*next) (struct ring *, unsigned) =
      (int (*) (struct ring *, unsigned))dlsym (RTLD_NEXT, "io_uring_submit_and_wait");

  mark_requests (ring);
  return next (ring, wait);
}
