/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From a migration stream, bare or in a file of libvirt, to a checkpoint. */
#pragma once

#include <vmckpt/exchange/import.h>
#include <vmckpt/store/writer.h>

/* Everything but the commit. @libvirt: the stream is in a libvirt save image. */
gboolean import_stream (Store *store, StoreWriter *writer, int fd, gboolean libvirt,
                        const ImportOptions *options, Manifest *manifest, GError **error);
