/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which pages are hurt, and getting them from another store. A page there is the right one if its
 * name with this store's key is the one that is missed; so any checkpoint of the guest may be asked
 * that is likely to have it: first the very same one, then those next to it in time.
 */
#include "copier.h"
#include "map-hurt.h"
#include "repair-private.h"

#include <vmckpt/util/error.h>

#include <string.h>

#define DONORS_MAX 8

/* A checkpoint's part that is being examined. */
typedef struct {
  Repair *repair;
  StoreWriter *writer; /* (nullable) */
  GPtrArray *readers;  /* of PageMapReader: the same part of likely checkpoints */
  StoreHurtPart *part;
  guint8 *hurt;    /* bitmap of pages */
  gboolean broken; /* a node of the map is lost */
} Examined;

static void
hurt_part_free (gpointer data)
{
  StoreHurtPart *part = data;
  g_free (part->role);
  g_free (part->name);
  g_array_unref (part->ranges);
  g_free (part);
}

static void
hurt_free (gpointer data)
{
  StoreHurt *hurt = data;
  g_free (hurt->id);
  g_free (hurt->guest);
  g_free (hurt->problem);
  g_free (hurt->replaced_by);
  g_ptr_array_unref (hurt->parts);
  g_free (hurt);
}

/* What check suspects may be readable: the index knows what is in a pack without a footer. */
static gboolean
is_usable (const ChunkName *name, gboolean *usable, gpointer user_data, GError **error)
{
  const Examined *examined = user_data;
  g_autofree char *blame = NULL;
  ChunkLocation location;

  *usable = check_chunk_usable (&examined->repair->check, name, &location, &blame);
  if (*usable)
    return TRUE;
  g_autoptr (GBytes) bytes = store_chunk_read (examined->repair->store, name, NULL);
  *usable = bytes != NULL;
  return TRUE;
}

/* Looks for the page in the other store. *found: it is stored again. */
static gboolean
fetch_page (Examined *examined, guint64 page, const ChunkName *name, gboolean *found,
            GError **error)
{
  Repair *repair = examined->repair;
  guint8 data[PAGE_SIZE_BYTES];
  ChunkName actual;

  *found = name_set_contains (repair->fetched, name);
  for (guint i = 0; i < examined->readers->len && !*found; i++) {
    g_autoptr (GError) cause = NULL;
    if (!page_map_reader_read (examined->readers->pdata[i], page, data, &cause)) {
      if (g_error_matches (cause, STORE_ERROR, STORE_ERROR_UNREACHABLE)) {
        g_propagate_error (error, g_steal_pointer (&cause));
        return FALSE;
      }
      continue;
    }
    chunk_name_of (&repair->store->key, data, sizeof data, &actual);
    *found = chunk_name_equal (&actual, name);
  }
  if (!*found || !name_set_add (repair->fetched, name))
    return TRUE;
  repair->report->fetched_pages++;
  g_autoptr (GBytes) bytes = g_bytes_new (data, sizeof data);
  return pipeline_add (store_writer_pipeline (examined->writer), PACK_DATA, bytes, &actual, error);
}

static gboolean
note_lost (guint64 page, const ChunkName *name, gpointer user_data, GError **error)
{
  Examined *examined = user_data;
  gboolean found = FALSE;

  examined->hurt[page / 8] |= 1 << page % 8;
  examined->part->hurt_pages++;
  if (examined->writer != NULL && !fetch_page (examined, page, name, &found, error))
    return FALSE;
  examined->part->left_pages += !found;
  return TRUE;
}

static gboolean
note_unknown (guint64 first, guint64 count, gpointer user_data, GError **error)
{
  Examined *examined = user_data;

  for (guint64 page = first; page < first + count; page++)
    examined->hurt[page / 8] |= 1 << page % 8;
  examined->part->hurt_pages += count;
  examined->part->left_pages += count;
  return TRUE;
}

static void
note_broken (gpointer user_data)
{
  ((Examined *)user_data)->broken = TRUE;
}

