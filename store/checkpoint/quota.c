/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* quota/N: the limits, all in each object, of which the last counts (numbered.h). */
#include "quota-private.h"

#include "numbered.h"
#include "text-object.h"

#include <vmckpt/util/error.h>
#include <vmckpt/util/json.h>
#include <vmckpt/util/name.h>

#include <string.h>

#define QUOTA_MAGIC "vmckpt-quota"
#define QUOTA_PREFIX "quota/"

static StoreQuota *
quota_new (void)
{
  StoreQuota *quota = g_new0 (StoreQuota, 1);
  quota->guests = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  return quota;
}

void
store_quota_free (StoreQuota *quota)
{
  if (quota == NULL)
    return;
  g_hash_table_unref (quota->guests);
  g_free (quota);
}

GBytes *
quota_to_bytes (const StoreQuota *quota, const HashKey *key)
{
  g_autoptr (JsonObject) object = json_object_new();
  g_autoptr (GList) names =
      g_list_sort (g_hash_table_get_keys (quota->guests), (GCompareFunc)strcmp);
  JsonObject *guests = json_object_new();

  if (quota->store_limit > 0)
    json_object_set_int_member (object, "store_limit", (gint64)quota->store_limit);
  for (GList *name = names; name != NULL; name = name->next) {
    const guint64 *limit = g_hash_table_lookup (quota->guests, name->data);
    json_object_set_int_member (guests, name->data, (gint64)*limit);
  }
  json_object_set_object_member (object, "guests", guests);
  json_object_set_int_member (object, "set_us", g_get_real_time());
  return text_object_write (QUOTA_MAGIC, object, key);
}

static gboolean
set_wrong (GError **error, const char *what)
{
  g_set_error_literal (error, STORE_ERROR, STORE_ERROR_DAMAGED, what);
  return FALSE;
}

static gboolean
parse_guests (JsonObject *object, GHashTable *guests, GError **error)
{
  g_autoptr (GList) names = json_object_get_members (object);

  if (json_object_get_size (object) > QUOTA_GUESTS_MAX)
    return set_wrong (error, "it has limits of too many guests");
  for (GList *name = names; name != NULL; name = name->next) {
    guint64 limit;
    if (!name_check (name->data, "guest name", NULL) ||
        !json_get_uint64 (object, name->data, &limit, NULL) || limit == 0 ||
        limit > QUOTA_LIMIT_MAX)
      return set_wrong (error, "it has a limit of a guest that cannot be");
    g_hash_table_insert (guests, g_strdup (name->data), g_memdup2 (&limit, sizeof limit));
  }
  return TRUE;
}

StoreQuota *
quota_from_bytes (GBytes *bytes, const HashKey *key, GError **error)
{
  g_autoptr (JsonObject) object = text_object_read (bytes, QUOTA_MAGIC, key, error);
  g_autoptr (StoreQuota) quota = quota_new();

  if (object == NULL)
    return NULL;
  JsonObject *guests = json_get_object (object, "guests", NULL);
  if (json_object_has_member (object, "store_limit") &&
      (!json_get_uint64 (object, "store_limit", &quota->store_limit, NULL) ||
       quota->store_limit == 0 || quota->store_limit > QUOTA_LIMIT_MAX)) {
    set_wrong (error, "it has a limit of the store that cannot be");
    return NULL;
  }
  if (guests == NULL || !parse_guests (guests, quota->guests, error)) {
    if (guests == NULL)
      set_wrong (error, "it has no limits of guests");
    return NULL;
  }
  return g_steal_pointer (&quota);
}

