/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads a QEMU migration stream (QEMU: docs/devel/migration, migration/savevm.c, migration/ram.c;
 * from 7.2 to 10.x) item by item: configuration, RAM blocks, RAM pages, device state. Device state
 * is not interpreted: everything from the first section that is not RAM up to the end of the stream
 * is handed over as it is, to be handed back to a QEMU by the stream writer.
 *
 * The input is not trusted: names, counts, sizes and lengths are bounded, and every error is
 * STREAM_ERROR_GARBLED or _TRUNCATED with the byte offset at which it was noticed.
 */
#pragma once

#include <gio/gio.h>

#define STREAM_ERROR (stream_error_quark())
GQuark stream_error_quark (void);

typedef enum {
  STREAM_ERROR_GARBLED,     /* not a migration stream, or damaged */
  STREAM_ERROR_TRUNCATED,   /* ends in the middle: QEMU failed or went away */
  STREAM_ERROR_UNSUPPORTED, /* well-formed, but of a kind that cannot be taken (compressed pages,
                               multifd, …) */
} StreamError;

#define STREAM_MAX_BLOCKS 4096
#define STREAM_PAGE_SIZE 4096

/* One RAM block as the stream's setup section declares it. */
typedef struct {
  char name[256];
  guint64 length;    /* bytes, a multiple of STREAM_PAGE_SIZE */
  guint64 page_size; /* 0: the streams that are taken do not say */
  guint64 gpa;       /* with x-ignore-shared its address in the region that it is mapped into, 0 if
                      * only aliases of it are mapped, as of a PC's main memory; else 0 */
} StreamBlock;

typedef enum {
  STREAM_ITEM_CONFIGURATION, /* machine type; data = the section, to be written back as it is */
  STREAM_ITEM_BLOCKS,        /* all RAM blocks are known now: stream_reader_blocks() */
  STREAM_ITEM_PAGE,          /* one page of RAM; a page may come again, the later one counts */
  STREAM_ITEM_DEVICE_STATE,  /* the next piece of opaque device state */
  STREAM_ITEM_END,           /* the stream is complete and well-formed up to here */
} StreamItemType;

/* Pointers are borrowed and valid until the next call. */
typedef struct {
  StreamItemType type;
  const guint8 *data;  /* PAGE: STREAM_PAGE_SIZE bytes, or NULL for a page of zeros */
  gsize len;           /* bytes at data */
  guint block;         /* PAGE: index into stream_reader_blocks() */
  guint64 offset;      /* PAGE: bytes from the block's start */
  const char *machine; /* CONFIGURATION: e.g. "pc-q35-7.2" */
  /* CONFIGURATION: made with x-ignore-shared: blocks have addresses, and pages of blocks that are
   * shared do not come. The data does not say so: it is what the stream would have without. */
  gboolean ignore_shared;
} StreamItem;

typedef struct _StreamReader StreamReader;

/* Reads from @fd (borrowed), blocking, in large pieces. One thread at a time. */
StreamReader *stream_reader_new (int fd);

/* Reads from memory (borrowed). */
StreamReader *stream_reader_new_for_data (const guint8 *data, gsize len);

/* Frees @reader. */
void stream_reader_free (StreamReader *reader);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (StreamReader, stream_reader_free)

/**
 * stream_reader_next:
 * @item: (out): what came
 *
 * Returns: FALSE with @error (STREAM_ERROR or G_IO_ERROR) if the stream is bad; then only
 *   stream_reader_drain() makes sense.
 */
gboolean stream_reader_next (StreamReader *reader, StreamItem *item, GError **error);

/* The RAM blocks; borrowed. @count: (out). */
const StreamBlock *stream_reader_blocks (StreamReader *reader, guint *count);

/* Bytes taken from the input so far. */
guint64 stream_reader_offset (StreamReader *reader);

/**
 * stream_reader_drain:
 *
 * Reads and drops everything up to the end of the file. A QEMU 7.2 whose background snapshot is not
 * read to its end hangs its guest for good, so a reader that gives up drains.
 */
void stream_reader_drain (StreamReader *reader);

/**
 * stream_reader_set_patience:
 * @idle_ms: how long the input may stay silent, milliseconds; -1: for ever (the default)
 * @cancellable: (nullable): borrowed; interrupts waiting
 *
 * From then on stream_reader_next() fails with G_IO_ERROR_TIMED_OUT or G_IO_ERROR_CANCELLED instead
 * of waiting longer. Draining is not cancelled, but ends after the same silence.
 */
void stream_reader_set_patience (StreamReader *reader, int idle_ms, GCancellable *cancellable);
