/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who is below whom in QEMU's graph of block nodes, and whose job is at work where: what it tells
 * wrongly is captured while somebody moves it, or not at all. */
#include "block-graph.h"

#include <string.h>

/* 1 disk ─file─▶ 2 proto; 1 ─backing─▶ 3 base ◀─backing─ 4 other disk */
#define DISKS                                                                                      \
  "{\"id\": 1, \"type\": \"block-driver\", \"name\": \"disk\"},"                                   \
  "{\"id\": 2, \"type\": \"block-driver\", \"name\": \"proto\"},"                                  \
  "{\"id\": 3, \"type\": \"block-driver\", \"name\": \"base\"},"                                   \
  "{\"id\": 4, \"type\": \"block-driver\", \"name\": \"other\"}"
#define EDGES                                                                                      \
  "{\"parent\": 1, \"child\": 2, \"name\": \"file\"},"                                             \
  "{\"parent\": 1, \"child\": 3, \"name\": \"backing\"},"                                          \
  "{\"parent\": 4, \"child\": 3, \"name\": \"backing\"}"

static BlockGraph *
parse (const char *text, GError **error)
{
  g_autoptr (JsonNode) answer = json_from_string (text, error);

  return answer != NULL ? block_graph_new (answer, error) : NULL;
}

/* The disks above, with @nodes and @edges more. */
static BlockGraph *
make (const char *nodes, const char *edges)
{
  g_autofree char *text =
      g_strdup_printf ("{\"nodes\": [" DISKS "%s], \"edges\": [" EDGES "%s]}", nodes, edges);
  g_autoptr (GError) error = NULL;
  BlockGraph *graph = parse (text, &error);

  g_assert_no_error (error);
  return graph;
}

static void
test_children (void)
{
  g_autoptr (BlockGraph) graph = make (",{\"id\": 9, \"type\": \"block-job\", \"name\": \"disk2\"}",
                                       ",{\"parent\": 9, \"child\": 1, \"name\": \"file\"}"
                                       ",{\"parent\": 2, \"child\": 77, \"name\": \"file\"}");

  g_assert_cmpstr (block_graph_child (graph, "disk", "file"), ==, "proto");
  g_assert_cmpstr (block_graph_child (graph, "disk", "backing"), ==, "base");
  g_assert_null (block_graph_child (graph, "disk", "data"));
  g_assert_null (block_graph_child (graph, "base", "file"));
  g_assert_null (block_graph_child (graph, "nobody", "file"));
  g_assert_null (block_graph_child (graph, "disk2", "file")); /* a job is no node */
  g_assert_null (block_graph_child (graph, "proto", "file")); /* a child that is not listed */
}

/* A job of that name on the node of that id. */
static const char *
job_on (guint id, const char *role, const char *disk)
{
  g_autofree char *edge =
      g_strdup_printf (",{\"parent\": 9, \"child\": %u, \"name\": \"%s\"}", id, role);
  g_autoptr (BlockGraph) graph =
      make (",{\"id\": 9, \"type\": \"block-job\", \"name\": \"job\"}", edge);
  const char *job = block_graph_job (graph, disk);

  return job != NULL ? g_intern_string (job) : NULL;
}

static void
test_jobs (void)
{
  g_assert_cmpstr (job_on (1, "main node", "disk"), ==, "job");
  g_assert_cmpstr (job_on (2, "main node", "disk"), ==, "job");
  g_assert_null (job_on (1, "main node", "nobody"));
  g_assert_null (job_on (77, "main node", "disk"));
  /* What both share keeps both busy; what a job on one reaches below does not. */
  g_assert_cmpstr (job_on (3, "main node", "disk"), ==, "job");
  g_assert_cmpstr (job_on (3, "main node", "other"), ==, "job");
  g_assert_null (job_on (1, "main node", "other"));
}

/* A job on a filter that it has put above the disk. */
static void
test_job_above (void)
{
  g_autoptr (BlockGraph) graph =
      make (",{\"id\": 9, \"type\": \"block-job\", \"name\": \"job\"}"
            ",{\"id\": 8, \"type\": \"block-driver\", \"name\": \"filter\"}",
            ",{\"parent\": 9, \"child\": 8, \"name\": \"main node\"}"
            ",{\"parent\": 8, \"child\": 1, \"name\": \"file\"}");

  g_assert_cmpstr (block_graph_job (graph, "disk"), ==, "job");
  g_assert_cmpstr (block_graph_job (graph, "filter"), ==, "job");
  g_assert_null (block_graph_job (graph, "other"));
}

/* No QEMU has them; then it must end all the same. */
static void
test_circles_end (void)
{
  g_autoptr (BlockGraph) graph = make (",{\"id\": 9, \"type\": \"block-job\", \"name\": \"job\"}",
                                       ",{\"parent\": 3, \"child\": 1, \"name\": \"file\"}"
                                       ",{\"parent\": 2, \"child\": 2, \"name\": \"file\"}");

  g_assert_null (block_graph_job (graph, "disk"));
}

static void
test_what_is_not_understood (void)
{
  static const char *const bad[] = {
    "[]",
    "7",
    "null",
    "{}",
    "{\"nodes\": []}",
    "{\"edges\": []}",
    "{\"nodes\": {}, \"edges\": []}",
    "{\"nodes\": [], \"edges\": 1}",
    "{\"nodes\": [{\"id\": 1, \"type\": \"block-job\"}], \"edges\": []}",
    "{\"nodes\": [{\"id\": 1, \"name\": \"n\"}], \"edges\": []}",
    "{\"nodes\": [{\"type\": \"block-job\", \"name\": \"n\"}], \"edges\": []}",
    "{\"nodes\": [{\"id\": -1, \"type\": \"block-job\", \"name\": \"n\"}], \"edges\": []}",
    "{\"nodes\": [{\"id\": \"1\", \"type\": \"block-job\", \"name\": \"n\"}], \"edges\": []}",
    "{\"nodes\": [], \"edges\": [{\"parent\": 1, \"name\": \"file\"}]}",
    "{\"nodes\": [], \"edges\": [{\"child\": 1, \"name\": \"file\"}]}",
    "{\"nodes\": [], \"edges\": [{\"parent\": 1, \"child\": 2}]}",
    "{\"nodes\": [], \"edges\": [{\"parent\": 1, \"child\": {}, \"name\": \"file\"}]}",
  };

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (GError) error = NULL;
    g_assert_null (parse (bad[i], &error));
    g_assert_error (error, DISK_ERROR, DISK_ERROR_FAILED);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/block-graph/children", test_children);
  g_test_add_func ("/block-graph/jobs", test_jobs);
  g_test_add_func ("/block-graph/job-above", test_job_above);
  g_test_add_func ("/block-graph/circles", test_circles_end);
  g_test_add_func ("/block-graph/not-understood", test_what_is_not_understood);
  return g_test_run();
}
