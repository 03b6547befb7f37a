/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "index-table-private.h"

#include <vmckpt/store/store.h>
#include <vmckpt/util/bytes.h>
#include <vmckpt/util/error.h>

#include <sodium.h>
#include <string.h>

/* A bucket of up to so many entries is read at once. */
#define BUCKET_WHOLE 128
/* Three times the deviation of a place in a bucket of 64 from where it should be, to both sides. */
#define GUESS_ENTRIES 24

/* Hashes the first @len bytes; @blank_head: with the head's own hash as zeros. */
static gboolean
hash_bytes (const IndexTable *table, guint64 len, gboolean blank_head, ChunkName *hash,
            GError **error)
{
  static const ChunkName blank;
  crypto_generichash_state state;

  crypto_generichash_init (&state, table->key->bytes, sizeof table->key->bytes, sizeof *hash);
  for (guint64 at = 0; at < len;) {
    g_autoptr (GBytes) holder = NULL;
    gsize some = MIN (len - at, INDEX_PIECE_BYTES);
    const guint8 *data = index_source_piece (table->source, at, some, &holder, error);
    if (data == NULL)
      return FALSE;
    if (at == 0 && blank_head) {
      gsize after = HEAD_HASH_AT + sizeof blank;
      crypto_generichash_update (&state, data, HEAD_HASH_AT);
      crypto_generichash_update (&state, blank.bytes, sizeof blank);
      crypto_generichash_update (&state, data + after, some - after);
    } else {
      crypto_generichash_update (&state, data, some);
    }
    at += some;
  }
  crypto_generichash_final (&state, hash->bytes, sizeof hash->bytes);
  return TRUE;
}

/* ---- Opening ---- */

/* Reads the head; what is wrong with it, or NULL. */
static const char *
parse_head (IndexTable *table, const guint8 head[HEAD_BYTES], guint16 *compatible)
{
  ByteReader reader = BYTE_READER (head, HEAD_BYTES);
  const guint8 *magic = byte_reader_take (&reader, 8);

  if (memcmp (magic, INDEX_MAGIC, 8) != 0)
    return "is not an index table: its first bytes are wrong";
  guint16 version = byte_reader_le16 (&reader);
  *compatible = byte_reader_le16 (&reader);
  if (*compatible > INDEX_VERSION)
    return "needs a newer program";
  table->fan_bits = byte_reader_le32 (&reader);
  table->n_packs = byte_reader_le32 (&reader);
  table->n_frames = byte_reader_le32 (&reader);
  table->n_entries = byte_reader_le32 (&reader);
  if (version < *compatible || table->fan_bits > FAN_BITS_MAX)
    return "is damaged: its head is wrong";
  table->packs_at = HEAD_BYTES;
  table->fan_at = table->packs_at + (guint64)table->n_packs * PACK_RECORD;
  table->frames_at = table->fan_at + ((G_GUINT64_CONSTANT (1) << table->fan_bits) + 1) * FAN_RECORD;
  table->entries_at = table->frames_at + (guint64)table->n_frames * FRAME_RECORD;
  if (table->source->size != table->entries_at + (guint64)table->n_entries * ENTRY_RECORD)
    return "is damaged: its size is wrong";
  return NULL;
}

/* Fan-out values must rise to the number of entries. */
static gboolean
fan_sane (const IndexTable *table)
{
  guint32 before = 0;

  for (guint64 at = table->fan_at; at < table->frames_at;) {
    g_autoptr (GBytes) holder = NULL;
    g_autoptr (GError) error = NULL;
    gsize some = MIN (table->frames_at - at, INDEX_PIECE_BYTES);
    const guint8 *data = index_source_piece (table->source, at, some, &holder, &error);
    if (data == NULL)
      return index_source_fail (table->source, index_source_judge (error));
    ByteReader reader = BYTE_READER (data, some);
    for (gsize i = 0; i < some; i += FAN_RECORD) {
      guint32 value = byte_reader_le32 (&reader);
      if (value < before || (at + i == table->fan_at && value != 0))
        return FALSE;
      before = value;
    }
    at += some;
  }
  return before == table->n_entries;
}

/* Takes the source. */
static IndexTable *
open_table (IndexSource *source, const HashKey *key, GError **error)
{
  g_autoptr (IndexTable) table = g_new0 (IndexTable, 1);
  g_autoptr (GBytes) holder = NULL;
  const char *problem = "is damaged: it is cut short";
  guint16 compatible = 0;
  ChunkName hash, named;

  table->refs = 1;
  table->key = key;
  table->source = source;
  if (source->size >= HEAD_BYTES) {
    const guint8 *head = index_source_piece (table->source, 0, HEAD_BYTES, &holder, error);
    if (head == NULL)
      return NULL;
    problem = parse_head (table, head, &compatible);
    if (problem == NULL && !hash_bytes (table, table->frames_at, TRUE, &hash, error))
      return NULL;
    if (problem == NULL &&
        (memcmp (hash.bytes, head + HEAD_HASH_AT, sizeof hash) != 0 || !fan_sane (table)))
      problem = "is damaged: its head does not match its hash";
  }
  if (problem == NULL)
    return g_steal_pointer (&table);
  /* A newer program's table holds what its name says; one that does not is of no program. */
  gboolean newer = compatible > INDEX_VERSION;
  if (newer && object_name_parse (source->object, "index", &named)) {
    if (!hash_bytes (table, source->size, FALSE, &hash, error))
      return NULL;
    newer = chunk_name_equal (&hash, &named);
    if (!newer)
      problem = "does not hold what its name says";
  }
  g_set_error (error, STORE_ERROR, newer ? STORE_ERROR_VERSION : STORE_ERROR_DAMAGED, "%s %s",
               source->object, problem);
  return NULL;
}

