/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading and verifying what packs hold, on several threads, pack by pack. */
#include "check-private.h"
#include "pack-set.h"
#include "work-queue.h"

#define READERS_MAX 4

typedef struct {
  Check *check;
  guint64 done, total; /* (check->lock) bytes of packs */
  GPtrArray *errors;   /* (check->lock) of GError: what kept us from reading */
} ReadAll;

/* Notes a chunk that could not be read where it is. */
static void
note_bad_read (Check *check, const ChunkName *pack, const ChunkName *name)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&check->lock);

  g_array_append_val (check->bad_reads, *name);
  pack_set_add (check->hurt_packs, pack);
}

/* Verifies one delta; FALSE if that itself is wrong. A base that is gone is right if no checkpoint
 * needs the delta; the walk of the checkpoints finds it if one does. */
static gboolean
check_delta (Check *check, const ChunkName *name, const ChunkLocation *location, GBytes *frame,
             GError **error)
{
  g_autoptr (GError) cause = NULL;
  ChunkLocation place;
  Delta delta;

  if (!store_delta_in_frame (location, frame, &delta, error))
    return FALSE;
  if (!index_view_find_full (check->view, &delta.base, check->bad_packs, TRUE, &place))
    return TRUE;
  g_autoptr (GBytes) base = store_chunk_read_full (check->store, &delta.base, &cause);
  if (base != NULL && g_bytes_get_size (base) == PAGE_SIZE_BYTES) {
    g_autofree guint8 *page = g_memdup2 (g_bytes_get_data (base, NULL), PAGE_SIZE_BYTES);
    return store_delta_apply (check->store, name, location, &delta, page, error);
  }
  if (base != NULL) {
    g_set_error_literal (error, STORE_ERROR, STORE_ERROR_DAMAGED, "a delta to what is no page");
    return FALSE;
  }
  /* Its pack may not be among those that are read. */
  if (g_error_matches (cause, STORE_ERROR, STORE_ERROR_DAMAGED) &&
      !check_gone_rightly (check, &place.pack)) {
    g_autofree char *object = object_name ("packs", &place.pack);
    check_note (check, object, "holds data that is not what its footer says");
    note_bad_read (check, &place.pack, &delta.base);
  }
  return TRUE;
}

static gboolean
check_chunk (Check *check, const ChunkName *name, const ChunkLocation *location, GBytes *frame,
             GError **error)
{
  if (location->frame.codec == FRAME_DELTA)
    return check_delta (check, name, location, frame, error);
  return store_chunk_in_frame (check->store, name, location, frame, error) != NULL;
}

/* Verifies the chunks of one frame; FALSE if any is wrong. */
static gboolean
check_frame (Check *check, const ChunkName *pack, const PackFooter *footer, const FrameInfo *info,
             const PackChunk *chunks, GError **error)
{
  ChunkLocation location = { .pack = *pack, .pack_size = footer->pack_size, .frame = *info };
  g_autoptr (GBytes) frame = store_frame_read (check->store, &location, FALSE, error);
  gboolean good = frame != NULL;

  if (frame == NULL && check_gone_rightly (check, pack)) {
    g_clear_error (error);
    return TRUE;
  }
  for (guint i = 0; i < info->chunks; i++) {
    location.offset = chunks[i].offset;
    location.len = chunks[i].len;
    if (frame != NULL &&
        check_chunk (check, &chunks[i].name, &location, frame, good ? error : NULL))
      continue;
    good = FALSE;
    note_bad_read (check, pack, &chunks[i].name);
  }
  return good;
}

/* Notes what is wrong with a pack that was being read. */
static void
note_read_error (ReadAll *all, const ChunkName *pack, GError *error)
{
  g_autofree char *object = object_name ("packs", pack);

  if (g_error_matches (error, STORE_ERROR, STORE_ERROR_DAMAGED)) {
    check_note (all->check, object, "holds data that is not what its footer says");
    return;
  }
  /* An unreadable medium is damage too; a store that is gone is not. */
  if (error->domain == G_IO_ERROR && error->code != G_IO_ERROR_CANCELLED) {
    check_note (all->check, object, error->message);
    return;
  }
  g_mutex_lock (&all->check->lock);
  g_ptr_array_add (all->errors, g_error_copy (error));
  g_mutex_unlock (&all->check->lock);
}

