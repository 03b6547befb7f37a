/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "written-child.h"

#include "write-faults.h"

#include <vmckpt/store/page-map.h>

#include <string.h>

#define PAGES 3001 /* the last word of a bitmap is not full */

static guint64 *
new_bitmap (void)
{
  return g_new0 (guint64, (PAGES + 63) / 64);
}

static guint64
count_bits (const guint64 *bitmap)
{
  guint64 n = 0;

  for (guint i = 0; i < (PAGES + 63) / 64; i++)
    n += __builtin_popcountll (bitmap[i]);
  return n;
}

/* Brings @copy up to date by what was written since the last time. */
static void
follow (WriteFaults *faults, const WrittenChild *child, guint8 *copy)
{
  g_autofree guint64 *written = new_bitmap();
  g_autoptr (GError) error = NULL;

  g_assert_true (write_faults_collect (faults, written, &error));
  g_assert_no_error (error);
  for (guint64 page = 0; page < PAGES; page++)
    if (written[page / 64] >> page % 64 & 1)
      memcpy (copy + page * PAGE_SIZE_BYTES, child->view + page * PAGE_SIZE_BYTES, PAGE_SIZE_BYTES);
}

static void
assert_same (const guint8 *copy, const WrittenChild *child)
{
  for (guint64 page = 0; page < PAGES; page++)
    if (memcmp (copy + page * PAGE_SIZE_BYTES, child->view + page * PAGE_SIZE_BYTES,
                PAGE_SIZE_BYTES) != 0)
      g_error ("page %" G_GUINT64_FORMAT " was written and not reported", page);
}

/* A copy that follows what is reported, round after round while the process writes, is equal to its
 * memory once it is stopped. */
static void
test_nothing_lost (void)
{
  g_auto (WrittenChild) child = WRITTEN_CHILD_NONE;
  g_autofree guint8 *copy = NULL;
  g_autoptr (GError) error = NULL;

  if (!written_child_start (&child, PAGES, 3))
    return;
  written_child_handshake (&child);
  g_autoptr (WriteFaults) faults = write_faults_start (child.uffd, child.address, PAGES, &error);
  g_assert_no_error (error);
  copy = g_memdup2 (child.view, PAGES * PAGE_SIZE_BYTES);
  for (guint stop = 0; stop < 8; stop++) {
    written_child_run (&child);
    /* Some rounds find much, and some come in the middle of a fault. */
    for (guint round = 0; round < 4000; round++) {
      if (round % 100 == 0)
        written_child_await (&child, 1 + round);
      follow (faults, &child, copy);
    }
    written_child_stop (&child);
    follow (faults, &child, copy);
    assert_same (copy, &child);
  }
  g_assert_cmpuint (write_faults_served (faults), >, PAGES);
}

/* Each page is reported once per collect, and only if it was written since. */
static void
test_exact (void)
{
  g_auto (WrittenChild) child = WRITTEN_CHILD_NONE;
  g_autofree guint64 *first = new_bitmap();
  g_autofree guint64 *second = new_bitmap();
  g_autoptr (GError) error = NULL;

  if (!written_child_start (&child, PAGES, 1))
    return;
  written_child_handshake (&child);
  g_autoptr (WriteFaults) faults = write_faults_start (child.uffd, child.address, PAGES, &error);
  g_assert_no_error (error);
  written_child_run (&child);
  written_child_await (&child, 100);
  written_child_stop (&child);
  g_assert_true (write_faults_collect (faults, first, &error));
  g_assert_cmpuint (count_bits (first), >=, 90);
  g_assert_cmpuint (count_bits (first), ==, write_faults_served (faults));
  g_assert_true (write_faults_collect (faults, second, &error));
  g_assert_cmpuint (count_bits (second), ==, 0);
}

/* A guest is not left waiting when serving ends. */
static void
test_end_frees (void)
{
  g_auto (WrittenChild) child = WRITTEN_CHILD_NONE;
  g_autoptr (GError) error = NULL;

  if (!written_child_start (&child, PAGES, 2))
    return;
  written_child_handshake (&child);
  for (guint i = 0; i < 5; i++) {
    WriteFaults *faults = write_faults_start (child.uffd, child.address, PAGES, &error);
    g_assert_no_error (error);
    written_child_run (&child);
    written_child_await (&child, 50);
    write_faults_stop (faults);
    written_child_await (&child, 10000);
    written_child_stop (&child);
  }
}

/* Without the handshake the kernel refuses, and the message says what was attempted. */
static void
test_refused (void)
{
  g_auto (WrittenChild) child = WRITTEN_CHILD_NONE;
  g_autoptr (GError) error = NULL;

  if (!written_child_start (&child, PAGES, 1))
    return;
  g_assert_null (write_faults_start (child.uffd, child.address, PAGES, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
  g_assert_nonnull (strstr (error->message, "registering the guest's memory"));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/write-faults/nothing-lost", test_nothing_lost);
  g_test_add_func ("/write-faults/exact", test_exact);
  g_test_add_func ("/write-faults/end-frees", test_end_frees);
  g_test_add_func ("/write-faults/refused", test_refused);
  return g_test_run();
}
