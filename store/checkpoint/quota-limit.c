/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "quota-limit.h"

#include "store-private.h"

#include <vmckpt/store/quota.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/json.h>

/* A listing is used again for so many times as long as it took, so that a great store is not listed
 * all the time, and only while at most this part of the limit is used: there it need not be exact.
 */
#define LISTING_LASTS 20
#define LISTING_ENOUGH(limit) ((limit) / 2)

void
quota_room_free (QuotaRoom *room)
{
  if (room == NULL)
    return;
  for (guint i = 0; i < room->count; i++)
    g_free (room->limits[i].guest);
  g_free (room);
}

static gboolean
add_size (const char *name, guint64 size, gint64 mtime_us, gpointer user_data)
{
  *(guint64 *)user_data += size;
  return TRUE;
}

gboolean
store_quota_used (Store *store, guint64 *bytes, GError **error)
{
  gint64 began_us = g_get_monotonic_time();

  *bytes = 0;
  if (!store_list (store, "", add_size, bytes, error))
    return FALSE;
  gint64 now_us = g_get_monotonic_time();
  g_mutex_lock (&store->lock);
  store->used_bytes = *bytes;
  store->used_until_us = now_us + LISTING_LASTS * (now_us - began_us);
  g_mutex_unlock (&store->lock);
  return TRUE;
}

/* As store_quota_used(), but a recent listing will do if it leaves much of @limit. */
static gboolean
used_roughly (Store *store, guint64 limit, guint64 *bytes, GError **error)
{
  g_mutex_lock (&store->lock);
  gboolean good =
      g_get_monotonic_time() < store->used_until_us && store->used_bytes <= LISTING_ENOUGH (limit);
  *bytes = store->used_bytes;
  g_mutex_unlock (&store->lock);
  return good || store_quota_used (store, bytes, error);
}

GHashTable *
store_quota_used_by_guests (Store *store, GError **error)
{
  g_autoptr (GPtrArray) damaged = NULL;
  g_autoptr (GPtrArray) manifests = store_manifest_list (store, NULL, &damaged, error);
  GHashTable *guests;

  if (manifests == NULL)
    return NULL;
  guests = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  for (guint i = 0; i < manifests->len; i++) {
    const Manifest *manifest = manifests->pdata[i];
    guint64 *sum = g_hash_table_lookup (guests, manifest->guest);
    guint64 bytes =
        manifest->report != NULL ? json_get_uint64_or (manifest->report, "stored_bytes", 0) : 0;
    if (sum == NULL) {
      sum = g_new0 (guint64, 1);
      g_hash_table_insert (guests, g_strdup (manifest->guest), sum);
    }
    *sum = bytes > G_MAXINT64 - *sum ? G_MAXINT64 : *sum + bytes;
  }
  return guests;
}

static gboolean
used_by (Store *store, const char *guest, guint64 *bytes, GError **error)
{
  g_autoptr (GHashTable) guests = store_quota_used_by_guests (store, error);

  if (guests == NULL)
    return FALSE;
  const guint64 *sum = g_hash_table_lookup (guests, guest);
  *bytes = sum != NULL ? *sum : 0;
  return TRUE;
}

QuotaRoom *
quota_room_new (Store *store, const char *guest, GError **error)
{
  g_autoptr (StoreQuota) quota = store_quota_get (store, error);
  g_autoptr (QuotaRoom) room = g_new0 (QuotaRoom, 1);

  if (quota == NULL)
    return NULL;
  const guint64 *guest_limit = g_hash_table_lookup (quota->guests, guest);
  if (quota->store_limit > 0) {
    QuotaLimit *limit = &room->limits[room->count++];
    limit->limit = quota->store_limit;
    if (!used_roughly (store, limit->limit, &limit->used, error))
      return NULL;
  }
  if (guest_limit != NULL) {
    QuotaLimit *limit = &room->limits[room->count++];
    limit->guest = g_strdup (guest);
    limit->limit = *guest_limit;
    if (!used_by (store, guest, &limit->used, error))
      return NULL;
  }
  return g_steal_pointer (&room);
}

/* "4.2 MiB", with a plain space: it is searched for. */
static char *
size_text (guint64 bytes)
{
  g_autofree char *text = g_format_size_full (bytes, G_FORMAT_SIZE_IEC_UNITS);
  g_auto (GStrv) words = g_strsplit (text, "\302\240", -1);

  return g_strjoinv (" ", words);
}

static void
set_refused (const QuotaLimit *limit, guint64 own, GError **error)
{
  const char *how = own > 0 ? "would be passed" : "is reached";
  g_autofree char *used = size_text (limit->used);
  g_autofree char *more = size_text (own);
  g_autofree char *most = size_text (limit->limit);
  g_autofree char *need = own > 0 ? g_strdup_printf (" and %s more would be", more) : g_strdup ("");

  if (limit->guest != NULL)
    g_set_error (
        error, STORE_ERROR, STORE_ERROR_QUOTA,
        "the quota of guest %s %s: %s of %s are used%s; 'vmckpt forget' or 'vmckpt "
        "rm' of its checkpoints makes room, 'vmckpt store quota --guest %s=SIZE' raises it",
        limit->guest, how, used, most, need, limit->guest);
  else
    g_set_error (
        error, STORE_ERROR, STORE_ERROR_QUOTA,
        "the quota of the store %s: %s of %s are used%s; 'vmckpt forget' or 'vmckpt "
        "rm' and then 'vmckpt store gc' makes room, 'vmckpt store quota --store-limit SIZE' "
        "raises it",
        how, used, most, need);
}

gboolean
quota_room_allows (const QuotaRoom *room, guint64 own, GError **error)
{
  for (guint i = 0; i < room->count; i++) {
    const QuotaLimit *limit = &room->limits[i];
    guint64 left = limit->used < limit->limit ? limit->limit - limit->used : 0;
    if (left > 0 && own <= left)
      continue;
    set_refused (limit, own, error);
    return FALSE;
  }
  return TRUE;
}
