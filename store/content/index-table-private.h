/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where the parts of a table are, for those who read it (index-table.c, index-scan.c). */
#pragma once

#include "index-layout.h"

struct _IndexTable {
  int refs; /* (atomic) */
  const HashKey *key;
  IndexSource *source;
  guint32 n_packs, n_frames, n_entries;
  guint fan_bits;
  guint64 packs_at, fan_at, frames_at, entries_at;
};
