/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Device state, which is opaque: its sections bear no lengths, so they cannot be told apart with
 * certainty. This looks at it as it passes, to tell at the end whether it was all there.
 */
#pragma once

#include <vmckpt/qmp/stream-reader.h>

/* The longest run of bytes that has to be seen at once: a footer and the next section's header. */
#define STREAM_TAIL_LOOKAHEAD (5 + 1 + 4 + 1 + 255 + 8)

typedef struct {
  guint32 ram_id;        /* the RAM section's */
  guint64 passed;        /* bytes looked at, from the first section's type on */
  guint32 section_id;    /* of the section that the bytes now belong to */
  char section[256];     /* its name */
  guint64 eof_end;       /* where the latest end mark that may be one ends; 0: none */
  guint64 described_end; /* where the latest description that may be one will end; 0: none */
  guint8 last;           /* the latest byte */
} StreamTail;

/* Starts with the first device section, whose header @section_id and @name are. */
void stream_tail_init (StreamTail *tail, guint32 ram_id, guint32 section_id, const char *name);

/**
 * stream_tail_scan:
 * @data: the bytes after those passed so far
 * @len: how many
 * @ended: no more come
 *
 * Passes bytes: all if @ended, else all but the last STREAM_TAIL_LOOKAHEAD.
 *
 * Returns: how many were passed; -1 with @error (STREAM_ERROR, without an offset).
 */
gssize stream_tail_scan (StreamTail *tail, const guint8 *data, gsize len, gboolean ended,
                         GError **error);

/* After all is passed: was it whole? FALSE with @error (STREAM_ERROR, without an offset). */
gboolean stream_tail_finish (StreamTail *tail, GError **error);
