/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Runs a fuzz target on every file of the directories given, and on cut and flipped variants of
 * each, as a test: replay DIRECTORY…
 */
#include "fuzz.h"

#define VARIANTS 64
#define MAX_FILE (64 * 1024)

/* One file as it is, cut at places all over, and with single bits flipped; always the same ones. */
static void
run_file (gconstpointer path)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *contents = NULL;
  g_autoptr (GRand) random = g_rand_new_with_seed (1);
  gsize len;

  g_file_get_contents (path, &contents, &len, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (len, <=, MAX_FILE);
  LLVMFuzzerTestOneInput ((const guint8 *)contents, len);
  for (int i = 0; i < VARIANTS; i++) {
    /* Each variant in memory of its own size, so that the address sanitizer sees a step beyond. */
    gsize cut = len * (gsize)i / VARIANTS;
    g_autofree guint8 *variant = g_memdup2 (contents, cut);
    LLVMFuzzerTestOneInput (variant, cut);
    g_autofree guint8 *flipped = g_memdup2 (contents, len);
    if (len > 0)
      flipped[g_rand_int (random) % len] ^= (guint8)(1 << g_rand_int_range (random, 0, 8));
    LLVMFuzzerTestOneInput (flipped, len);
  }
}

int
main (int argc, char **argv)
{
  guint files = 0;

  g_test_init (&argc, &argv, NULL);
  for (int i = 1; i < argc; i++) {
    g_autoptr (GError) error = NULL;
    g_autoptr (GDir) dir = g_dir_open (argv[i], 0, &error);
    const char *name;
    g_assert_no_error (error);
    while ((name = g_dir_read_name (dir)) != NULL) {
      g_autofree char *test = g_strconcat ("/corpus/", name, NULL);
      g_test_add_data_func_full (test, g_build_filename (argv[i], name, NULL), run_file, g_free);
      files++;
    }
  }
  g_assert_cmpuint (files, >, 0);
  return g_test_run();
}
