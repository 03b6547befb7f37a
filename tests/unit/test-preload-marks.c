/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The functions that the preloaded object puts before libc's, linked into this program. */
#include "preload-marks.h"

#include "dirty-log.h"
#include "uffd.h"
#include "write-faults.h"

#include <vmckpt/util/fd.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGES 100
#define BYTES (PAGES * DIRTY_LOG_PAGE_BYTES)

int io_submit (aio_context_t context, long count, struct iocb **blocks);

/* The one RAM of this process. */
typedef struct {
  guint8 *ram;
  int memory;
  DirtyLog *log;
} Ram;

/* Asserts that just @first to @end (excluded) is marked as @which, and unmarks it. */
static void
assert_marked (Ram *ram, enum dirty_log_bitmap which, guint64 first, guint64 end)
{
  _Atomic uint64_t *words = dirty_log_words (dirty_log_header (ram->log), which);

  for (guint64 page = 0; page < PAGES; page++)
    g_assert_cmpint (atomic_load (&words[page / 64]) >> page % 64 & 1, ==,
                     page >= first && page < end);
  for (gsize i = 0; i < (PAGES + 63) / 64; i++)
    atomic_store (&words[i], 0);
}

static void
test_discards (gconstpointer data)
{
  Ram *ram = (Ram *)data;
  g_auto (AutoFd) again = dup (ram->memory);
  g_auto (AutoFd) other = memfd_create ("other", MFD_CLOEXEC);

  ram->ram[5 * DIRTY_LOG_PAGE_BYTES] = 1;
  g_assert_no_errno (fallocate (again, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                5 * DIRTY_LOG_PAGE_BYTES, 2 * DIRTY_LOG_PAGE_BYTES));
  g_assert_cmpint (ram->ram[5 * DIRTY_LOG_PAGE_BYTES], ==, 0);
  assert_marked (ram, DIRTY_LOG_DISCARDED, 5, 7);
  g_assert_no_errno (
      madvise (ram->ram + 70 * DIRTY_LOG_PAGE_BYTES, DIRTY_LOG_PAGE_BYTES, MADV_REMOVE));
  assert_marked (ram, DIRTY_LOG_DISCARDED, 70, 71);

  /* What takes nothing away. */
  g_assert_no_errno (madvise (ram->ram, DIRTY_LOG_PAGE_BYTES, MADV_DONTNEED));
  g_assert_no_errno (fallocate (ram->memory, 0, 0, DIRTY_LOG_PAGE_BYTES));
  g_assert_no_errno (ftruncate (other, BYTES));
  g_assert_no_errno (fallocate64 (other, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, BYTES));
  assert_marked (ram, DIRTY_LOG_DISCARDED, 0, 0);
}

static void
note_write (guint64 page, gpointer user_data)
{
  guint *written = user_data;

  g_assert_cmpuint (page / 4, ==, 30 / 4);
  *written |= 1u << page % 4;
}

/* While pages are copied before they are written, discards wait for that, too. */
static void
test_discards_wait_for_copies (gconstpointer data)
{
  Ram *ram = (Ram *)data;
  g_auto (AutoFd) uffd = syscall (SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
  struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURES_SYNC };
  _Atomic uint32_t *copying = &dirty_log_header (ram->log)->copying;
  g_autoptr (GError) error = NULL;
  guint written = 0;

  if (uffd < 0 || ioctl (uffd, UFFDIO_API, &api) < 0) {
    g_test_skip ("userfaultfd is not permitted");
    return;
  }
  ram->ram[30 * DIRTY_LOG_PAGE_BYTES] = 7;
  WriteFaults *faults = write_faults_start (uffd, (guintptr)ram->ram, PAGES, &error);
  g_assert_no_error (error);
  write_faults_set_guard (faults, note_write, &written);
  g_assert_no_errno (fallocate (ram->memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                29 * DIRTY_LOG_PAGE_BYTES, DIRTY_LOG_PAGE_BYTES));
  g_assert_cmpuint (written, ==, 0);
  atomic_store (copying, 1);
  g_assert_no_errno (fallocate (ram->memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                29 * DIRTY_LOG_PAGE_BYTES, 2 * DIRTY_LOG_PAGE_BYTES));
  g_assert_cmpuint (written, ==, 6);
  g_assert_no_errno (
      madvise (ram->ram + 31 * DIRTY_LOG_PAGE_BYTES, DIRTY_LOG_PAGE_BYTES, MADV_REMOVE));
  g_assert_cmpuint (written, ==, 14);
  atomic_store (copying, 0);
  write_faults_set_guard (faults, NULL, NULL);
  write_faults_stop (faults);
  assert_marked (ram, DIRTY_LOG_DISCARDED, 29, 32);
  g_assert_cmpint (ram->ram[30 * DIRTY_LOG_PAGE_BYTES], ==, 0);
}

