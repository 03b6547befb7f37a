/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The stream that is written is the shortest that QEMU takes (see stream-reader.c for what QEMU
 * sends):
 *
 *   "QEVM" 3 │ configuration │ START ram: blocks, EOS │ PART ram: pages, EOS │ END ram: EOS │ tail
 *
 * One PART holds all pages: QEMU's loader reads words until EOS, however many there are. The RAM
 * section gets number 1, as some QEMUs give it; it only has to differ from 0, the number of
 * handlers that have not been loaded yet. Device state that uses the same number does no harm after
 * RAM has ended.
 */
#include <vmckpt/qmp/stream-writer.h>

#include "stream-config.h"
#include "stream-format.h"

#include <string.h>
#include <vmckpt/util/fd.h>

#define BUFFER_SIZE (1024 * 1024)
#define RAM_ID 1

typedef enum {
  WANT_CONFIGURATION,
  WANT_BLOCKS,
  WANT_PAGES,
  WANT_DEVICE_STATE,
  FINISHED,
} Phase;

struct _StreamWriter {
  StreamWriterFunc write;
  gpointer user_data;
  int fd; /* of stream_writer_new() */
  Phase phase;
  gboolean in_part; /* a PART section is open */
  gboolean ignore_shared;
  GArray *blocks; /* of StreamBlock */
  guint last_block;
  guint8 *buffer;
  gsize used;
};

/* A StreamWriterFunc. */
static gboolean
write_fd (gconstpointer data, gsize len, gpointer user_data, GError **error)
{
  const StreamWriter *writer = user_data;

  if (fd_write_full (writer->fd, data, len, error))
    return TRUE;
  g_prefix_error (error, "the migration stream: ");
  return FALSE;
}

StreamWriter *
stream_writer_new (int fd)
{
  StreamWriter *writer = stream_writer_new_for_func (write_fd, NULL);

  writer->fd = fd;
  writer->user_data = writer;
  return writer;
}

StreamWriter *
stream_writer_new_for_func (StreamWriterFunc write, gpointer user_data)
{
  StreamWriter *writer = g_new0 (StreamWriter, 1);

  writer->write = write;
  writer->user_data = user_data;
  writer->blocks = g_array_new (FALSE, FALSE, sizeof (StreamBlock));
  writer->last_block = G_MAXUINT;
  writer->buffer = g_malloc (BUFFER_SIZE);
  return writer;
}

void
stream_writer_free (StreamWriter *writer)
{
  g_array_unref (writer->blocks);
  g_free (writer->buffer);
  g_free (writer);
}

/* A call that does not fit the ones before it, or arguments that cannot be. */
static gboolean
set_invalid (GError **error, const char *text)
{
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, "writing a migration stream: %s",
               text);
  return FALSE;
}

static gboolean
flush (StreamWriter *writer, GError **error)
{
  gsize len = writer->used;

  writer->used = 0;
  return writer->write (writer->buffer, len, writer->user_data, error);
}

