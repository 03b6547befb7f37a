/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From an archive to a checkpoint. */
#pragma once

#include <vmckpt/exchange/import.h>
#include <vmckpt/store/writer.h>

/* Everything but the commit. @tags: (out): tags beside the manifest's own. */
gboolean import_archive (Store *store, StoreWriter *writer, int fd, const ImportOptions *options,
                         Manifest *manifest, GStrv *tags, GError **error);
