/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "written-child.h"

#include "copy-before-write.h"

#include <string.h>

#define PAGES 6001
#define WORDS ((PAGES + 63) / 64)
#define POOL (1024 * 1024)

/* What the writer does with pages. */
typedef struct {
  guint8 *copy;
  const guint64 *wanted;
  guint64 taken[WORDS];
  guint64 count;
  guint64 fail_at;      /* page number count at which storing fails; 0: never */
  GCancellable *cancel; /* (nullable): cancelled after some pages */
} Writer;

static gboolean
take_page (guint64 page, const guint8 *data, gpointer user_data, GError **error)
{
  Writer *writer = user_data;
  guint64 bit = G_GUINT64_CONSTANT (1) << page % 64;

  g_assert_cmpuint (page, <, PAGES);
  g_assert_true ((writer->wanted[page / 64] & bit) != 0);
  g_assert_true ((writer->taken[page / 64] & bit) == 0);
  writer->taken[page / 64] |= bit;
  memcpy (writer->copy + page * PAGE_SIZE_BYTES, data, PAGE_SIZE_BYTES);
  writer->count++;
  if (writer->count == writer->fail_at) {
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE, "the store is full");
    return FALSE;
  }
  if (writer->cancel != NULL && writer->count == 100)
    g_cancellable_cancel (writer->cancel);
  return TRUE;
}

typedef struct {
  WrittenChild child;
  WriteFaults *faults;
  guint64 wanted[WORDS];
  guint8 *instant; /* RAM at the instant */
  CopyBeforeWrite *copy;
} Fixture;

static void
fixture_clear (Fixture *fixture)
{
  copy_before_write_free (fixture->copy);
  write_faults_stop (fixture->faults);
  written_child_end (&fixture->child);
  g_free (fixture->instant);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Fixture, fixture_clear)

/* A child that has run under tracking, stopped; two pages of three are wanted. */
static gboolean
fixture_init (Fixture *fixture)
{
  g_autoptr (GError) error = NULL;

  if (!written_child_start (&fixture->child, PAGES, 2))
    return FALSE;
  written_child_handshake (&fixture->child);
  for (guint64 page = 0; page < PAGES; page++)
    if (page % 3 != 0)
      fixture->wanted[page / 64] |= G_GUINT64_CONSTANT (1) << page % 64;
  written_child_run (&fixture->child);
  written_child_await (&fixture->child, 2000);
  written_child_stop (&fixture->child);
  fixture->faults = write_faults_start (fixture->child.uffd, fixture->child.address, PAGES, &error);
  g_assert_no_error (error);
  return TRUE;
}

/* The instant, after which the child runs. */
static void
begin (Fixture *fixture)
{
  g_clear_pointer (&fixture->instant, g_free);
  fixture->instant = g_memdup2 (fixture->child.view, PAGES * PAGE_SIZE_BYTES);
  fixture->copy = copy_before_write_begin (fixture->faults, fixture->child.memory, fixture->wanted,
                                           PAGES, POOL);
  written_child_run (&fixture->child);
}

static void
assert_instant (const Fixture *fixture, const Writer *writer)
{
  g_assert_cmpmem (writer->taken, sizeof writer->taken, fixture->wanted, sizeof fixture->wanted);
  for (guint64 page = 0; page < PAGES; page++)
    if (page % 3 != 0 && memcmp (writer->copy + page * PAGE_SIZE_BYTES,
                                 fixture->instant + page * PAGE_SIZE_BYTES, PAGE_SIZE_BYTES) != 0)
      g_error ("page %" G_GUINT64_FORMAT " is not that of the instant", page);
}

/* While the process writes everywhere, what comes out is the memory of the instant; and what was
 * written since is reported by the next collect. */
static void
test_instant (void)
{
  g_auto (Fixture) fixture = { .child = WRITTEN_CHILD_NONE };
  g_autoptr (GError) error = NULL;

  if (!fixture_init (&fixture))
    return;
  for (guint i = 0; i < 5; i++) {
    g_autofree guint8 *mirror = g_malloc0 (PAGES * PAGE_SIZE_BYTES);
    Writer writer = { .copy = mirror, .wanted = fixture.wanted };
    guint64 written[WORDS] = { 0 };

    begin (&fixture);
    g_assert_true (copy_before_write_drain (fixture.copy, take_page, &writer, NULL, &error));
    g_assert_no_error (error);
    assert_instant (&fixture, &writer);

    CopyBeforeWriteStats stats = copy_before_write_stats (fixture.copy);
    g_assert_cmpuint (stats.pages, ==, writer.count);
    g_assert_cmpuint (stats.copied_faults, <=, stats.pages);
    g_clear_pointer (&fixture.copy, copy_before_write_free);

    written_child_await (&fixture.child, 100);
    written_child_stop (&fixture.child);
    g_assert_true (write_faults_collect (fixture.faults, written, &error));
    for (guint64 page = 0; page < PAGES; page++)
      if ((written[page / 64] >> page % 64 & 1) == 0 &&
          memcmp (fixture.instant + page * PAGE_SIZE_BYTES,
                  fixture.child.view + page * PAGE_SIZE_BYTES, PAGE_SIZE_BYTES) != 0)
        g_error ("page %" G_GUINT64_FORMAT " was written and not reported", page);
  }
}