static gboolean
put (StreamWriter *writer, const void *data, gsize len, GError **error)
{
  const guint8 *from = data;

  while (len > 0) {
    gsize n = MIN (len, BUFFER_SIZE - writer->used);
    memcpy (writer->buffer + writer->used, from, n);
    writer->used += n;
    from += n;
    len -= n;
    if (writer->used == BUFFER_SIZE && !flush (writer, error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
put_u8 (StreamWriter *writer, guint8 value, GError **error)
{
  return put (writer, &value, 1, error);
}

static gboolean
put_be32 (StreamWriter *writer, guint32 value, GError **error)
{
  guint32 swapped = GUINT32_TO_BE (value);
  return put (writer, &swapped, sizeof swapped, error);
}

static gboolean
put_be64 (StreamWriter *writer, guint64 value, GError **error)
{
  guint64 swapped = GUINT64_TO_BE (value);
  return put (writer, &swapped, sizeof swapped, error);
}

static gboolean
put_name (StreamWriter *writer, const char *name, GError **error)
{
  gsize len = strlen (name);
  return put_u8 (writer, (guint8)len, error) && put (writer, name, len, error);
}

/* The beginning of a section of RAM. */
static gboolean
begin_section (StreamWriter *writer, StreamSectionType type, GError **error)
{
  return put_u8 (writer, type, error) && put_be32 (writer, RAM_ID, error);
}

static gboolean
end_section (StreamWriter *writer, GError **error)
{
  return put_be64 (writer, STREAM_RAM_EOS, error) && put_u8 (writer, STREAM_FOOTER, error) &&
         put_be32 (writer, RAM_ID, error);
}

void
stream_writer_set_ignore_shared (StreamWriter *writer)
{
  writer->ignore_shared = TRUE;
}

gboolean
stream_writer_configuration (StreamWriter *writer, const guint8 *data, gsize len, GError **error)
{
  g_autoptr (GByteArray) capabilities = g_byte_array_new();
  g_autoptr (GError) cause = NULL;
  StreamConfig config;
  gsize used = 0;

  if (writer->phase != WANT_CONFIGURATION)
    return set_invalid (error, "the configuration comes first and once");
  if (len == 0 || len > STREAM_MAX_CONFIGURATION || data[0] != STREAM_CONFIGURATION ||
      stream_config_parse (data, len, &config, &used, &cause) != STREAM_CONFIG_GOOD || used != len)
    return set_invalid (error, cause != NULL ? cause->message : "the configuration is garbled");
  if (config.caps_len > 0)
    return set_invalid (error, "the configuration says with which capabilities it was made");
  writer->phase = WANT_BLOCKS;
  if (writer->ignore_shared)
    stream_config_add_ignore_shared (capabilities);
  return put_be32 (writer, STREAM_MAGIC, error) && put_be32 (writer, STREAM_VERSION, error) &&
         put (writer, data, len, error) &&
         put (writer, capabilities->data, capabilities->len, error);
}

/* What the reader guarantees of blocks, which may have been elsewhere meanwhile. */
static gboolean
check_blocks (const StreamBlock *blocks, guint count, guint64 *total, GError **error)
{
  g_autoptr (GHashTable) names = g_hash_table_new (g_str_hash, g_str_equal);

  *total = 0;
  if (count == 0 || count > STREAM_MAX_BLOCKS)
    return set_invalid (error, "the number of RAM blocks is out of bounds");
  for (guint i = 0; i < count; i++) {
    gsize len = strnlen (blocks[i].name, sizeof blocks[i].name);
    if (!stream_name_good ((const guint8 *)blocks[i].name, len) ||
        !g_hash_table_add (names, (gpointer)blocks[i].name))
      return set_invalid (error, "a RAM block's name is not acceptable");
    if (blocks[i].length % STREAM_PAGE_SIZE != 0 || blocks[i].length > STREAM_MAX_RAM - *total)
      return set_invalid (error, "a RAM block's length is out of bounds");
    *total += blocks[i].length;
  }
  /* The loader reads blocks until their lengths make up the total: an empty one at the end is lost.
   */
  if (blocks[count - 1].length == 0)
    return set_invalid (error, "the last RAM block is empty");
  return TRUE;
}

gboolean
stream_writer_blocks (StreamWriter *writer, const StreamBlock *blocks, guint count, GError **error)
{
  guint64 total;

  if (writer->phase != WANT_BLOCKS)
    return set_invalid (error, "RAM blocks come after the configuration and once");
  if (!check_blocks (blocks, count, &total, error))
    return FALSE;
  writer->phase = WANT_PAGES;
  g_array_append_vals (writer->blocks, blocks, count);
  if (!begin_section (writer, STREAM_SECTION_START, error) ||
      !put_name (writer, STREAM_RAM_NAME, error) || !put_be32 (writer, 0, error) ||
      !put_be32 (writer, STREAM_RAM_VERSION, error) ||
      !put_be64 (writer, total | STREAM_RAM_MEM_SIZE, error))
    return FALSE;
  for (guint i = 0; i < count; i++) {
    if (!put_name (writer, blocks[i].name, error) || !put_be64 (writer, blocks[i].length, error) ||
        (writer->ignore_shared && !put_be64 (writer, blocks[i].gpa, error)))
      return FALSE;
  }
  return end_section (writer, error);
}

gboolean
stream_writer_page (StreamWriter *writer, guint block, guint64 offset, const guint8 *data,
                    GError **error)
{
  if (writer->phase != WANT_PAGES)
    return set_invalid (error, "pages come after RAM blocks and before device state");
  if (block >= writer->blocks->len || offset % STREAM_PAGE_SIZE != 0 ||
      offset >= g_array_index (writer->blocks, StreamBlock, block).length)
    return set_invalid (error, "a page is outside of its RAM block");
  if (!writer->in_part && !begin_section (writer, STREAM_SECTION_PART, error))
    return FALSE;
  writer->in_part = TRUE;

  guint64 word = offset | (data != NULL ? STREAM_RAM_PAGE : STREAM_RAM_ZERO);
  if (block == writer->last_block) {
    if (!put_be64 (writer, word | STREAM_RAM_CONTINUE, error))
      return FALSE;
  } else if (!put_be64 (writer, word, error) ||
             !put_name (writer, g_array_index (writer->blocks, StreamBlock, block).name, error)) {
    return FALSE;
  }
  writer->last_block = block;
  return data != NULL ? put (writer, data, STREAM_PAGE_SIZE, error) : put_u8 (writer, 0, error);
}

/* Closes the PART section and writes an empty END. */
static gboolean
end_ram (StreamWriter *writer, GError **error)
{
  writer->phase = WANT_DEVICE_STATE;
  if (writer->in_part && !end_section (writer, error))
    return FALSE;
  return begin_section (writer, STREAM_SECTION_END, error) && end_section (writer, error);
}

gboolean
stream_writer_device_state (StreamWriter *writer, const guint8 *data, gsize len, GError **error)
{
  if (writer->phase == WANT_PAGES && !end_ram (writer, error))
    return FALSE;
  if (writer->phase != WANT_DEVICE_STATE)
    return set_invalid (error, "device state comes after RAM");
  return put (writer, data, len, error);
}

gboolean
stream_writer_flush (StreamWriter *writer, GError **error)
{
  return writer->used == 0 || flush (writer, error);
}

gboolean
stream_writer_finish (StreamWriter *writer, GError **error)
{
  if (writer->phase != WANT_DEVICE_STATE)
    return set_invalid (error, "a stream ends after device state and once");
  writer->phase = FINISHED;
  return flush (writer, error);
}
