/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "index-merge.h"

#include "index-layout.h"
#include "index-scan.h"
#include "name-set.h"

#include <vmckpt/store/store.h>
#include <vmckpt/util/bytes.h>

#include <sodium.h>
#include <string.h>

#define MERGE_AT_LEAST 4
/* Numbers of entries have 32 bits on the medium. */
#define ENTRIES_MAX (G_GUINT64_CONSTANT (1) << 31)
#define OUTPUT_BYTES (256 * 1024)
#define NONE G_MAXUINT32
/* Frames whose number in the result is known; the rest is counted from there. */
#define RANK_FRAMES 512
/* How often a cancellation is looked for. */
#define CANCEL_ENTRIES 65536

/* A table to be merged, and what becomes of its packs and frames. */
typedef struct {
  const IndexTable *table;
  guint32 *packs; /* number in the result, or NONE */
  guint8 *kept;   /* bitmap of frames */
  guint32 *rank;  /* number in the result of the first kept frame at or after each RANK_FRAMES-th */
  IndexScan *scan;
  IndexEntry entry; /* the next one, of a kept frame; its frame is the result's */
  gboolean more;
} Input;

typedef struct {
  const IndexMedium *medium;
  GCancellable *cancellable;
  GArray *inputs; /* of Input */
  guint64 n_packs, n_frames, n_entries;
  gboolean deltas; /* some frame is one of deltas */
  guint fan_bits;
  guint32 *fan; /* entries per bucket, then entries before it */
  BackendStream *stream;
  GByteArray *buffer;
  crypto_generichash_state hash;
  guint64 size;
} Merge;

static void
clear_input (gpointer data)
{
  Input *input = data;
  g_free (input->packs);
  g_free (input->kept);
  g_free (input->rank);
  index_scan_free (input->scan);
}

static void
merge_clear (Merge *merge)
{
  g_clear_pointer (&merge->inputs, g_array_unref);
  g_free (merge->fan);
  g_clear_pointer (&merge->buffer, g_byte_array_unref);
  backend_stream_free (merge->stream);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Merge, merge_clear)

/* Numbers the packs that are taken from this table; @taken: those of all tables. */
static gboolean
number_packs (Merge *merge, Input *input, GHashTable *skip, NameSet *taken, GError **error)
{
  g_autoptr (IndexScan) scan = index_scan_packs (input->table);
  IndexPack pack;

  input->packs = g_new (guint32, (gsize)index_table_packs (input->table) + 1);
  for (guint i = 0; index_scan_pack (scan, &pack); i++) {
    gboolean skipped = (skip != NULL && g_hash_table_contains (skip, &pack.name)) ||
                       chunk_name_is_zero (&pack.name) || !name_set_add (taken, &pack.name);
    input->packs[i] = skipped ? NONE : merge->n_packs++;
  }
  return index_table_check (input->table, error);
}

static gboolean
number_frames (Merge *merge, Input *input, GError **error)
{
  g_autoptr (IndexScan) scan = index_scan_frames (input->table);
  gsize frames = index_table_frames (input->table);
  IndexFrame frame;

  input->kept = g_malloc0 (frames / 8 + 1);
  input->rank = g_new (guint32, frames / RANK_FRAMES + 1);
  for (gsize i = 0; index_scan_frame (scan, &frame); i++) {
    if (i % RANK_FRAMES == 0)
      input->rank[i / RANK_FRAMES] = merge->n_frames;
    if (input->packs[frame.pack] == NONE)
      continue;
    input->kept[i / 8] |= 1 << i % 8;
    merge->n_frames++;
    merge->deltas = merge->deltas || frame.frame.codec == FRAME_DELTA;
  }
  return index_table_check (input->table, error);
}

static gboolean
is_kept (const Input *input, guint32 frame)
{
  return input->kept[frame / 8] >> frame % 8 & 1;
}

/* The number in the result of a kept frame. */
static guint32
number_of_frame (const Input *input, guint32 frame)
{
  guint32 number = input->rank[frame / RANK_FRAMES];

  for (guint32 byte = frame / RANK_FRAMES * (RANK_FRAMES / 8); byte < frame / 8; byte++)
    number += __builtin_popcount (input->kept[byte]);
  return number + __builtin_popcount (input->kept[frame / 8] & ((1 << frame % 8) - 1));
}

/* Goes on to the next entry of a kept frame. */
static void
advance (Input *input)
{
  do
    input->more = index_scan_entry (input->scan, &input->entry);
  while (input->more && !is_kept (input, input->entry.frame));
}

