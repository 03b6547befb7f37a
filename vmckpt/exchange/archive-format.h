/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The archive's bytes (docs/export-format.md). Numbers are little-endian. */
#pragma once

#include <gio/gio.h>
#include <sodium.h>
#include <vmckpt/store/page-map.h>

#define ARCHIVE_VERSION 1
#define ARCHIVE_HEADER_BYTES 16 /* magic, le32 version, le32 compatible since */
#define ARCHIVE_RECORD_BYTES 12 /* tag, le32 stored length, le32 length */
#define ARCHIVE_DIGEST_BYTES 32
#define ARCHIVE_TAG_BYTES 4
#define ARCHIVE_TAG_DOCUMENT "DOCU"
#define ARCHIVE_TAG_PAGES "PAGE"
#define ARCHIVE_TAG_DONE "DONE"
#define ARCHIVE_DONE_BYTES 16 /* le64 records before it, le64 pages of content */

#define ARCHIVE_DOCUMENT_MAX (16u << 20)
#define ARCHIVE_DOCUMENT_DEPTH 32
#define ARCHIVE_PARTS_MAX 4096
#define ARCHIVE_FRAME_PAGES 64  /* pages of content in a record */
#define ARCHIVE_FRAME_RUNS 1024 /* runs in a record */
#define ARCHIVE_FRAME_HEAD 8    /* le32 part, le32 runs */
#define ARCHIVE_RUN_BYTES 24    /* le32 kind, le32 count, le32 source part, le32 0, le64 source */
#define ARCHIVE_FRAME_MAX                                                                          \
  (ARCHIVE_FRAME_HEAD + ARCHIVE_FRAME_RUNS * ARCHIVE_RUN_BYTES +                                   \
   ARCHIVE_FRAME_PAGES * PAGE_SIZE_BYTES)
#define ARCHIVE_RUN_PAGES_MAX G_MAXUINT32
#define ARCHIVE_COPIES_MAX (1u << 20) /* runs of copies in one archive: a reader keeps them */

typedef enum { ARCHIVE_RUN_ZEROS, ARCHIVE_RUN_CONTENT, ARCHIVE_RUN_COPY } ArchiveRunKind;

/* Each record's digest covers the one before it: digest = BLAKE2b-256 (former ‖ head ‖ payload);
 * the first former is the digest of the header alone. */
static inline void
archive_chain (guint8 digest[ARCHIVE_DIGEST_BYTES], gboolean first, const guint8 *head,
               gsize head_len, const guint8 *payload, gsize len)
{
  crypto_generichash_state state;

  crypto_generichash_init (&state, NULL, 0, ARCHIVE_DIGEST_BYTES);
  if (!first)
    crypto_generichash_update (&state, digest, ARCHIVE_DIGEST_BYTES);
  crypto_generichash_update (&state, head, head_len);
  crypto_generichash_update (&state, payload, len);
  crypto_generichash_final (&state, digest, ARCHIVE_DIGEST_BYTES);
}
