/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Nodes of page maps: to bytes and back, and what is refused. */
#include "store-fixture.h"

#include "page-node.h"

static void
fill (ChunkName *name, guint seed)
{
  memset (name->bytes, seed & 0xff, sizeof name->bytes);
  name->bytes[0] = 1 + (seed >> 8);
}

static void
test_levels (void)
{
  static const struct {
    guint64 length;
    guint levels;
  } cases[] = { { 0, 0 },
                { 1, 1 },
                { 256 * 4096, 1 },
                { 256 * 4096 + 1, 2 },
                { G_GUINT64_CONSTANT (1) << 28, 2 },
                { (G_GUINT64_CONSTANT (1) << 28) + 1, 3 },
                { MAP_LENGTH_MAX, 5 } };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    g_assert_cmpuint (map_tree_levels (cases[i].length), ==, cases[i].levels);
}

static void
test_root (void)
{
  g_autofree MapRoot *root = g_new0 (MapRoot, 1);
  g_autofree MapRoot *back = g_new0 (MapRoot, 1);
  g_autoptr (GError) error = NULL;

  root->length = 1 << 30;
  root->tree_levels = 3;
  fill (&root->tree, 7);
  for (guint n = 0; n <= RUNS_MAX; n += n < 90 ? 1 : 83) {
    root->n_runs = n;
    if (n > 0) {
      fill (&root->runs[n - 1].name, n);
      root->runs[n - 1].count = 100 + n;
      root->runs[n - 1].leaves = n;
      root->runs[n - 1].level = n % 3;
    }
    for (guint i = 0; i < n; i++)
      root->runs[i] = root->runs[n - 1];
    g_autoptr (GBytes) bytes = map_root_to_bytes (root);
    g_assert_cmpuint (g_bytes_get_size (bytes), !=, PAGE_SIZE_BYTES);
    g_assert_true (map_root_parse (bytes, back, &error));
    g_assert_no_error (error);
    g_autoptr (GBytes) again = map_root_to_bytes (back);
    g_assert_true (g_bytes_equal (bytes, again));
  }
}

static void
test_run (void)
{
  g_autofree RunEntry *entries = g_new0 (RunEntry, RUN_NODE_ENTRIES);
  g_autofree RunEntry *back = g_new0 (RunEntry, RUN_NODE_ENTRIES);
  g_autoptr (GError) error = NULL;
  guint count;

  for (guint i = 0; i < RUN_NODE_ENTRIES; i++) {
    entries[i].page = 5000000000 + i * 3;
    fill (&entries[i].name, i);
  }
  for (guint level = 0; level < 2; level++) {
    for (guint n = 1; n <= RUN_NODE_ENTRIES; n++) {
      g_autoptr (GBytes) bytes = run_node_to_bytes (level, entries, n);
      g_assert_cmpuint (g_bytes_get_size (bytes), !=, PAGE_SIZE_BYTES);
      g_assert_true (run_node_parse (bytes, level, back, &count, &error));
      g_assert_cmpuint (count, ==, n);
      g_assert_cmpmem (back, n * sizeof *back, entries, n * sizeof *entries);
      if (n > 3)
        n += 96;
    }
  }
  entries[2].page = entries[1].page;
  g_autoptr (GBytes) bytes = run_node_to_bytes (0, entries, 3);
  g_assert_false (run_node_parse (bytes, 0, back, &count, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_DAMAGED);
}

/* One kind of node is never taken for another, nor one level for another, nor one cut short. */
static void
test_refused (void)
{
  g_autofree ChunkName *names = g_new0 (ChunkName, NODE_FANOUT);
  g_autofree MapRoot *root = g_new0 (MapRoot, 1);
  RunEntry entry = { 3, { { 1 } } }, entries[RUN_NODE_ENTRIES];
  g_autoptr (GBytes) tree = tree_node_to_bytes (1, names);
  g_autoptr (GBytes) run = run_node_to_bytes (0, &entry, 1);
  g_autoptr (GBytes) root_bytes = map_root_to_bytes (root);
  guint count;

  g_assert_true (tree_node_parse (tree, 1, names, NULL));
  g_assert_true (run_node_parse (run, 0, entries, &count, NULL));
  g_assert_true (map_root_parse (root_bytes, root, NULL));
  g_assert_false (tree_node_parse (tree, 0, names, NULL));
  g_assert_false (tree_node_parse (run, 0, names, NULL));
  g_assert_false (run_node_parse (tree, 1, entries, &count, NULL));
  g_assert_false (run_node_parse (run, 1, entries, &count, NULL));
  g_assert_false (map_root_parse (tree, root, NULL));
  for (gsize len = 0; len < g_bytes_get_size (run); len++) {
    g_autoptr (GBytes) cut = g_bytes_new_from_bytes (run, 0, len);
    g_assert_false (run_node_parse (cut, 0, entries, &count, NULL));
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/store/page-node/levels", test_levels);
  g_test_add_func ("/store/page-node/root", test_root);
  g_test_add_func ("/store/page-node/run", test_run);
  g_test_add_func ("/store/page-node/refused", test_refused);
  return g_test_run();
}
