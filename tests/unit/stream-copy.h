/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <vmckpt/qmp/stream-reader.h>

/* Takes a stream apart and writes it again to @fd. */
gboolean stream_copy (StreamReader *reader, int fd, GError **error);
