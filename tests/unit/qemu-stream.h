/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Migration streams of real QEMUs, and what is in them. */
#pragma once

#include "qemu-process.h"

#include <vmckpt/qmp/stream-reader.h>

typedef enum {
  STREAM_LIVE,       /* plain migration of a running guest */
  STREAM_STOPPED,    /* of a stopped one */
  STREAM_BACKGROUND, /* background-snapshot of a running guest */
  STREAM_SHARED,     /* x-ignore-shared of a stopped guest whose RAM is a shared file */
} StreamKind;

/**
 * qemu_stream_take:
 * @qemu: a guest that runs
 *
 * Migrates it in that way. Returns: (transfer full): the stream; NULL, and the test is skipped, if
 * this host cannot do it (background-snapshot needs a userfaultfd).
 */
GBytes *qemu_stream_take (QemuProcess *qemu, StreamKind kind);

/* What a whole stream holds. */
typedef struct {
  char *machine;
  GArray *blocks;    /* of StreamBlock */
  GPtrArray *images; /* per block a GByteArray of its contents */
  GPtrArray *seen;   /* per block a GByteArray: per page, how often it came (at most 255) */
  GByteArray *configuration, *device_state;
} StreamContents;

void stream_contents_clear (StreamContents *contents);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (StreamContents, stream_contents_clear)

/* Reads to the end; FALSE with @error if the stream is bad. */
gboolean stream_contents_read (StreamContents *contents, StreamReader *reader, GError **error);

/* The index of the block of that name; fails the test if there is none. */
guint stream_contents_block (StreamContents *contents, const char *name);
