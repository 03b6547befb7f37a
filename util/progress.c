/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/util/progress.h>

const char *
phase_name (Phase phase)
{
  static const char *const names[PHASE_COUNT] = {
    [PHASE_PREPARE] = "prepare", [PHASE_STOP] = "stop",       [PHASE_CAPTURE] = "capture",
    [PHASE_DISKS] = "disks",     [PHASE_RESUME] = "resume",   [PHASE_STORE] = "store",
    [PHASE_COMMIT] = "commit",   [PHASE_REBUILD] = "rebuild", [PHASE_READ] = "read",
  };

  g_return_val_if_fail (phase < PHASE_COUNT, "?");
  return names[phase];
}

void
progress_report (const Progress *progress, Phase phase, guint64 done, guint64 total)
{
  if (progress != NULL && progress->func != NULL)
    progress->func (phase, done, total, progress->user_data);
}