static void
test_reads (gconstpointer data)
{
  Ram *ram = (Ram *)data;
  g_auto (AutoFd) zero = open ("/dev/zero", O_RDONLY | O_CLOEXEC);
  guint8 elsewhere[64];
  struct iovec vector[] = {
    { elsewhere, sizeof elsewhere },
    { ram->ram + 10 * DIRTY_LOG_PAGE_BYTES + 4000, 200 }, /* over the edge of two pages */
  };

  g_assert_cmpint (pread (zero, ram->ram + BYTES - 1, 1, 0), ==, 1);
  assert_marked (ram, DIRTY_LOG_TRANSFERRED, PAGES - 1, PAGES);
  g_assert_cmpint (preadv64 (zero, vector, 2, 0), ==, sizeof elsewhere + 200);
  assert_marked (ram, DIRTY_LOG_TRANSFERRED, 10, 12);
  g_assert_cmpint (pread64 (zero, elsewhere, sizeof elsewhere, 0), ==, sizeof elsewhere);
  assert_marked (ram, DIRTY_LOG_TRANSFERRED, 0, 0);
  g_assert_cmpint (pread (-1, elsewhere, 1, 0), ==, -1);
  g_assert_cmpint (errno, ==, EBADF);
}

static void
test_submitted_reads (gconstpointer data)
{
  Ram *ram = (Ram *)data;
  g_auto (AutoFd) zero = open ("/dev/zero", O_RDONLY | O_CLOEXEC);
  struct iovec vector[] = { { ram->ram + 20 * DIRTY_LOG_PAGE_BYTES, 3 * DIRTY_LOG_PAGE_BYTES } };
  struct iocb read_vector = {
    .aio_fildes = zero,
    .aio_lio_opcode = IOCB_CMD_PREADV,
    .aio_buf = (guintptr)vector,
    .aio_nbytes = 1,
  };
  struct iocb *blocks[] = { &read_vector };

  g_assert_cmpint (io_submit (0, 1, blocks), ==, -EINVAL); /* no such context */
  assert_marked (ram, DIRTY_LOG_BEGUN, 20, 23);
}

int
main (int argc, char **argv)
{
  g_auto (AutoFd) log = dirty_log_create (BYTES, NULL);
  g_auto (AutoFd) memory = memfd_create ("ram", MFD_CLOEXEC);
  Ram ram = { .memory = memory };
  int status;

  g_test_init (&argc, &argv, NULL);
  g_assert_no_errno (ftruncate (memory, BYTES));
  ram.ram = mmap (NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  ram.log = dirty_log_open (log, BYTES, NULL);
  g_assert_nonnull (ram.log);
  preload_marks_begin (memory, log, ram.ram, BYTES);
  g_test_add_data_func ("/preload-marks/discards", &ram, test_discards);
  g_test_add_data_func ("/preload-marks/discards-wait-for-copies", &ram,
                        test_discards_wait_for_copies);
  g_test_add_data_func ("/preload-marks/reads", &ram, test_reads);
  g_test_add_data_func ("/preload-marks/submitted-reads", &ram, test_submitted_reads);
  status = g_test_run();
  munmap (ram.ram, BYTES);
  dirty_log_free (ram.log);
  return status;
}
