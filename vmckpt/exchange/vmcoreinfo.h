/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a Linux guest says about itself for readers of its memory: an ELF note "VMCOREINFO" that it
 * keeps at the begin of a page (Linux: kernel/crash_core.c, vmcoreinfo_note).
 */
#pragma once

#include <vmckpt/store/page-map.h>

/* Told of bytes looked through; FALSE to stop. */
typedef gboolean (*VmcoreinfoProgress) (guint64 done, gpointer user_data, GError **error);

/**
 * vmcoreinfo_find:
 * @note: (out): the note, whole; NULL if the guest has none
 *
 * Looks through all of a RAM block that is not zero.
 */
gboolean vmcoreinfo_find (Store *store, const PageMap *map, GBytes **note,
                          VmcoreinfoProgress progress, gpointer user_data,
                          GCancellable *cancellable, GError **error);

/* The note's length if @page begins with one, else 0. */
gsize vmcoreinfo_length (const guint8 page[PAGE_SIZE_BYTES]);