/* The bitmap as ranges. */
static void
list_ranges (const Examined *examined, guint64 pages)
{
  StoreHurtPart *part = examined->part;

  for (guint64 page = 0; page < pages; page++) {
    StorePageRange range = { page, 0 };
    while (page < pages && examined->hurt[page / 8] >> page % 8 & 1)
      page++;
    range.count = page - range.first;
    if (range.count > 0 && part->ranges->len < STORE_HURT_RANGES_MAX)
      g_array_append_val (part->ranges, range);
    else
      part->more_ranges += range.count > 0;
  }
}

/* Where the part may be found in the other store. (transfer full) (element-type PageMapReader) */
static GPtrArray *
open_readers (Repair *repair, GPtrArray *donors, const ManifestPart *part)
{
  GPtrArray *readers = g_ptr_array_new_with_free_func ((GDestroyNotify)page_map_reader_free);

  for (guint i = 0; donors != NULL && i < donors->len; i++) {
    const ManifestPart *other = manifest_find_part (donors->pdata[i], part->role, part->name);
    PageMapReader *reader =
        other != NULL ? page_map_reader_new (repair->from, &other->map, NULL) : NULL;
    if (reader != NULL)
      g_ptr_array_add (readers, reader);
  }
  return readers;
}

/* What a part has that is hurt goes to @hurt. *broken is set if a node of its map is lost. */
static gboolean
examine_part (Repair *repair, StoreWriter *writer, GPtrArray *donors, const ManifestPart *part,
              StoreHurt *hurt, gboolean *broken, GError **error)
{
  guint64 pages = map_pages (part->map.length);
  g_autofree guint8 *bitmap = g_malloc0 (pages / 8 + 1);
  g_autoptr (GPtrArray) readers = open_readers (repair, donors, part);
  StoreHurtPart *found = g_new0 (StoreHurtPart, 1);
  Examined examined = { repair, writer, readers, found, bitmap, FALSE };
  const MapHurtVisitor visitor = { is_usable, note_lost, note_unknown, note_broken, &examined };

  found->role = g_strdup (part->role);
  found->name = g_strdup (part->name);
  found->length = part->map.length;
  found->ranges = g_array_new (FALSE, FALSE, sizeof (StorePageRange));
  gboolean good = map_hurt (repair->store, &part->map, &visitor, repair->cancellable, error);
  list_ranges (&examined, pages);
  *broken = *broken || examined.broken;
  if (found->hurt_pages > 0)
    g_ptr_array_add (hurt->parts, found);
  else
    hurt_part_free (found);
  return good;
}

typedef struct {
  const Manifest *wanted;
  const char *identity;
  Store *from;
} Nearness;

/* The same checkpoint first, then by the distance in time. */
static int
compare_nearness (gconstpointer a, gconstpointer b, gpointer user_data)
{
  const Nearness *near = user_data;
  const Manifest *one = *(const Manifest **)a, *other = *(const Manifest **)b;
  g_autofree char *id_one = manifest_identity (one, near->from);
  g_autofree char *id_other = manifest_identity (other, near->from);
  gboolean same_one = g_str_equal (id_one, near->identity);
  gboolean same_other = g_str_equal (id_other, near->identity);
  gint64 wanted = near->wanted->created_us;

  if (same_one != same_other)
    return same_one ? -1 : 1;
  gint64 far_one = ABS (one->created_us - wanted), far_other = ABS (other->created_us - wanted);
  return far_one < far_other ? -1 : far_one > far_other;
}

/* Checkpoints of the other store that are likely to have the pages of @manifest. (transfer
 * container) */
static GPtrArray *
find_donors (Repair *repair, GPtrArray *others, const Manifest *manifest)
{
  g_autofree char *identity = manifest_identity (manifest, repair->store);
  Nearness near = { manifest, identity, repair->from };
  GPtrArray *donors = g_ptr_array_new();

  for (guint i = 0; others != NULL && i < others->len; i++) {
    Manifest *other = others->pdata[i];
    if (g_str_equal (other->guest_uuid, manifest->guest_uuid))
      g_ptr_array_add (donors, other);
  }
  g_ptr_array_sort_with_data (donors, compare_nearness, &near);
  if (donors->len > DONORS_MAX)
    g_ptr_array_set_size (donors, DONORS_MAX);
  return donors;
}