/* As store_quota_get(); @number: also set when the object is damaged. */
static StoreQuota *
read_quota (Store *store, guint64 *number, GError **error)
{
  g_autoptr (GError) cause = NULL;
  g_autoptr (GBytes) bytes = numbered_read (store, QUOTA_PREFIX, number, &cause);
  StoreQuota *quota = NULL;

  if (bytes != NULL)
    quota = quota_from_bytes (bytes, &store->key, &cause);
  else if (cause == NULL)
    quota = quota_new();
  if (quota != NULL) {
    quota->number = *number;
    return quota;
  }
  if (g_error_matches (cause, STORE_ERROR, STORE_ERROR_DAMAGED))
    g_set_error (error, STORE_ERROR, STORE_ERROR_DAMAGED,
                 "the limits (" QUOTA_PREFIX "%" G_GUINT64_FORMAT
                 ") are damaged: %s; set them anew with 'vmckpt store quota'",
                 *number, cause->message);
  else
    g_propagate_error (error, g_steal_pointer (&cause));
  return NULL;
}

StoreQuota *
store_quota_get (Store *store, GError **error)
{
  ERROR_PREFIX (error, "reading the quota of the store %s", store_location (store));
  guint64 number = 0;

  return read_quota (store, &number, error);
}

static gboolean
check_limit (guint64 limit, GError **error)
{
  if (limit <= QUOTA_LIMIT_MAX)
    return TRUE;
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
               "%" G_GUINT64_FORMAT " bytes are more than a limit can be, 1 EiB", limit);
  return FALSE;
}

/* Applies what store_quota_change() got to @quota. */
static gboolean
apply_change (StoreQuota *quota, const guint64 *store_limit, GHashTable *guests, GError **error)
{
  GHashTableIter iter;
  gpointer name, limit;

  if (store_limit != NULL && !check_limit (*store_limit, error))
    return FALSE;
  if (store_limit != NULL)
    quota->store_limit = *store_limit;
  if (guests == NULL)
    return TRUE;
  g_hash_table_iter_init (&iter, guests);
  while (g_hash_table_iter_next (&iter, &name, &limit)) {
    if (!name_check (name, "guest name", error) || !check_limit (*(guint64 *)limit, error))
      return FALSE;
    if (*(guint64 *)limit == 0)
      g_hash_table_remove (quota->guests, name);
    else
      g_hash_table_insert (quota->guests, g_strdup (name), g_memdup2 (limit, sizeof (guint64)));
  }
  if (g_hash_table_size (quota->guests) <= QUOTA_GUESTS_MAX)
    return TRUE;
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
               "more than %d guests cannot have limits", QUOTA_GUESTS_MAX);
  return FALSE;
}

gboolean
store_quota_change (Store *store, const guint64 *store_limit, GHashTable *guests, GError **error)
{
  ERROR_PREFIX (error, "setting the quota of the store %s", store_location (store));

  for (int attempt = 0; attempt < NUMBERED_ATTEMPTS_MAX; attempt++) {
    g_autoptr (GError) cause = NULL;
    guint64 number = 0;
    gboolean done;
    g_autoptr (StoreQuota) quota = read_quota (store, &number, &cause);
    if (g_error_matches (cause, STORE_ERROR, STORE_ERROR_DAMAGED)) {
      quota = quota_new();
    } else if (quota == NULL) {
      g_propagate_error (error, g_steal_pointer (&cause));
      return FALSE;
    }
    if (!apply_change (quota, store_limit, guests, error))
      return FALSE;
    g_autoptr (GBytes) bytes =
        store_text_pad (store, quota_to_bytes (quota, &store->key), &store->key);
    if (!numbered_put_next (store, QUOTA_PREFIX, number, bytes, &done, error))
      return FALSE;
    if (done)
      return TRUE;
  }
  g_set_error_literal (error, STORE_ERROR, STORE_ERROR_IN_USE,
                       "too many others are setting it at the same time");
  return FALSE;
}

gboolean
quota_check (Store *store, GPtrArray *damaged, GError **error)
{
  g_autoptr (GError) cause = NULL;
  guint64 number = 0;
  g_autoptr (StoreQuota) quota = read_quota (store, &number, &cause);

  if (quota != NULL)
    return TRUE;
  if (!g_error_matches (cause, STORE_ERROR, STORE_ERROR_DAMAGED)) {
    g_propagate_error (error, g_steal_pointer (&cause));
    return FALSE;
  }
  g_ptr_array_add (damaged, numbered_object (QUOTA_PREFIX, number));
  return TRUE;
}