/* A WorkFunc: reads one pack. */
static void
read_pack (gpointer data, gpointer user_data)
{
  const ChunkName *pack = data;
  ReadAll *all = user_data;
  Check *check = all->check;

  if (g_cancellable_is_cancelled (check->cancellable))
    return;
  g_autoptr (PackFooter) footer =
      pack_footer_load (check->store->backend, &check->store->key, pack, NULL);
  if (footer == NULL)
    return; /* noted before, or the pack of a writer that gave up */
  const PackChunk *chunks = footer->chunks;
  for (guint i = 0; i < footer->n_frames; chunks += footer->frames[i].chunks, i++) {
    g_autoptr (GError) error = NULL;
    if (!check_frame (check, pack, footer, &footer->frames[i], chunks, &error))
      note_read_error (all, pack, error);
  }
  g_mutex_lock (&check->lock);
  all->done += footer->pack_size;
  progress_report (check->progress, PHASE_READ, all->done, all->total);
  g_mutex_unlock (&check->lock);
}

/* TRUE if the pack belongs to what is to be read. */
static gboolean
is_chosen (const Check *check, const ChunkName *pack)
{
  const StoreSubset *subset = &check->subset;

  if (g_hash_table_contains (check->bad_packs, pack))
    return FALSE;
  if (subset->parts > 0)
    return chunk_name_hash (pack) % subset->parts == subset->part - 1;
  return subset->share <= 0 || g_random_double() < subset->share;
}

/* Of the chunks that could not be read, those that no other pack has either are bad. */
static gboolean
try_other_copies (Check *check, GError **error)
{
  /* What was kept from before the damage is no copy. */
  if (check->bad_reads->len > 0)
    frame_cache_clear (check->store->frames);
  for (guint i = 0; i < check->bad_reads->len; i++) {
    const ChunkName *name = &g_array_index (check->bad_reads, ChunkName, i);
    g_autoptr (GError) cause = NULL;
    g_autoptr (GBytes) full = store_chunk_read_full (check->store, name, NULL);
    if (g_cancellable_set_error_if_cancelled (check->cancellable, error))
      return FALSE;
    if (full != NULL)
      continue;
    name_set_add (check->bad_bases, name);
    g_autoptr (GBytes) bytes = store_chunk_read (check->store, name, &cause);
    if (bytes == NULL)
      name_set_add (check->bad_chunks, name);
  }
  return TRUE;
}

gboolean
check_data (Check *check, GError **error)
{
  g_autoptr (GPtrArray) errors = g_ptr_array_new_with_free_func ((GDestroyNotify)g_error_free);
  ReadAll all = { .check = check, .errors = errors };
  GHashTableIter iter;
  gpointer pack, size;

  g_autoptr (GPtrArray) chosen = g_ptr_array_new();
  g_hash_table_iter_init (&iter, check->listed);
  while (g_hash_table_iter_next (&iter, &pack, &size)) {
    if (!is_chosen (check, pack))
      continue;
    g_ptr_array_add (chosen, pack);
    all.total += *(guint64 *)size;
  }
  progress_report (check->progress, PHASE_READ, 0, all.total);
  g_autoptr (WorkQueue) queue = work_queue_new (READERS_MAX, read_pack, &all, error);
  if (queue == NULL)
    return FALSE;
  for (guint i = 0; i < chosen->len; i++)
    work_queue_push (queue, chosen->pdata[i]);
  work_queue_free (g_steal_pointer (&queue));
  if (errors->len > 0) {
    g_propagate_error (error, g_error_copy (errors->pdata[0]));
    return FALSE;
  }
  return !g_cancellable_set_error_if_cancelled (check->cancellable, error) &&
         try_other_copies (check, error);
}

gboolean
store_subset_parse (const char *text, StoreSubset *subset, GError **error)
{
  char *end;
  guint64 part, parts;

  *subset = (StoreSubset){ 0 };
  if (g_ascii_isdigit (*text)) {
    double percent = g_ascii_strtod (text, &end);
    if (g_str_equal (end, "%") && percent > 0 && percent <= 100) {
      subset->share = percent < 100 ? percent / 100 : 0;
      return TRUE;
    }
    part = g_ascii_strtoull (text, &end, 10);
    if (*end == '/' && g_ascii_isdigit (end[1])) {
      parts = g_ascii_strtoull (end + 1, &end, 10);
      if (*end == '\0' && part >= 1 && part <= parts && parts <= G_MAXUINT16) {
        subset->part = part;
        subset->parts = parts;
        return TRUE;
      }
    }
  }
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
               "'%.32s' is no subset: say 10%% or 2/7", text);
  return FALSE;
}
