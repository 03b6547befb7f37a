/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One checkpoint from store to store:
 *
 *   source map ─┐ compare: pages that differ ─▶ read, verified ─▶ page-map writer on the copy
 *   source base ┘ (all of them without a base)                     of the base in the other store
 *
 * The base is the newest checkpoint of the same guest, not after this one, that both stores have.
 */
#include "copier.h"

#include "page-node.h"
#include "writer-private.h"

#include <vmckpt/store/hint.h>
#include <vmckpt/util/error.h>

#include <string.h>

/* So much new content is published at a time: after an interruption it is found again. */
#define PUBLISH_BYTES (G_GUINT64_CONSTANT (1) << 30)

struct _Copier {
  Store *from, *to;
  GHashTable *avoid;  /* (nullable) */
  GPtrArray *sources; /* of Manifest: all of `from`, oldest first */
  GHashTable *there;  /* identity → Manifest of `to` */
};

static void
add_there (Copier *copier, Manifest *manifest)
{
  g_hash_table_insert (copier->there, manifest_identity (manifest, copier->to), manifest);
}

Copier *
copier_new (Store *from, Store *to, GHashTable *avoid, GHashTable *ignore, GError **error)
{
  g_autoptr (Copier) copier = g_new0 (Copier, 1);
  g_autoptr (GPtrArray) targets = store_manifest_list (to, NULL, NULL, error);

  copier->from = store_ref (from);
  copier->to = store_ref (to);
  copier->avoid = avoid != NULL ? g_hash_table_ref (avoid) : NULL;
  copier->there =
      g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify)manifest_free);
  copier->sources = targets != NULL ? store_manifest_list (from, NULL, NULL, error) : NULL;
  if (copier->sources == NULL)
    return NULL;
  while (targets->len > 0) {
    g_autoptr (Manifest) manifest = g_ptr_array_steal_index (targets, targets->len - 1);
    if (ignore == NULL || !g_hash_table_contains (ignore, manifest->id))
      add_there (copier, g_steal_pointer (&manifest));
  }
  return g_steal_pointer (&copier);
}

void
copier_free (Copier *copier)
{
  if (copier == NULL)
    return;
  store_unref (copier->from);
  store_unref (copier->to);
  g_clear_pointer (&copier->avoid, g_hash_table_unref);
  g_clear_pointer (&copier->sources, g_ptr_array_unref);
  g_clear_pointer (&copier->there, g_hash_table_unref);
  g_free (copier);
}

const Manifest *
copier_find (Copier *copier, const Manifest *manifest)
{
  g_autofree char *identity = manifest_identity (manifest, copier->from);
  return g_hash_table_lookup (copier->there, identity);
}

/* The checkpoint to build on, and its copy; NULL if there is none. */
static const Manifest *
find_base (Copier *copier, const Manifest *manifest, const Manifest **copy)
{
  for (guint i = copier->sources->len; i-- > 0;) {
    const Manifest *source = copier->sources->pdata[i];
    if (source->created_us > manifest->created_us || g_str_equal (source->id, manifest->id) ||
        !g_str_equal (source->guest_uuid, manifest->guest_uuid))
      continue;
    *copy = copier_find (copier, source);
    if (*copy != NULL)
      return source;
  }
  return NULL;
}

/* One part on its way. */
typedef struct {
  Copier *copier;
  StoreWriter *writer;
  PageMapWriter *pages;
  guint64 n_pages;
  guint8 *wanted; /* bitmap */
  StoreCopied *copied;
  guint64 *published; /* new bytes at the last flush */
  GCancellable *cancellable;
  GError *error; /* of a PageDiffFunc, which cannot return one */
} PartCopy;

static gboolean
put_page (guint64 page, const guint8 *data, gpointer user_data, GError **error)
{
  PartCopy *part = user_data;
  StoreWriterStats stats;

  if (!page_map_writer_put (part->pages, page, data, error))
    return FALSE;
  if (++part->copied->pages_read % BATCH_PAGES != 0)
    return TRUE;
  store_writer_stats (part->writer, &stats);
  if (stats.new_bytes - *part->published < PUBLISH_BYTES)
    return TRUE;
  *part->published = stats.new_bytes;
  return store_writer_flush (part->writer, part->cancellable, error);
}