static StoreHurt *
hurt_new (const char *id, const Manifest *manifest)
{
  StoreHurt *hurt = g_new0 (StoreHurt, 1);

  hurt->id = g_strdup (id);
  hurt->parts = g_ptr_array_new_with_free_func (hurt_part_free);
  if (manifest != NULL) {
    hurt->guest = g_strdup (manifest->guest);
    hurt->created_us = manifest->created_us;
  }
  return hurt;
}

static gboolean
examine_checkpoint (Repair *repair, StoreWriter *writer, GPtrArray *others,
                    const Manifest *manifest, GError **error)
{
  StoreHurt *hurt = hurt_new (manifest->id, manifest);
  g_autoptr (GPtrArray) donors = find_donors (repair, others, manifest);
  gboolean broken = FALSE;
  guint64 left = 0;

  g_ptr_array_add (repair->report->hurt, hurt);
  for (guint i = 0; i < manifest->parts->len; i++)
    if (!examine_part (repair, writer, donors, manifest->parts->pdata[i], hurt, &broken, error))
      return FALSE;
  for (guint i = 0; i < hurt->parts->len; i++)
    left += ((StoreHurtPart *)hurt->parts->pdata[i])->left_pages;
  if (broken)
    hurt->problem = g_strdup ("a node of its page map is lost");
  hurt->healed = left == 0 && !broken;
  /* Only content that a newer run replaces is lost: that hurts nobody. */
  if (hurt->parts->len == 0 && !broken)
    g_ptr_array_set_size (repair->report->hurt, repair->report->hurt->len - 1);
  return TRUE;
}

/* Ids that check found to be hurt. (transfer full): set of char*, borrowed from the findings. */
static GHashTable *
list_suspects (Repair *repair)
{
  GHashTable *suspects = g_hash_table_new (g_str_hash, g_str_equal);

  for (guint i = 0; i < repair->report->findings->len; i++) {
    const StoreFinding *finding = repair->report->findings->pdata[i];
    for (guint j = 0; finding->checkpoints[j] != NULL; j++)
      g_hash_table_add (suspects, finding->checkpoints[j]);
  }
  return suspects;
}

gboolean
repair_hurt (Repair *repair, StoreWriter *writer, GError **error)
{
  g_autoptr (GHashTable) suspects = list_suspects (repair);
  g_autoptr (GPtrArray) others = NULL;

  repair->report->hurt = g_ptr_array_new_with_free_func (hurt_free);
  /* What was kept from before the damage is gone when the daemon is. */
  frame_cache_clear (repair->store->frames);
  if (repair->from != NULL) {
    others = store_manifest_list (repair->from, NULL, NULL, error);
    if (others == NULL)
      return FALSE;
  }
  for (guint i = 0; i < repair->check.damaged->len; i++) {
    StoreHurt *hurt = hurt_new (repair->check.damaged->pdata[i], NULL);
    hurt->problem = g_strdup ("its manifest is damaged");
    g_ptr_array_add (repair->report->hurt, hurt);
  }
  guint64 done = 0, total = check_described_bytes (&repair->check);
  progress_report (repair->progress, PHASE_READ, 0, total);
  for (guint i = 0; i < repair->check.manifests->len; i++) {
    const Manifest *manifest = repair->check.manifests->pdata[i];
    if (g_hash_table_contains (suspects, manifest->id) &&
        !examine_checkpoint (repair, writer, others, manifest, error))
      return FALSE;
    done += manifest_described_bytes (manifest);
    progress_report (repair->progress, PHASE_READ, done, total);
  }
  return TRUE;
}

/* ---- Checkpoints that are copied as a whole ---- */

static const Manifest *
find_manifest (Repair *repair, const char *id)
{
  for (guint i = 0; i < repair->check.manifests->len; i++) {
    const Manifest *manifest = repair->check.manifests->pdata[i];
    if (g_str_equal (manifest->id, id))
      return manifest;
  }
  return NULL;
}

