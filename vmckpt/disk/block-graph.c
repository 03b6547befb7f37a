/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "block-graph.h"

#include <vmckpt/util/json.h>

/* A machine has tens of nodes. */
#define MAX_NODES 65536

typedef struct {
  guint64 id;
  char *name;
  gboolean job;
} GraphNode;

typedef struct {
  guint64 parent, child;
  char *role;
} GraphEdge;

struct _BlockGraph {
  GPtrArray *nodes; /* of GraphNode */
  GPtrArray *edges; /* of GraphEdge */
};

static void
graph_node_free (gpointer data)
{
  g_free (((GraphNode *)data)->name);
  g_free (data);
}

static void
graph_edge_free (gpointer data)
{
  g_free (((GraphEdge *)data)->role);
  g_free (data);
}

void
block_graph_free (BlockGraph *graph)
{
  if (graph == NULL)
    return;
  g_ptr_array_unref (graph->nodes);
  g_ptr_array_unref (graph->edges);
  g_free (graph);
}

static gboolean
add_node (BlockGraph *graph, JsonObject *object, GError **error)
{
  const char *name = json_get_string (object, "name", error);
  const char *type = name != NULL ? json_get_string (object, "type", error) : NULL;
  guint64 id;

  if (type == NULL || !json_get_uint64 (object, "id", &id, error))
    return FALSE;
  GraphNode *node = g_new0 (GraphNode, 1);
  node->id = id;
  node->name = g_strdup (name);
  node->job = g_str_equal (type, "block-job");
  g_ptr_array_add (graph->nodes, node);
  return TRUE;
}

static gboolean
add_edge (BlockGraph *graph, JsonObject *object, GError **error)
{
  const char *role = json_get_string (object, "name", error);
  guint64 parent, child;

  if (role == NULL || !json_get_uint64 (object, "parent", &parent, error) ||
      !json_get_uint64 (object, "child", &child, error))
    return FALSE;
  GraphEdge *edge = g_new0 (GraphEdge, 1);
  edge->parent = parent;
  edge->child = child;
  edge->role = g_strdup (role);
  g_ptr_array_add (graph->edges, edge);
  return TRUE;
}

/* Every object of the array @member. */
static gboolean
add_all (BlockGraph *graph, JsonObject *answer, const char *member,
         gboolean (*add) (BlockGraph *, JsonObject *, GError **), GError **error)
{
  JsonArray *array = json_get_array (answer, member, error);

  if (array == NULL)
    return FALSE;
  for (guint i = 0; i < MIN (json_array_get_length (array), MAX_NODES); i++) {
    JsonNode *element = json_array_get_element (array, i);
    if (JSON_NODE_HOLDS_OBJECT (element) && !add (graph, json_node_get_object (element), error))
      return FALSE;
  }
  return TRUE;
}

BlockGraph *
block_graph_new (JsonNode *answer, GError **error)
{
  g_autoptr (BlockGraph) graph = g_new0 (BlockGraph, 1);
  g_autoptr (GError) reason = NULL;

  graph->nodes = g_ptr_array_new_with_free_func (graph_node_free);
  graph->edges = g_ptr_array_new_with_free_func (graph_edge_free);
  if (JSON_NODE_HOLDS_OBJECT (answer) &&
      add_all (graph, json_node_get_object (answer), "nodes", add_node, &reason) &&
      add_all (graph, json_node_get_object (answer), "edges", add_edge, &reason))
    return g_steal_pointer (&graph);
  g_set_error (error, DISK_ERROR, DISK_ERROR_FAILED,
               "what QEMU says of its block nodes is not understood: %s",
               reason != NULL ? reason->message : "it is not an object");
  return NULL;
}

/* Jobs and users of nodes have names of their own kind; @job says which is meant. */
static const GraphNode *
find_node (const BlockGraph *graph, const char *name, gboolean job)
{
  for (guint i = 0; i < graph->nodes->len; i++) {
    const GraphNode *node = g_ptr_array_index (graph->nodes, i);
    if (node->job == job && g_str_equal (node->name, name))
      return node;
  }
  return NULL;
}

static const GraphNode *
find_id (const BlockGraph *graph, guint64 id)
{
  for (guint i = 0; i < graph->nodes->len; i++) {
    const GraphNode *node = g_ptr_array_index (graph->nodes, i);
    if (node->id == id)
      return node;
  }
  return NULL;
}

const char *
block_graph_child (const BlockGraph *graph, const char *node, const char *role)
{
  const GraphNode *parent = find_node (graph, node, FALSE);

  for (guint i = 0; parent != NULL && i < graph->edges->len; i++) {
    const GraphEdge *edge = g_ptr_array_index (graph->edges, i);
    if (edge->parent != parent->id || !g_str_equal (edge->role, role))
      continue;
    const GraphNode *child = find_id (graph, edge->child);
    return child != NULL ? child->name : NULL;
  }
  return NULL;
}

/* @id and everything below it. */
static GHashTable *
reach (const BlockGraph *graph, guint64 id)
{
  GHashTable *seen = g_hash_table_new_full (g_int64_hash, g_int64_equal, g_free, NULL);
  g_autoptr (GArray) queue = g_array_new (FALSE, FALSE, sizeof (guint64));

  g_array_append_val (queue, id);
  for (guint next = 0; next < queue->len; next++) {
    guint64 at = g_array_index (queue, guint64, next);
    if (!g_hash_table_add (seen, g_memdup2 (&at, sizeof at)))
      continue;
    for (guint i = 0; i < graph->edges->len; i++) {
      const GraphEdge *edge = g_ptr_array_index (graph->edges, i);
      if (edge->parent == at)
        g_array_append_val (queue, edge->child);
    }
  }
  return seen;
}

static gboolean
job_works_on (const BlockGraph *graph, const GraphNode *job, guint64 top, GHashTable *below)
{
  g_autoptr (GHashTable) reached = reach (graph, job->id);

  if (g_hash_table_contains (reached, &top))
    return TRUE;
  /* Directly on something below: two disks may share a base, which a job on one reaches, too. */
  for (guint i = 0; i < graph->edges->len; i++) {
    const GraphEdge *edge = g_ptr_array_index (graph->edges, i);
    if (edge->parent == job->id && g_hash_table_contains (below, &edge->child))
      return TRUE;
  }
  return FALSE;
}

const char *
block_graph_job (const BlockGraph *graph, const char *node)
{
  const GraphNode *top = find_node (graph, node, FALSE);
  g_autoptr (GHashTable) below = top != NULL ? reach (graph, top->id) : NULL;

  for (guint i = 0; top != NULL && i < graph->nodes->len; i++) {
    const GraphNode *job = g_ptr_array_index (graph->nodes, i);
    if (job->job && job_works_on (graph, job, top->id, below))
      return job->name;
  }
  return NULL;
}
