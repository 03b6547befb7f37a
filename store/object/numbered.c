/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "numbered.h"

#include <string.h>

char *
numbered_object (const char *prefix, guint64 number)
{
  return g_strdup_printf ("%s%" G_GUINT64_FORMAT, prefix, number);
}

static gboolean
note_greatest (const char *name, guint64 size, gint64 mtime_us, gpointer user_data)
{
  guint64 number, *greatest = user_data;

  if (g_ascii_string_to_unsigned (strrchr (name, '/') + 1, 10, 1, G_MAXINT64, &number, NULL))
    *greatest = MAX (*greatest, number);
  return TRUE;
}

/* Lists until two listings agree: one alone may miss both an object that is removed meanwhile and
 * the one that takes its place. */
static gboolean
greatest_number (Store *store, const char *prefix, guint64 *number, GError **error)
{
  guint64 before = 0;

  *number = 0;
  for (int listings = 1;; listings++) {
    if (!store_list (store, prefix, note_greatest, number, error))
      return FALSE;
    if (listings > 1 && *number == before)
      return *number > 0 || store_check_reachable (store, error);
    before = *number;
  }
}

GBytes *
numbered_read (Store *store, const char *prefix, guint64 *number, GError **error)
{
  for (int attempt = 0;; attempt++) {
    g_autoptr (GError) cause = NULL;
    if (!greatest_number (store, prefix, number, error) || *number == 0)
      return NULL;
    g_autofree char *object = numbered_object (prefix, *number);
    GBytes *bytes = store_get_text (store, object, &cause);
    if (bytes != NULL)
      return bytes;
    /* Replaced between the listing and the reading: there is a greater one. */
    if (g_error_matches (cause, G_IO_ERROR, G_IO_ERROR_NOT_FOUND) &&
        attempt < NUMBERED_ATTEMPTS_MAX)
      continue;
    g_propagate_prefixed_error (error, g_steal_pointer (&cause), "%s: ", object);
    return NULL;
  }
}

/* Removes what is before the predecessor of @number; that one stays for those who are listing now.
 * What is left over by a failure does not count anyway. */
static void
remove_smaller (Store *store, const char *prefix, guint64 number)
{
  g_autoptr (GPtrArray) names = store_list_names (store, prefix, NULL);
  guint64 other;

  for (guint i = 0; names != NULL && i < names->len; i++) {
    const char *last = strrchr (names->pdata[i], '/') + 1;
    if (g_ascii_string_to_unsigned (last, 10, 1, G_MAXINT64, &other, NULL) && other + 1 < number)
      store->backend->ops->remove (store->backend, names->pdata[i], NULL);
  }
}

gboolean
numbered_put_next (Store *store, const char *prefix, guint64 number, GBytes *bytes, gboolean *done,
                   GError **error)
{
  g_autofree char *object = numbered_object (prefix, number + 1);
  g_autoptr (GError) cause = NULL;
  gboolean existed;
  guint64 greatest;

  *done = FALSE;
  if (!store_put (store, object, bytes, &existed, error))
    return FALSE;
  if (existed)
    return TRUE;
  if (!store_sync (store, &cause) || !greatest_number (store, prefix, &greatest, &cause) ||
      greatest > number + 1) {
    store->backend->ops->remove (store->backend, object, NULL);
    if (cause == NULL)
      return TRUE;
    g_propagate_error (error, g_steal_pointer (&cause));
    return FALSE;
  }
  *done = TRUE;
  remove_smaller (store, prefix, number + 1);
  return TRUE;
}
