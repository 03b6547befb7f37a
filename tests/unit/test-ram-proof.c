/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The proof passes what is right and names what is not. */
#include "store-fixture.h"

#include "ram-proof.h"

#include <sys/mman.h>
#include <vmckpt/ram/capture.h>

#define PAGES 600
#define LENGTH ((guint64)PAGES * PAGE_SIZE_BYTES)

/* A file with a page of each seed; 0: not populated. */
static int
make_ram (const guint64 *seeds)
{
  int ram = memfd_create ("ram", MFD_CLOEXEC);
  guint8 data[PAGE_SIZE_BYTES];

  g_assert_cmpint (ftruncate (ram, LENGTH), ==, 0);
  for (guint i = 0; i < PAGES; i++) {
    fixture_page (seeds[i], data);
    if (seeds[i] != 0)
      g_assert_cmpint (pwrite (ram, data, sizeof data, (off_t)i * PAGE_SIZE_BYTES), ==,
                       sizeof data);
  }
  return ram;
}

static void
test_proof (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);
  guint64 seeds[PAGES] = { 0 };
  g_autoptr (PageBitmap) skip = page_bitmap_new (PAGES);

  for (guint i = 0; i < PAGES; i++)
    seeds[i] = i % 5 == 0 ? 0 : i;
  PageMap right = fixture_write_map (writer, seeds, PAGES, NULL, NULL, NULL);
  int ram = make_ram (seeds);
  g_autoptr (RamProof) proof = ram_proof_take (ram, LENGTH, &error);
  g_assert_no_error (error);
  close (ram);       /* the copy is a copy */
  seeds[300] = 9999; /* unpopulated in the guest */
  seeds[511] = 0;    /* zeros in the map */
  PageMap wrong = fixture_write_map (writer, seeds, PAGES, NULL, NULL, NULL);
  store_writer_flush (writer, NULL, &error);
  g_assert_no_error (error);

  g_assert_true (ram_proof_check (proof, store, &right, NULL, &error));
  g_assert_no_error (error);
  g_assert_false (ram_proof_check (proof, store, &wrong, NULL, &error));
  g_assert_error (error, RAM_ERROR, RAM_ERROR_FAILED);
  g_assert_nonnull (strstr (error->message, "page 300 is not what"));
  g_assert_nonnull (strstr (error->message, "2 pages in all"));
  g_clear_error (&error);
  page_bitmap_set (skip, 300);
  page_bitmap_set (skip, 511);
  g_assert_true (ram_proof_check (proof, store, &wrong, skip, &error));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/ram-proof/check", test_proof);
  return g_test_run();
}