/* A PageDiffFunc. */
static gboolean
want_page (guint64 page, const ChunkName *former, const ChunkName *name, gpointer user_data)
{
  PartCopy *part = user_data;

  if (page >= part->n_pages)
    return TRUE;
  if (!chunk_name_is_zero (name))
    part->wanted[page / 8] |= 1 << page % 8;
  else if (!page_map_writer_put (part->pages, page, NULL, &part->error))
    return FALSE;
  return TRUE;
}

/* Finds the pages that differ from the base; pages of zeros among them are put right away. */
static gboolean
find_wanted (PartCopy *part, const PageMap *base, const PageMap *map, GError **error)
{
  part->wanted = g_malloc0 (part->n_pages / 8 + NODE_FANOUT / 8);
  if (!page_map_diff (part->copier->from, base, map, want_page, part, error))
    return FALSE;
  if (part->error == NULL)
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&part->error));
  return FALSE;
}

/* Opens the writer on the base's copy; a base that is gone does without. *@based: it did not. */
static PageMapWriter *
open_writer (StoreWriter *writer, guint64 length, const PageMap *base, gboolean *based,
             GError **error)
{
  g_autoptr (GError) cause = NULL;
  PageMapWriter *pages = page_map_writer_new (writer, length, base, &cause);

  *based = pages != NULL && base != NULL;
  if (pages != NULL)
    return pages;
  if (base != NULL && (g_error_matches (cause, STORE_ERROR, STORE_ERROR_NOT_FOUND) ||
                       g_error_matches (cause, STORE_ERROR, STORE_ERROR_DAMAGED)))
    return page_map_writer_new (writer, length, NULL, error);
  g_propagate_error (error, g_steal_pointer (&cause));
  return NULL;
}

static gboolean
copy_pages (PartCopy *part, const PageMap *from_base, const PageMap *to_base, const PageMap *map,
            PageMap *result, const Progress *progress, GError **error)
{
  gboolean based;
  g_autoptr (PageMapReader) reader = page_map_reader_new (part->copier->from, map, error);
  g_autoptr (PageMapWriter) pages =
      reader != NULL ? open_writer (part->writer, map->length, to_base, &based, error) : NULL;

  if (pages == NULL)
    return FALSE;
  part->pages = pages;
  if (based) {
    if (!find_wanted (part, from_base, map, error) ||
        !page_map_reader_foreach_of (reader, part->wanted, put_page, part, progress,
                                     part->cancellable, error))
      return FALSE;
  } else if (!page_map_reader_foreach (reader, FALSE, put_page, part, progress, part->cancellable,
                                       error)) {
    return FALSE;
  }
  return page_map_writer_finish (pages, result, NULL, error);
}

/* What all parts of one checkpoint share. */
typedef struct {
  Copier *copier;
  StoreWriter *writer;
  const Manifest *base, *base_copy; /* (nullable) */
  StoreCopied *copied;
  guint64 published;
  const Progress *progress;
  guint64 done, total;
  GCancellable *cancellable;
} CheckpointCopy;

static void
report_part (Phase phase, guint64 done, guint64 total, gpointer user_data)
{
  const CheckpointCopy *copy = user_data;
  progress_report (copy->progress, phase, copy->done + done, copy->total);
}

static gboolean
copy_part (CheckpointCopy *copy, const ManifestPart *part, Manifest *target, GError **error)
{
  ERROR_PREFIX (error, "%s %s", part->role, part->name);
  const Progress progress = { report_part, copy };
  PartCopy work = { .copier = copy->copier,
                    .writer = copy->writer,
                    .n_pages = map_pages (part->map.length),
                    .copied = copy->copied,
                    .published = &copy->published,
                    .cancellable = copy->cancellable };
  const ManifestPart *from_base = NULL, *to_base = NULL;
  PageMap map = part->map;

  if (copy->base != NULL) {
    from_base = manifest_find_part (copy->base, part->role, part->name);
    to_base = manifest_find_part (copy->base_copy, part->role, part->name);
  }
  gboolean based = from_base != NULL && to_base != NULL;
  if (!chunk_name_is_zero (&part->map.root)) {
    gboolean good = copy_pages (&work, based ? &from_base->map : NULL, based ? &to_base->map : NULL,
                                &part->map, &map, &progress, error);
    g_free (work.wanted);
    g_clear_error (&work.error);
    if (!good)
      return FALSE;
  }
  manifest_add_part (target, part->role, part->name, &map);
  copy->done += part->map.length;
  progress_report (copy->progress, PHASE_READ, copy->done, copy->total);
  return TRUE;
}

