/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Verifying one checkpoint: reading all of it, as a restore would. */
#include <vmckpt/store/maintain.h>

#include <vmckpt/util/error.h>

static gboolean
ignore_page (guint64 page, const guint8 *data, gpointer user_data, GError **error)
{
  return TRUE;
}

/* Adds up the parts' progress. */
typedef struct {
  const Progress *progress;
  guint64 before, total;
} PartProgress;

static void
report_part (Phase phase, guint64 done, guint64 total, gpointer user_data)
{
  const PartProgress *part = user_data;
  progress_report (part->progress, phase, part->before + done, part->total);
}

static gboolean
verify_part (Store *store, const ManifestPart *part, const Progress *progress,
             GCancellable *cancellable, GError **error)
{
  ERROR_PREFIX (error, "%s %s", part->role, part->name);
  g_autoptr (PageMapReader) reader = page_map_reader_new (store, &part->map, error);

  return reader != NULL &&
         page_map_reader_foreach (reader, FALSE, ignore_page, NULL, progress, cancellable, error);
}

gboolean
store_verify (Store *store, const Manifest *manifest, const Progress *progress,
              GCancellable *cancellable, GError **error)
{
  ERROR_PREFIX (error, "verifying checkpoint %.16s", manifest->id);
  PartProgress sum = { .progress = progress };
  const Progress part_progress = { report_part, &sum };

  sum.total = manifest_described_bytes (manifest);
  for (guint i = 0; i < manifest->parts->len; i++) {
    const ManifestPart *part = manifest->parts->pdata[i];
    if (!verify_part (store, part, &part_progress, cancellable, error))
      return FALSE;
    sum.before += part->map.length;
  }
  return TRUE;
}
