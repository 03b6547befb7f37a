/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * QEMU's block nodes and who uses them, as `x-debug-query-block-graph` tells it: the only command
 * that says what is below a filter, and which nodes a job holds.
 */
#pragma once

#include <vmckpt/disk/disk-error.h>

#include <json-glib/json-glib.h>

typedef struct _BlockGraph BlockGraph;

/* From the command's answer; NULL with DISK_ERROR_FAILED if that is not understood. */
BlockGraph *block_graph_new (JsonNode *answer, GError **error);
/* Frees @graph. */
void block_graph_free (BlockGraph *graph);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (BlockGraph, block_graph_free)

/* The name of the node that is @node's child as @role ("file", "backing", …); borrowed; NULL: there
 * is none. */
const char *block_graph_child (const BlockGraph *graph, const char *node, const char *role);

/* The id of a job that works on @node, or on what is below it, or on something above it; borrowed;
 * NULL: none does. */
const char *block_graph_job (const BlockGraph *graph, const char *node);
