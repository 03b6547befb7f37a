/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "page-node.h"

#include <vmckpt/store/store.h>
#include <vmckpt/util/bytes.h>

#include <string.h>

#define NODE_MAGIC "VN"
#define NODE_VERSION 1
#define NODE_HEAD_BYTES 8
typedef enum { NODE_TREE = 1, NODE_RUN = 2, NODE_ROOT = 3 } NodeType;

guint64
map_pages (guint64 length)
{
  return length / PAGE_SIZE_BYTES + (length % PAGE_SIZE_BYTES != 0);
}

guint
map_tree_levels (guint64 length)
{
  guint64 pages = map_pages (length);
  guint levels = pages > 0;

  while (levels > 0 && levels < TREE_LEVELS_MAX && (pages - 1) >> (NODE_FANOUT_BITS * levels) != 0)
    levels++;
  return levels;
}

static GByteArray *
node_begin (NodeType type, guint level)
{
  GByteArray *out = g_byte_array_new();

  g_byte_array_append (out, (const guint8 *)NODE_MAGIC, 2);
  bytes_add_u8 (out, NODE_VERSION);
  bytes_add_u8 (out, type);
  bytes_add_u8 (out, level);
  bytes_add_u8 (out, 0);
  bytes_add_le16 (out, 0);
  return out;
}

/* Lengths are 8200, 24 + 36 n, 24 + 40 n and 56 + 48 n: never that of a page. */
static GBytes *
node_end (GByteArray *out)
{
  g_assert (out->len != PAGE_SIZE_BYTES);
  return g_byte_array_free_to_bytes (out);
}

GBytes *
map_root_to_bytes (const MapRoot *root)
{
  GByteArray *out = node_begin (NODE_ROOT, root->tree_levels);

  bytes_add_le64 (out, root->length);
  bytes_add_le32 (out, root->n_runs);
  bytes_add_le32 (out, 0);
  g_byte_array_append (out, root->tree.bytes, CHUNK_NAME_BYTES);
  for (guint i = 0; i < root->n_runs; i++) {
    g_byte_array_append (out, root->runs[i].name.bytes, CHUNK_NAME_BYTES);
    bytes_add_le64 (out, root->runs[i].count);
    bytes_add_le32 (out, root->runs[i].leaves);
    bytes_add_le32 (out, root->runs[i].level);
  }
  return node_end (out);
}

GBytes *
tree_node_to_bytes (guint level, const ChunkName names[NODE_FANOUT])
{
  GByteArray *out = node_begin (NODE_TREE, level);

  g_byte_array_append (out, names[0].bytes, NODE_FANOUT * CHUNK_NAME_BYTES);
  return node_end (out);
}

GBytes *
run_node_to_bytes (guint level, const RunEntry *entries, guint count)
{
  GByteArray *out = node_begin (NODE_RUN, level);
  guint64 base = count > 0 ? entries[0].page : 0;

  bytes_add_le64 (out, base);
  bytes_add_le32 (out, count);
  bytes_add_le32 (out, 0);
  for (guint i = 0; i < count; i++) {
    /* Level 0 is what there is much of: 36 bytes an entry instead of 40. */
    if (level == 0)
      bytes_add_le32 (out, entries[i].page - base);
    else
      bytes_add_le64 (out, entries[i].page);
  }
  for (guint i = 0; i < count; i++)
    g_byte_array_append (out, entries[i].name.bytes, CHUNK_NAME_BYTES);
  return node_end (out);
}

static gboolean
set_damaged (GError **error, const char *problem)
{
  g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED, "is not the page-map node it should be: %s",
               problem);
  return FALSE;
}

/* Checks a node's head; returns its level, or -1 with @error. */
static int
parse_head (ByteReader *reader, NodeType type, GError **error)
{
  const guint8 *magic = byte_reader_take (reader, 2);
  guint8 version = byte_reader_u8 (reader);
  guint8 stored_type = byte_reader_u8 (reader);
  guint8 level = byte_reader_u8 (reader);

  byte_reader_take (reader, 3);
  if (reader->failed || memcmp (magic, NODE_MAGIC, 2) != 0 || stored_type != type) {
    set_damaged (error, "wrong head");
    return -1;
  }
  if (version != NODE_VERSION) {
    g_set_error (error, STORE_ERROR, STORE_ERROR_VERSION,
                 "a page-map node has version %u, which this program does not know", version);
    return -1;
  }
  return level;
}