/* Nobody drains: the process comes to wait as the pool is full, and goes on with the drain. */
static void
test_pool_full (void)
{
  g_auto (Fixture) fixture = { .child = WRITTEN_CHILD_NONE };
  g_autofree guint8 *mirror = g_malloc0 (PAGES * PAGE_SIZE_BYTES);
  g_autoptr (GError) error = NULL;
  gint64 deadline = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;

  if (!fixture_init (&fixture))
    return;
  /* 375 frames are wanted, 15 fit. */
  begin (&fixture);
  while (copy_before_write_stats (fixture.copy).waits == 0) {
    g_assert_cmpint (g_get_monotonic_time(), <, deadline);
    g_usleep (500);
  }
  Writer writer = { .copy = mirror, .wanted = fixture.wanted };
  g_assert_true (copy_before_write_drain (fixture.copy, take_page, &writer, NULL, &error));
  g_assert_no_error (error);
  assert_instant (&fixture, &writer);
  g_assert_cmpuint (copy_before_write_stats (fixture.copy).copied_faults, >, 0);
  written_child_await (&fixture.child, 10000);
}

/* Storing fails, or it is cancelled, or dropped: the process waits for nothing any more. */
static void
test_given_up (gconstpointer how)
{
  g_auto (Fixture) fixture = { .child = WRITTEN_CHILD_NONE };
  g_autofree guint8 *mirror = g_malloc0 (PAGES * PAGE_SIZE_BYTES);
  g_autoptr (GCancellable) cancellable = g_cancellable_new();
  g_autoptr (GError) error = NULL;

  if (!fixture_init (&fixture))
    return;
  begin (&fixture);
  Writer writer = { .copy = mirror, .wanted = fixture.wanted };
  if (g_str_equal (how, "full")) {
    writer.fail_at = 77;
    g_assert_false (copy_before_write_drain (fixture.copy, take_page, &writer, NULL, &error));
    g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
  } else if (g_str_equal (how, "cancelled")) {
    writer.cancel = cancellable;
    g_assert_false (
        copy_before_write_drain (fixture.copy, take_page, &writer, cancellable, &error));
    g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  } else {
    g_clear_pointer (&fixture.copy, copy_before_write_free);
  }
  written_child_await (&fixture.child, 20000);
}

/* RAM that cannot be read (cut short) fails the checkpoint with the place, and frees the process.
 */
static void
test_unreadable (void)
{
  g_auto (Fixture) fixture = { .child = WRITTEN_CHILD_NONE };
  g_autofree guint8 *mirror = g_malloc0 (PAGES * PAGE_SIZE_BYTES);
  g_auto (AutoFd) other = -1;
  g_autoptr (GError) error = NULL;

  if (!fixture_init (&fixture))
    return;
  other = g_file_open_tmp (NULL, NULL, NULL);
  g_assert_cmpint (other, >=, 0);
  fixture.copy = copy_before_write_begin (fixture.faults, other, fixture.wanted, PAGES, POOL);
  written_child_run (&fixture.child);
  Writer writer = { .copy = mirror, .wanted = fixture.wanted };
  g_assert_false (copy_before_write_drain (fixture.copy, take_page, &writer, NULL, &error));
  g_assert_nonnull (strstr (error->message, "reading the guest's memory at 0x"));
  written_child_await (&fixture.child, 20000);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/copy-before-write/instant", test_instant);
  g_test_add_func ("/copy-before-write/pool-full", test_pool_full);
  g_test_add_data_func ("/copy-before-write/full", "full", test_given_up);
  g_test_add_data_func ("/copy-before-write/cancelled", "cancelled", test_given_up);
  g_test_add_data_func ("/copy-before-write/dropped", "dropped", test_given_up);
  g_test_add_func ("/copy-before-write/unreadable", test_unreadable);
  return g_test_run();
}
