/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "dirty-log.h"

#include <vmckpt/util/fd.h>

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGES 1000
#define BYTES (PAGES * DIRTY_LOG_PAGE_BYTES)

/* A new log. */
static DirtyLog *
make_log (void)
{
  g_autoptr (GError) error = NULL;
  g_auto (AutoFd) fd = dirty_log_create (BYTES, &error);
  DirtyLog *log = dirty_log_open (fd, BYTES, &error);

  g_assert_no_error (error);
  return log;
}

/* The same log, as the next daemon finds it. */
static DirtyLog *
open_again (DirtyLog *log)
{
  g_autoptr (GError) error = NULL;
  DirtyLog *again = dirty_log_open (dirty_log_fd (log), BYTES, &error);

  g_assert_no_error (error);
  return again;
}

/* Asserts that just @first to @end (excluded) counts as written since checkpoint @id. */
static void
assert_written (DirtyLog *log, const char *id, guint64 first, guint64 end)
{
  g_autoptr (PageBitmap) written = page_bitmap_new (PAGES);
  const char *store, *base;
  guint64 from = 0, to = 0;

  g_assert_true (dirty_log_base (log, &store, &base));
  g_assert_cmpstr (store, ==, "store");
  g_assert_cmpstr (base, ==, id);
  dirty_log_read_written (log, written);
  g_assert_cmpuint (page_bitmap_count (written), ==, end - first);
  if (end > first)
    g_assert_true (page_bitmap_next_run (written, &from, &to) && from == first && to == end);
}

static void
test_new (void)
{
  g_autoptr (DirtyLog) log = make_log();
  g_autoptr (PageBitmap) written = page_bitmap_new (PAGES);

  g_assert_false (dirty_log_base (log, NULL, NULL));
  g_assert_false (dirty_log_source (log, NULL, NULL));
  g_assert_false (dirty_log_recover (log));
  dirty_log_read_written (log, written);
  g_assert_cmpuint (page_bitmap_count (written), ==, 0);
}

static void
test_commit_begins_anew_with_what_came_after_the_instant (void)
{
  g_autoptr (DirtyLog) log = make_log();

  dirty_log_set_base (log, "store", "one");
  dirty_log_add (log, 10, 20);
  dirty_log_instant (log);
  assert_written (log, "one", 10, 20);
  dirty_log_add (log, 20, 30);
  assert_written (log, "one", 10, 30); /* as long as nothing is committed */
  dirty_log_commit (log, "store", "two");
  assert_written (log, "two", 20, 30);
  dirty_log_instant (log);
  dirty_log_commit (log, "store", "three");
  assert_written (log, "three", 0, 0);
}

static void
test_rollback_keeps_all (void)
{
  g_autoptr (DirtyLog) log = make_log();

  dirty_log_set_base (log, "store", "one");
  dirty_log_add (log, 10, 20);
  dirty_log_instant (log);
  dirty_log_add (log, 20, 30);
  dirty_log_rollback (log);
  assert_written (log, "one", 10, 30);
  dirty_log_instant (log); /* this one is not even rolled back */
  dirty_log_add (log, 30, 40);
  dirty_log_instant (log);
  assert_written (log, "one", 10, 40);
  dirty_log_commit (log, "store", "two");
  assert_written (log, "two", 0, 0);
}

static void
test_next_daemon_takes_over (void)
{
  g_autoptr (DirtyLog) log = make_log();
  g_autoptr (DirtyLog) next = NULL, last = NULL;

  dirty_log_set_base (log, "store", "one");
  dirty_log_add (log, 10, 20);
  dirty_log_instant (log);
  dirty_log_add (log, 20, 30);
  next = open_again (log);
  g_assert_false (dirty_log_recover (next));
  assert_written (next, "one", 10, 30);

  dirty_log_begin_scan (next);
  last = open_again (next);
  g_assert_false (dirty_log_base (last, NULL, NULL));
  g_assert_true (dirty_log_recover (last));
  g_assert_false (dirty_log_base (last, NULL, NULL)); /* compare */
  g_assert_false (dirty_log_recover (last));
}

static void
test_first_checkpoint_has_no_base (void)
{
  g_autoptr (DirtyLog) log = make_log();

  dirty_log_instant (log);
  dirty_log_add (log, 5, 6);
  g_assert_false (dirty_log_base (log, NULL, NULL));
  dirty_log_commit (log, "store", "one");
  assert_written (log, "one", 5, 6);
}

static void
test_the_base_gets_another_name (void)
{
  g_autoptr (DirtyLog) log = make_log();

  dirty_log_set_base (log, "other", "one");
  dirty_log_add (log, 5, 6);
  dirty_log_rename_base (log, "store", "two");
  assert_written (log, "two", 5, 6);
  dirty_log_instant (log);
  dirty_log_commit (log, "store", "three");
  assert_written (log, "three", 0, 0);
}

