/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The configuration section, which says how the rest of a stream is to be read. */
#pragma once

#include <vmckpt/qmp/stream-reader.h>

typedef struct {
  char machine[256];
  gboolean ignore_shared;  /* RAM blocks are declared with their guest physical address */
  gsize caps_at, caps_len; /* the subsection that lists capabilities; length 0: there is none */
} StreamConfig;

typedef enum {
  STREAM_CONFIG_GOOD,
  STREAM_CONFIG_MORE, /* the section goes on behind the bytes given */
  STREAM_CONFIG_BAD,  /* @error is set, without an offset */
} StreamConfigResult;

/**
 * stream_config_parse:
 * @data: bytes that begin with the section's type
 * @len: how many are there; more may follow that are not part of the section
 * @config: (out): what it says
 * @used: (out): length of the section
 *
 * The end of the section shows only in the byte after it, so STREAM_CONFIG_GOOD may come with @used
 * equal to @len although a subsection follows: callers that can get more bytes give at least one
 * more.
 */
StreamConfigResult stream_config_parse (const guint8 *data, gsize len, StreamConfig *config,
                                        gsize *used, GError **error);

/* Appends a subsection to @config that says that the stream was made with x-ignore-shared. */
void stream_config_add_ignore_shared (GByteArray *config);

/* TRUE if @len bytes (1 to STREAM_MAX_NAME) are printable ASCII, as all of QEMU's names are. */
gboolean stream_name_good (const guint8 *name, gsize len);
