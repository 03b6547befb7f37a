/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Replication: the checkpoints that the other store lacks, oldest first, each on top of the last.
 */
#include "announce.h"
#include "copier.h"

#include <vmckpt/util/error.h>

#include <string.h>

void
store_copied_free (StoreCopied *copied)
{
  if (copied == NULL)
    return;
  g_free (copied->source);
  g_free (copied->guest);
  g_free (copied->id);
  g_free (copied->problem);
  g_free (copied);
}

/* While we read, gc of the source is to delete nothing; a source that cannot be written does
 * without. Not a walker: readers look into new tables when old ones are gone, and hours of copying
 * must not keep the tables as they are. */
typedef struct {
  Store *store;
  char *object; /* (nullable) */
} Reading;

static void
reading_clear (Reading *reading)
{
  announcement_take_back (reading->store, reading->object);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Reading, reading_clear)

static int
compare_created (gconstpointer a, gconstpointer b)
{
  const Manifest *one = *(const Manifest **)a, *other = *(const Manifest **)b;
  if (one->created_us != other->created_us)
    return one->created_us < other->created_us ? -1 : 1;
  return strcmp (one->id, other->id);
}

/* Progress of one checkpoint within all. */
typedef struct {
  const Progress *progress;
  guint64 done, total;
} Sum;

static void
report_sum (Phase phase, guint64 done, guint64 total, gpointer user_data)
{
  const Sum *sum = user_data;
  progress_report (sum->progress, phase, sum->done + done, sum->total);
}

/* Copies one; damage at the source is noted in @copied. */
static gboolean
copy_one (Copier *copier, const Manifest *manifest, StoreCopied *copied, const Progress *progress,
          GCancellable *cancellable, GError **error)
{
  g_autoptr (GError) cause = NULL;
  const Manifest *there = copier_find (copier, manifest);

  copied->source = g_strdup (manifest->id);
  copied->guest = g_strdup (manifest->guest);
  if (there != NULL) {
    copied->there = TRUE;
    copied->id = g_strdup (there->id);
    return copier_copy_extras (copier, manifest, there, error);
  }
  if (copier_copy (copier, manifest, copied, progress, cancellable, &cause))
    return TRUE;
  if (copied->id == NULL && g_error_matches (cause, STORE_ERROR, STORE_ERROR_DAMAGED)) {
    copied->problem = g_strdup (cause->message);
    return TRUE;
  }
  g_propagate_error (error, g_steal_pointer (&cause));
  return FALSE;
}

gboolean
store_copy (Store *from, Store *to, GPtrArray *manifests, GPtrArray **copied,
            const Progress *progress, GCancellable *cancellable, GError **error)
{
  ERROR_PREFIX (error, "copying from the store %s to %s", store_location (from),
                store_location (to));
  g_autoptr (GPtrArray) sorted = g_ptr_array_new();
  Sum sum = { .progress = progress };
  const Progress one = { report_sum, &sum };

  *copied = g_ptr_array_new_with_free_func ((GDestroyNotify)store_copied_free);
  if (from == to || g_str_equal (store_location (from), store_location (to))) {
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, "that is the same store");
    return FALSE;
  }
  g_auto (Reading) reading G_GNUC_UNUSED = { from, announcement_put (from, ANNOUNCE_WRITER, NULL) };
  g_autoptr (Copier) copier = copier_new (from, to, NULL, NULL, error);
  if (copier == NULL)
    return FALSE;
  for (guint i = 0; i < manifests->len; i++) {
    g_ptr_array_add (sorted, manifests->pdata[i]);
    if (copier_find (copier, manifests->pdata[i]) == NULL)
      sum.total += manifest_described_bytes (manifests->pdata[i]);
  }
  g_ptr_array_sort (sorted, compare_created);
  for (guint i = 0; i < sorted->len; i++) {
    const Manifest *manifest = sorted->pdata[i];
    StoreCopied *result = g_new0 (StoreCopied, 1);
    g_ptr_array_add (*copied, result);
    if (g_cancellable_set_error_if_cancelled (cancellable, error) ||
        !copy_one (copier, manifest, result, &one, cancellable, error))
      return FALSE;
    if (!result->there)
      sum.done += manifest_described_bytes (manifest);
  }
  return TRUE;
}