static gboolean
start_scan (Input *input)
{
  index_scan_free (input->scan);
  input->scan = index_scan_entries (input->table);
  advance (input);
  return TRUE;
}

/* First pass over the entries: how many there are, and in which bucket. */
static gboolean
count_entries (Merge *merge, Input *input, GError **error)
{
  start_scan (input);
  for (guint n = 0; input->more; advance (input), n++) {
    merge->fan[index_name_bucket (&input->entry.name, merge->fan_bits)]++;
    merge->n_entries++;
    if (n % CANCEL_ENTRIES == 0 && g_cancellable_set_error_if_cancelled (merge->cancellable, error))
      return FALSE;
  }
  g_clear_pointer (&input->scan, index_scan_free);
  return index_table_check (input->table, error);
}

/* Finds out all that the head has to say. */
static gboolean
survey (Merge *merge, GPtrArray *tables, GHashTable *skip, GError **error)
{
  g_autoptr (NameSet) taken = name_set_new();
  guint64 entries = 0;

  for (guint i = 0; i < tables->len; i++)
    entries += index_table_entries (tables->pdata[i]);
  merge->fan_bits = index_fan_bits (entries);
  merge->fan = g_new0 (guint32, ((gsize)1 << merge->fan_bits) + 1);
  g_array_set_size (merge->inputs, tables->len);
  for (guint i = 0; i < tables->len; i++) {
    Input *input = &g_array_index (merge->inputs, Input, i);
    input->table = tables->pdata[i];
    if (!number_packs (merge, input, skip, taken, error) || !number_frames (merge, input, error) ||
        !count_entries (merge, input, error))
      return FALSE;
  }
  guint32 before = 0;
  for (gsize i = 0; i <= (gsize)1 << merge->fan_bits; i++) {
    guint32 count = merge->fan[i];
    merge->fan[i] = before;
    before += count;
  }
  return TRUE;
}

/* ---- Writing ---- */

/* Hands what is in the buffer on; without a stream it is only hashed. */
static gboolean
drain (Merge *merge, GError **error)
{
  gboolean good = merge->stream == NULL ||
                  merge->medium->backend->ops->stream_write (merge->stream, merge->buffer->data,
                                                             merge->buffer->len, error);

  crypto_generichash_update (&merge->hash, merge->buffer->data, merge->buffer->len);
  merge->size += merge->buffer->len;
  g_byte_array_set_size (merge->buffer, 0);
  return good;
}

static gboolean
drain_if_full (Merge *merge, GError **error)
{
  return merge->buffer->len < OUTPUT_BYTES || drain (merge, error);
}

/* Head (with @hash), packs and fan-out. */
static gboolean
write_head (Merge *merge, const ChunkName *hash, GError **error)
{
  crypto_generichash_init (&merge->hash, merge->medium->key->bytes,
                           sizeof merge->medium->key->bytes, sizeof (ChunkName));
  merge->size = 0;
  index_add_head (merge->buffer, merge->deltas, merge->fan_bits, merge->n_packs, merge->n_frames,
                  merge->n_entries);
  memcpy (merge->buffer->data + HEAD_HASH_AT, hash->bytes, sizeof *hash);
  for (guint i = 0; i < merge->inputs->len; i++) {
    Input *input = &g_array_index (merge->inputs, Input, i);
    g_autoptr (IndexScan) scan = index_scan_packs (input->table);
    IndexPack pack;
    for (guint j = 0; index_scan_pack (scan, &pack); j++) {
      if (input->packs[j] != NONE)
        index_add_pack (merge->buffer, &pack);
      if (!drain_if_full (merge, error))
        return FALSE;
    }
    if (!index_table_check (input->table, error))
      return FALSE;
  }
  for (gsize i = 0; i <= (gsize)1 << merge->fan_bits; i++) {
    bytes_add_le32 (merge->buffer, merge->fan[i]);
    if (!drain_if_full (merge, error))
      return FALSE;
  }
  return drain (merge, error);
}

static gboolean
write_frames (Merge *merge, Input *input, GError **error)
{
  g_autoptr (IndexScan) scan = index_scan_frames (input->table);
  IndexFrame frame;

  for (guint i = 0; index_scan_frame (scan, &frame); i++) {
    if (!is_kept (input, i))
      continue;
    frame.pack = input->packs[frame.pack];
    index_add_frame (merge->buffer, &frame);
    if (!drain_if_full (merge, error))
      return FALSE;
  }
  return index_table_check (input->table, error);
}