/* The same checkpoint in the other store, borrowed from @others. */
static const Manifest *
find_same (Repair *repair, GPtrArray *others, const char *id)
{
  const Manifest *manifest = find_manifest (repair, id);
  g_autofree char *identity = manifest != NULL
                                  ? manifest_identity (manifest, repair->store)
                                  : g_strconcat (store_id (repair->store), "/", id, NULL);

  for (guint i = 0; i < others->len; i++) {
    g_autofree char *other = manifest_identity (others->pdata[i], repair->from);
    if (g_str_equal (other, identity))
      return others->pdata[i];
  }
  return NULL;
}

/* Tags that were given to @id later go over to @target. */
static gboolean
move_tags (Repair *repair, const char *id, const char *target, GError **error)
{
  g_autoptr (Manifest) old = manifest_new();
  g_autoptr (Manifest) new = store_manifest_load (repair->store, target, error);

  old->id = g_strdup (id);
  g_auto (GStrv) tags = new != NULL ? store_tags (repair->store, old, error) : NULL;
  g_auto (GStrv) have = tags != NULL ? store_tags (repair->store, new, error) : NULL;
  if (have == NULL)
    return FALSE;
  for (guint i = 0; tags[i] != NULL; i++)
    if (!g_strv_contains ((const char *const *)have, tags[i]) &&
        !store_tag_add (repair->store, target, tags[i], error))
      return FALSE;
  return TRUE;
}

/* Copies one, and removes the damaged one when its replacement is durable. */
static gboolean
replace (Repair *repair, Copier *copier, const Manifest *same, StoreHurt *hurt, GError **error)
{
  g_autoptr (StoreCopied) copied = g_new0 (StoreCopied, 1);
  const Manifest *there = copier_find (copier, same);
  g_autoptr (GError) cause = NULL;

  /* An earlier repair may have been killed between the two. */
  if (there != NULL) {
    copied->id = g_strdup (there->id);
  } else if (!copier_copy (copier, same, copied, repair->progress, repair->cancellable, &cause)) {
    if (copied->id == NULL && g_error_matches (cause, STORE_ERROR, STORE_ERROR_DAMAGED))
      return TRUE; /* the other store's is damaged too */
    g_propagate_error (error, g_steal_pointer (&cause));
    return FALSE;
  }
  /* A checkpoint that was such a copy itself, with the same pages, gets the same id: then it is
   * whole again as it is. */
  if (g_str_equal (copied->id, hurt->id)) {
    hurt->healed = TRUE;
    return TRUE;
  }
  if (!move_tags (repair, hurt->id, copied->id, error) ||
      !store_manifest_remove (repair->store, hurt->id, error))
    return FALSE;
  hurt->replaced_by = g_steal_pointer (&copied->id);
  return TRUE;
}

gboolean
repair_replace (Repair *repair, GError **error)
{
  g_autoptr (GHashTable) ignore = g_hash_table_new (g_str_hash, g_str_equal);
  GPtrArray *all = repair->report->hurt;

  for (guint i = 0; i < all->len; i++)
    if (!((StoreHurt *)all->pdata[i])->healed)
      g_hash_table_add (ignore, ((StoreHurt *)all->pdata[i])->id);
  if (repair->from == NULL || g_hash_table_size (ignore) == 0)
    return TRUE;
  g_autoptr (GPtrArray) others = store_manifest_list (repair->from, NULL, NULL, error);
  g_autoptr (Copier) copier =
      others != NULL ? copier_new (repair->from, repair->store, repair->avoid, ignore, error)
                     : NULL;
  if (copier == NULL)
    return FALSE;
  for (guint i = 0; i < all->len; i++) {
    StoreHurt *hurt = all->pdata[i];
    const Manifest *same = hurt->healed ? NULL : find_same (repair, others, hurt->id);
    if (same != NULL && !replace (repair, copier, same, hurt, error))
      return FALSE;
  }
  return TRUE;
}