static void
test_marks_count_as_written_and_as_present (void)
{
  g_autoptr (DirtyLog) log = make_log();
  g_autoptr (PageBitmap) found = page_bitmap_new (PAGES), present = page_bitmap_new (PAGES);

  dirty_log_set_source (log, "store", "one");
  dirty_log_set_base (log, "store", "one");
  dirty_log_set_bits (dirty_log_header (log), DIRTY_LOG_DISCARDED, 100, 300);
  dirty_log_set_bits (dirty_log_header (log), DIRTY_LOG_TRANSFERRED, 300, 301);
  g_assert_true (dirty_log_is_present (log, 100));
  g_assert_false (dirty_log_is_present (log, 300));
  g_assert_cmpuint (dirty_log_take_marks (log, found), ==, 201);
  g_assert_cmpuint (page_bitmap_count (found), ==, 201);
  assert_written (log, "one", 100, 301);
  g_assert_true (dirty_log_is_present (log, 299));
  g_assert_false (dirty_log_is_present (log, 300));
  g_assert_cmpuint (dirty_log_take_marks (log, NULL), ==, 0);
  dirty_log_set_present (log, 0, 2);
  dirty_log_read_present (log, present);
  g_assert_cmpuint (page_bitmap_count (present), ==, 202);
  dirty_log_clear_source (log);
  g_assert_false (dirty_log_source (log, NULL, NULL));
}

static void
test_transfers_that_were_begun_count_until_the_guest_stands_still (void)
{
  g_autoptr (DirtyLog) log = make_log();

  dirty_log_set_base (log, "store", "one");
  dirty_log_set_bits (dirty_log_header (log), DIRTY_LOG_BEGUN, 50, 60);
  g_assert_cmpuint (dirty_log_take_marks (log, NULL), ==, 10);
  g_assert_cmpuint (dirty_log_take_marks (log, NULL), ==, 10);
  dirty_log_instant (log);
  g_assert_cmpuint (dirty_log_take_marks (log, NULL), ==, 0);
  assert_written (log, "one", 50, 60);
}

static void
test_other_files_are_refused (void)
{
  g_autoptr (GError) error = NULL;
  g_auto (AutoFd) fd = dirty_log_create (BYTES, NULL);

  g_assert_null (dirty_log_open (fd, BYTES * 2, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
  g_clear_error (&error);

  /* One that QEMU could shorten under whoever maps it. */
  g_auto (AutoFd) loose = memfd_create ("loose", MFD_CLOEXEC);
  guint8 header[DIRTY_LOG_HEADER_BYTES];
  g_assert_cmpint (pread (fd, header, sizeof header, 0), ==, sizeof header);
  g_assert_cmpint (pwrite (loose, header, sizeof header, 0), ==, sizeof header);
  g_assert_no_errno (ftruncate (loose, dirty_log_file_bytes (PAGES)));
  g_assert_null (dirty_log_open (loose, BYTES, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
}

/* The header is QEMU's, too: whatever comes to stand there later, nothing is read or written
 * outside the log. */
static void
test_spoiled_header_does_no_harm (void)
{
  g_autoptr (DirtyLog) log = make_log();
  g_autoptr (PageBitmap) written = page_bitmap_new (PAGES);
  struct dirty_log_header *header = dirty_log_header (log);
  const char *store, *id;

  g_assert_cmpint (ftruncate (dirty_log_fd (log), DIRTY_LOG_HEADER_BYTES), <, 0);
  dirty_log_set_base (log, "store", "one");
  dirty_log_set_source (log, "store", "one");
  header->pages = G_MAXUINT64 / 2;
  memset (header->bases, 'x', sizeof header->bases);
  memset (&header->source, 'x', sizeof header->source);
  dirty_log_add (log, PAGES - 10, PAGES + 1000000);
  dirty_log_read_written (log, written);
  g_assert_cmpuint (page_bitmap_count (written), ==, 10);
  g_assert_true (dirty_log_base (log, &store, &id));
  g_assert_cmpuint (strlen (store), ==, sizeof header->source.store - 1);
  g_assert_true (dirty_log_source (log, &store, &id));
  g_assert_cmpuint (strlen (id), ==, sizeof header->source.id - 1);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/dirty-log/new", test_new);
  g_test_add_func ("/dirty-log/commit", test_commit_begins_anew_with_what_came_after_the_instant);
  g_test_add_func ("/dirty-log/rollback", test_rollback_keeps_all);
  g_test_add_func ("/dirty-log/next-daemon", test_next_daemon_takes_over);
  g_test_add_func ("/dirty-log/first", test_first_checkpoint_has_no_base);
  g_test_add_func ("/dirty-log/rename", test_the_base_gets_another_name);
  g_test_add_func ("/dirty-log/marks", test_marks_count_as_written_and_as_present);
  g_test_add_func ("/dirty-log/begun",
                   test_transfers_that_were_begun_count_until_the_guest_stands_still);
  g_test_add_func ("/dirty-log/other-files", test_other_files_are_refused);
  g_test_add_func ("/dirty-log/spoiled-header", test_spoiled_header_does_no_harm);
  return g_test_run();
}