/* Nothing may follow. */
static gboolean
parse_end (ByteReader *reader, GError **error)
{
  if (reader->failed || byte_reader_left (reader) != 0)
    return set_damaged (error, "wrong length");
  return TRUE;
}

static void
take_name (ByteReader *reader, ChunkName *name)
{
  const guint8 *at = byte_reader_take (reader, CHUNK_NAME_BYTES);
  if (at != NULL)
    memcpy (name, at, CHUNK_NAME_BYTES);
}

gboolean
map_root_parse (GBytes *bytes, MapRoot *root, GError **error)
{
  ByteReader reader = BYTE_READER (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes));
  int level = parse_head (&reader, NODE_ROOT, error);

  if (level < 0)
    return FALSE;
  memset (root, 0, sizeof *root);
  root->tree_levels = level;
  root->length = byte_reader_le64 (&reader);
  root->n_runs = byte_reader_le32 (&reader);
  byte_reader_take (&reader, 4);
  take_name (&reader, &root->tree);
  if (reader.failed || root->n_runs > RUNS_MAX || root->length > MAP_LENGTH_MAX ||
      root->tree_levels != map_tree_levels (root->length))
    return set_damaged (error, "impossible counts");
  for (guint i = 0; i < root->n_runs; i++) {
    RunRef *run = &root->runs[i];
    take_name (&reader, &run->name);
    run->count = byte_reader_le64 (&reader);
    run->leaves = byte_reader_le32 (&reader);
    run->level = byte_reader_le32 (&reader);
    if (reader.failed || run->level >= RUN_LEVELS_MAX || run->count == 0 ||
        run->count > map_pages (root->length) || chunk_name_is_zero (&run->name))
      return set_damaged (error, "an impossible run");
  }
  return parse_end (&reader, error);
}

gboolean
tree_node_parse (GBytes *bytes, guint level, ChunkName names[NODE_FANOUT], GError **error)
{
  ByteReader reader = BYTE_READER (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes));
  int stored_level = parse_head (&reader, NODE_TREE, error);

  if (stored_level < 0)
    return FALSE;
  if ((guint)stored_level != level)
    return set_damaged (error, "wrong level");
  const guint8 *at = byte_reader_take (&reader, NODE_FANOUT * CHUNK_NAME_BYTES);
  if (at == NULL)
    return set_damaged (error, "wrong length");
  memcpy (names, at, NODE_FANOUT * CHUNK_NAME_BYTES);
  return parse_end (&reader, error);
}

gboolean
run_node_parse (GBytes *bytes, guint level, RunEntry *entries, guint *count, GError **error)
{
  ByteReader reader = BYTE_READER (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes));
  int stored_level = parse_head (&reader, NODE_RUN, error);

  if (stored_level < 0)
    return FALSE;
  if ((guint)stored_level != level)
    return set_damaged (error, "wrong level");
  guint64 base = byte_reader_le64 (&reader);
  *count = byte_reader_le32 (&reader);
  byte_reader_take (&reader, 4);
  if (reader.failed || *count == 0 || *count > RUN_NODE_ENTRIES || base > MAP_LENGTH_MAX)
    return set_damaged (error, "impossible counts");
  for (guint i = 0; i < *count; i++) {
    entries[i].page = level == 0 ? base + byte_reader_le32 (&reader) : byte_reader_le64 (&reader);
    if (i == 0 ? entries[i].page != base : entries[i].page <= entries[i - 1].page)
      return set_damaged (error, "its entries are out of order");
  }
  for (guint i = 0; i < *count; i++) {
    take_name (&reader, &entries[i].name);
    if (level > 0 && !reader.failed && chunk_name_is_zero (&entries[i].name))
      return set_damaged (error, "a node without a name");
  }
  if (reader.failed)
    return set_damaged (error, "wrong length");
  return parse_end (&reader, error);
}