IndexTable *
index_table_new (const char *object, GBytes *bytes, const HashKey *key, GError **error)
{
  return open_table (index_source_new_bytes (object, bytes), key, error);
}

IndexTable *
index_table_open (const IndexMedium *medium, const char *object, guint64 size, GError **error)
{
  g_autoptr (GError) cause = NULL;
  ChunkName hash;

  g_autoptr (IndexTable) table =
      open_table (index_source_new_medium (object, medium, size), medium->key, &cause);
  if (table != NULL && size <= INDEX_WHOLE_BYTES && object_name_parse (object, "index", &hash) &&
      !index_table_verify (table, &hash))
    g_set_error (&cause, STORE_ERROR, STORE_ERROR_DAMAGED, "%s does not hold what its name says",
                 object);
  if (cause == NULL)
    return g_steal_pointer (&table);
  /* Cut short, or unreadable: that is damage of this table, not of the store. */
  if (cause->domain != STORE_ERROR && index_source_judge (cause) == INDEX_BROKEN)
    g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED, "%s cannot be read: %s", object,
                 cause->message);
  else
    g_propagate_error (error, g_steal_pointer (&cause));
  return NULL;
}

IndexTable *
index_table_ref (IndexTable *table)
{
  g_atomic_int_inc (&table->refs);
  return table;
}

void
index_table_unref (IndexTable *table)
{
  if (!g_atomic_int_dec_and_test (&table->refs))
    return;
  index_source_free (table->source);
  g_free (table);
}

const char *
index_table_object (const IndexTable *table)
{
  return table->source->object;
}

guint64
index_table_size (const IndexTable *table)
{
  return table->source->size;
}

guint
index_table_packs (const IndexTable *table)
{
  return table->n_packs;
}

guint
index_table_frames (const IndexTable *table)
{
  return table->n_frames;
}

guint
index_table_entries (const IndexTable *table)
{
  return table->n_entries;
}

IndexFailure
index_table_failure (const IndexTable *table)
{
  return index_source_failure (table->source);
}

gboolean
index_table_check (const IndexTable *table, GError **error)
{
  if (index_table_failure (table) == INDEX_GOOD)
    return TRUE;
  g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED,
               "%s cannot be read (any more); try again, or run `vmckpt store check`",
               table->source->object);
  return FALSE;
}

/* ---- Looking up ---- */

/* The bucket where @name would be. */
static gboolean
find_bucket (const IndexTable *table, const ChunkName *name, guint32 *low, guint32 *high)
{
  guint64 bucket = index_name_bucket (name, table->fan_bits);
  guint8 fan[2 * FAN_RECORD];

  if (!index_source_read (table->source, table->fan_at + bucket * FAN_RECORD, fan, sizeof fan))
    return FALSE;
  ByteReader reader = BYTE_READER (fan, sizeof fan);
  *low = byte_reader_le32 (&reader);
  *high = byte_reader_le32 (&reader);
  if (*low > *high || *high > table->n_entries)
    return index_source_fail (table->source,
                              INDEX_BROKEN); /* it was right when the table was opened */
  return TRUE;
}

static gboolean
read_entries (const IndexTable *table, guint32 low, guint32 high, guint8 *entries)
{
  return index_source_read (table->source, table->entries_at + (guint64)low * ENTRY_RECORD, entries,
                            (gsize)(high - low) * ENTRY_RECORD);
}

static int
compare_entry (const guint8 *entries, guint32 i, const ChunkName *name)
{
  return memcmp (entries + (gsize)i * ENTRY_RECORD, name, CHUNK_NAME_BYTES);
}

/*
 * Names are hashes, so they are evenly spread over a bucket, and where one would be can be guessed
 * to within a few entries: these are read. *@missed: (out): @name would be elsewhere.
 */
