/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What this host has to tell which memory a guest writes, and to fill it when it is touched. */
#pragma once

#include <glib.h>

typedef struct {
  gboolean async;      /* write-protection that takes itself off, and PAGEMAP_SCAN: Linux 6.7 */
  gboolean sync;       /* write-protection of shared memory: Linux 5.19 */
  gboolean soft_dirty; /* CONFIG_MEM_SOFT_DIRTY */
  char *lacks;         /* why the first of these is not there, for people; NULL if it is */
} TrackProbe;

/* Tries each on a few pages of this process's own; what it may, QEMU of the same user may, too. */
void track_probe (TrackProbe *probe);
void track_probe_clear (TrackProbe *probe);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (TrackProbe, track_probe_clear)