/* The input whose next entry comes first, the earlier one of equal names; NULL: all are through. */
static Input *
first_input (Merge *merge)
{
  Input *first = NULL;

  for (guint i = 0; i < merge->inputs->len; i++) {
    Input *input = &g_array_index (merge->inputs, Input, i);
    if (input->more &&
        (first == NULL || chunk_name_compare (&input->entry.name, &first->entry.name) < 0))
      first = input;
  }
  return first;
}

static gboolean
write_entries (Merge *merge, GError **error)
{
  guint64 written = 0;
  Input *input;

  for (guint i = 0; i < merge->inputs->len; i++)
    start_scan (&g_array_index (merge->inputs, Input, i));
  for (; (input = first_input (merge)) != NULL; advance (input), written++) {
    IndexEntry entry = input->entry;
    entry.frame = number_of_frame (input, entry.frame);
    index_add_entry (merge->buffer, &entry);
    if (!drain_if_full (merge, error))
      return FALSE;
    if (written % CANCEL_ENTRIES == 0 &&
        g_cancellable_set_error_if_cancelled (merge->cancellable, error))
      return FALSE;
  }
  for (guint i = 0; i < merge->inputs->len; i++)
    if (!index_table_check (g_array_index (merge->inputs, Input, i).table, error))
      return FALSE;
  if (written == merge->n_entries)
    return drain (merge, error);
  g_set_error_literal (error, STORE_ERROR, STORE_ERROR_DAMAGED,
                       "index tables changed while they were merged");
  return FALSE;
}

static gboolean
write_table (Merge *merge, ChunkName *hash, GError **error)
{
  static const ChunkName blank;
  ChunkName head_hash;

  merge->buffer = g_byte_array_sized_new (OUTPUT_BYTES + ENTRY_RECORD + HEAD_BYTES);
  if (!write_head (merge, &blank, error))
    return FALSE;
  crypto_generichash_final (&merge->hash, head_hash.bytes, sizeof head_hash.bytes);
  merge->stream = merge->medium->backend->ops->stream_begin (merge->medium->backend, error);
  if (merge->stream == NULL || !write_head (merge, &head_hash, error))
    return FALSE;
  for (guint i = 0; i < merge->inputs->len; i++)
    if (!write_frames (merge, &g_array_index (merge->inputs, Input, i), error))
      return FALSE;
  if (!write_entries (merge, error))
    return FALSE;
  crypto_generichash_final (&merge->hash, hash->bytes, sizeof hash->bytes);
  return TRUE;
}

gboolean
index_merge_tables (const IndexMedium *medium, GPtrArray *tables, GHashTable *skip, char **object,
                    guint64 *size, GCancellable *cancellable, GError **error)
{
  g_auto (Merge) merge = { .medium = medium, .cancellable = cancellable };
  gboolean existed;
  ChunkName hash;

  *object = NULL;
  merge.inputs = g_array_new (FALSE, TRUE, sizeof (Input));
  g_array_set_clear_func (merge.inputs, clear_input);
  if (!survey (&merge, tables, skip, error))
    return FALSE;
  if (size != NULL)
    *size = 0;
  if (merge.n_packs == 0)
    return TRUE;
  if (!write_table (&merge, &hash, error))
    return FALSE;
  g_autofree char *name = object_name ("index", &hash);
  if (!medium->backend->ops->stream_commit (merge.stream, name, &existed, error))
    return FALSE;
  if (size != NULL)
    *size = merge.size;
  *object = g_steal_pointer (&name);
  return TRUE;
}

static int
compare_entries (gconstpointer a, gconstpointer b)
{
  guint na = index_table_entries (*(IndexTable **)a), nb = index_table_entries (*(IndexTable **)b);
  return na < nb ? -1 : na > nb;
}

GPtrArray *
index_merge_choose (GPtrArray *tables)
{
  g_autoptr (GPtrArray) chosen = g_ptr_array_new();
  guint64 before = 0; /* entries of the smaller ones */
  guint best = 0;

  for (guint i = 0; i < tables->len; i++)
    g_ptr_array_add (chosen, tables->pdata[i]);
  g_ptr_array_sort (chosen, compare_entries);
  for (guint i = 0; i < chosen->len; i++) {
    guint64 entries = index_table_entries (chosen->pdata[i]);
    if (before + entries > ENTRIES_MAX)
      break;
    if (i + 1 >= MERGE_AT_LEAST && entries <= before)
      best = i + 1;
    before += entries;
  }
  g_ptr_array_set_size (chosen, best);
  return best > 0 ? g_steal_pointer (&chosen) : NULL;
}