/* The manifest of the copy, but for its parts. */
static Manifest *
describe (Copier *copier, const Manifest *manifest)
{
  Manifest *target = manifest_new();
  gboolean copied = manifest->origin_id != NULL;

  target->guest = g_strdup (manifest->guest);
  target->guest_uuid = g_strdup (manifest->guest_uuid);
  target->host = g_strdup (manifest->host);
  target->engine = g_strdup (manifest->engine);
  target->mode = g_strdup (manifest->mode);
  target->tag = g_strdup (manifest->tag);
  target->note = g_strdup (manifest->note);
  target->created_us = manifest->created_us;
  target->origin_store = g_strdup (copied ? manifest->origin_store : store_id (copier->from));
  target->origin_id = g_strdup (copied ? manifest->origin_id : manifest->id);
  if (manifest->machine != NULL)
    target->machine = json_object_ref (manifest->machine);
  if (manifest->report != NULL)
    target->report = json_object_ref (manifest->report);
  /* The parent's id in the other store; one that is not there is no use as a hint. */
  for (guint i = 0; manifest->parent != NULL && i < copier->sources->len; i++) {
    const Manifest *source = copier->sources->pdata[i];
    if (!g_str_equal (source->id, manifest->parent))
      continue;
    const Manifest *parent = copier_find (copier, source);
    target->parent = parent != NULL ? g_strdup (parent->id) : NULL;
  }
  return target;
}

/* A hint that cannot be had does not matter. */
static void
copy_hint (Copier *copier, const Manifest *manifest, const Manifest *target)
{
  g_autoptr (GBytes) hint = store_hint_get (copier->from, manifest->id, NULL);

  if (hint != NULL)
    store_hint_put (copier->to, target->id, hint, NULL);
}

gboolean
copier_copy_extras (Copier *copier, const Manifest *manifest, const Manifest *target,
                    GError **error)
{
  g_auto (GStrv) wanted = store_tags (copier->from, manifest, error);
  g_auto (GStrv) have = wanted != NULL ? store_tags (copier->to, target, error) : NULL;

  if (have == NULL)
    return FALSE;
  copy_hint (copier, manifest, target);
  for (guint i = 0; wanted[i] != NULL; i++)
    if (!g_strv_contains ((const char *const *)have, wanted[i]) &&
        !store_tag_add (copier->to, target->id, wanted[i], error))
      return FALSE;
  return TRUE;
}

gboolean
copier_copy (Copier *copier, const Manifest *manifest, StoreCopied *copied,
             const Progress *progress, GCancellable *cancellable, GError **error)
{
  ERROR_PREFIX (error, "copying checkpoint %.16s of %s", manifest->id, manifest->guest);
  g_autoptr (StoreWriter) writer = store_writer_begin_avoiding (copier->to, copier->avoid, error);
  g_autoptr (Manifest) target = describe (copier, manifest);
  CheckpointCopy copy = { .copier = copier,
                          .writer = writer,
                          .copied = copied,
                          .progress = progress,
                          .cancellable = cancellable };
  StoreWriterStats stats;

  if (writer == NULL)
    return FALSE;
  /* A repair puts back what was there: it is not bound. */
  if (copier->avoid == NULL && !store_writer_enforce_quota (writer, manifest->guest, error))
    return FALSE;
  copy.base = find_base (copier, manifest, &copy.base_copy);
  copy.total = manifest_described_bytes (manifest);
  for (guint i = 0; i < manifest->parts->len; i++)
    if (!copy_part (&copy, manifest->parts->pdata[i], target, error))
      return FALSE;
  if (!store_writer_commit (writer, target, cancellable, error))
    return FALSE;
  store_writer_stats (writer, &stats);
  copied->id = g_strdup (target->id);
  copied->new_bytes = stats.new_bytes;
  copied->stored_bytes = stats.stored_bytes;
  const Manifest *made = target;
  add_there (copier, g_steal_pointer (&target));
  return copier_copy_extras (copier, manifest, made, error);
}
