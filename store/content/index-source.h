/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where an index table's bytes are, in memory or on a medium, and whether reading them has failed:
 * the first failure is remembered, and nothing is read any more. Any thread.
 */
#pragma once

#include "block-cache.h"
#include "chunk.h"

/* What a table is read with. */
typedef struct {
  Backend *backend;
  BlockCache *cache;
  const HashKey *key;
} IndexMedium;

typedef enum {
  INDEX_GOOD,  /* whatever was said is so */
  INDEX_GONE,  /* it is not there any more, or cannot be opened now: list the tables anew */
  INDEX_BROKEN /* it is damaged: the packs have to tell */
} IndexFailure;

typedef struct {
  char *object;       /* its name in the store, or a word for messages */
  GBytes *bytes;      /* (nullable): all of it */
  IndexMedium medium; /* otherwise */
  guint64 number;     /* the cache's */
  guint64 size;
  int failure; /* (atomic) IndexFailure */
} IndexSource;

/* Where a table is read from end to end, so much is read at once, bytes. */
#define INDEX_PIECE_BYTES (256 * 1024)

/* All of it in memory; @bytes: a reference is taken. Newly allocated. */
IndexSource *index_source_new_bytes (const char *object, GBytes *bytes);

/* @size bytes on @medium, which is copied. Newly allocated. */
IndexSource *index_source_new_medium (const char *object, const IndexMedium *medium, guint64 size);

/* Frees @source. */
void index_source_free (IndexSource *source);

/* What failed so far. */
IndexFailure index_source_failure (const IndexSource *source);

/* Notes a failure, unless there is one; FALSE, for the caller to return. */
gboolean index_source_fail (IndexSource *source, IndexFailure failure);

/* What an error of the backend says about the table. */
IndexFailure index_source_judge (const GError *error);

/* Copies a few bytes, through the cache; FALSE if they cannot be read, which is noted. */
gboolean index_source_read (IndexSource *source, guint64 offset, void *to, gsize len);

/* Borrows up to INDEX_PIECE_BYTES, past the cache; @holder: (out): to be unreferenced. NULL with
 * the backend's error, which is not noted. */
const guint8 *index_source_piece (const IndexSource *source, guint64 offset, gsize len,
                                  GBytes **holder, GError **error);
