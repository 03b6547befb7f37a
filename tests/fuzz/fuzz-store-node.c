/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A node of a page map, taken for each kind and level that it could be. */
#include "page-node.h"

#include "fuzz.h"

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  g_autoptr (GBytes) bytes = g_bytes_new (data, size);
  g_autofree RunEntry *entries = g_new (RunEntry, RUN_NODE_ENTRIES);
  g_autofree ChunkName *names = g_new (ChunkName, NODE_FANOUT);
  g_autofree MapRoot *root = g_new (MapRoot, 1);
  guint count;

  for (guint level = 0; level < 3; level++) {
    if (run_node_parse (bytes, level, entries, &count, NULL))
      g_assert_cmpuint (count, <=, RUN_NODE_ENTRIES);
    tree_node_parse (bytes, level, names, NULL);
  }
  if (map_root_parse (bytes, root, NULL))
    g_assert_cmpuint (root->n_runs, <=, RUNS_MAX);
  return 0;
}