static gboolean
read_guess (const IndexTable *table, const ChunkName *name, guint32 *low, guint32 *high,
            guint8 *entries, gboolean *missed)
{
  ByteReader reader = BYTE_READER (name->bytes, CHUNK_NAME_BYTES);
  guint64 rest = byte_reader_be64 (&reader) << table->fan_bits;
  guint32 guess = *low + (guint32)((rest >> 32) * (*high - *low) >> 32);
  guint32 from =
      MIN (MAX (guess, *low + GUESS_ENTRIES / 2) - GUESS_ENTRIES / 2, *high - GUESS_ENTRIES);

  if (!read_entries (table, from, from + GUESS_ENTRIES, entries))
    return FALSE;
  /* Of equal names (copies in several packs) the first is wanted, so it must begin in here. */
  *missed = (from > *low && compare_entry (entries, 0, name) >= 0) ||
            (from + GUESS_ENTRIES < *high && compare_entry (entries, GUESS_ENTRIES - 1, name) < 0);
  if (!*missed) {
    *low = from;
    *high = from + GUESS_ENTRIES;
  }
  return TRUE;
}

/* Halves what is left of a bucket until few enough entries are left to be read at once. */
static gboolean
read_halved (const IndexTable *table, const ChunkName *name, guint32 *low, guint32 *high,
             guint8 *entries)
{
  ChunkName middle_name;

  while (*high - *low > BUCKET_WHOLE) {
    guint32 middle = *low + (*high - *low) / 2;
    if (!index_source_read (table->source, table->entries_at + (guint64)middle * ENTRY_RECORD,
                            &middle_name, sizeof middle_name))
      return FALSE;
    if (chunk_name_compare (&middle_name, name) < 0)
      *low = middle + 1;
    else
      *high = middle + 1; /* a hit stays within, and so does the first of equal names */
  }
  return read_entries (table, *low, *high, entries);
}

gint64
index_table_find (const IndexTable *table, const ChunkName *name)
{
  guint8 entries[BUCKET_WHOLE * ENTRY_RECORD];
  guint32 first, end;
  gboolean missed = TRUE;

  if (!find_bucket (table, name, &first, &end) || first == end)
    return -1;
  if (end - first > GUESS_ENTRIES && !read_guess (table, name, &first, &end, entries, &missed))
    return -1;
  if (missed && !read_halved (table, name, &first, &end, entries))
    return -1;
  guint32 low = 0, high = end - first;
  while (low < high) {
    guint32 middle = low + (high - low) / 2;
    if (compare_entry (entries, middle, name) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low < end - first && compare_entry (entries, low, name) == 0 ? (gint64)first + low : -1;
}

void
index_table_pack (const IndexTable *table, guint i, IndexPack *pack)
{
  guint8 record[PACK_RECORD];

  memset (pack, 0, sizeof *pack);
  if (index_source_read (table->source, table->packs_at + (guint64)i * PACK_RECORD, record,
                         sizeof record))
    index_parse_pack (record, pack);
}

/* Reads a frame's record; FALSE if it cannot be. */
static gboolean
read_frame (const IndexTable *table, guint32 i, IndexFrame *frame)
{
  guint8 record[FRAME_RECORD];

  if (i >= table->n_frames ||
      !index_source_read (table->source, table->frames_at + (guint64)i * FRAME_RECORD, record,
                          sizeof record))
    return FALSE;
  index_parse_frame (record, frame);
  return frame->pack < table->n_packs;
}

gboolean
index_table_entry (const IndexTable *table, guint i, ChunkName *name, ChunkLocation *location,
                   guint *pack)
{
  guint8 bytes[ENTRY_RECORD];
  IndexFrame frame = { 0 };
  IndexEntry entry;
  IndexPack record;

  memset (name, 0, sizeof *name);
  if (!index_source_read (table->source, table->entries_at + (guint64)i * ENTRY_RECORD, bytes,
                          sizeof bytes))
    return FALSE;
  index_parse_entry (bytes, &entry);
  *name = entry.name;
  if (!read_frame (table, entry.frame, &frame))
    return FALSE;
  index_table_pack (table, frame.pack, &record);
  location->offset = entry.offset;
  location->len = entry.len;
  location->frame = frame.frame;
  location->pack = record.name;
  location->pack_size = record.size;
  if (pack != NULL)
    *pack = frame.pack;
  return frame_info_sane (&frame.frame, record.size) && location->len > 0 &&
         location->len <= CHUNK_MAX_BYTES && location->offset <= frame.frame.raw_len &&
         location->len <= frame.frame.raw_len - location->offset;
}

gboolean
index_table_verify (const IndexTable *table, const ChunkName *hash)
{
  ChunkName actual;
  g_autoptr (GError) error = NULL;

  if (!hash_bytes (table, table->source->size, FALSE, &actual, &error))
    return index_source_fail (table->source, index_source_judge (error));
  return chunk_name_equal (&actual, hash) || index_source_fail (table->source, INDEX_BROKEN);
}

int
chunk_location_compare (const ChunkLocation *a, const ChunkLocation *b)
{
  int order = chunk_name_compare (&a->pack, &b->pack);

  if (order != 0)
    return order;
  if (a->frame.offset != b->frame.offset)
    return a->frame.offset < b->frame.offset ? -1 : 1;
  return a->offset < b->offset ? -1 : a->offset > b->offset;
}
