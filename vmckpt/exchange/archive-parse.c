/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads an archive. A record is looked at only after its digest was found right, and the digest
 * covers all records before: a file that is cut, patched or put together from two fails at the
 * first record that is not as it was written.
 */
#include <vmckpt/exchange/archive.h>

#include "archive-format.h"

#include <vmckpt/util/bytes.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/json.h>

#include <string.h>
#include <zstd.h>

typedef struct {
  int fd;
  const ArchiveEvents *events;
  gpointer user_data;
  GCancellable *cancellable;
  guint64 offset;
  guint8 chain[ARCHIVE_DIGEST_BYTES];
  guint64 records, content_pages;
  GByteArray *stored, *payload;
  char tag[ARCHIVE_TAG_BYTES + 1];
  GArray *pages; /* of guint64: pages of each part */
  guint part;    /* where the pages stand */
  guint64 page;
  guint copies;
} Parser;

static void
parser_clear (Parser *parser)
{
  g_byte_array_unref (parser->stored);
  g_byte_array_unref (parser->payload);
  g_array_unref (parser->pages);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Parser, parser_clear)

GQuark
exchange_error_quark (void)
{
  return g_quark_from_static_string ("vmckpt-exchange-error");
}

static gboolean G_GNUC_PRINTF (3, 4)
    damaged (const Parser *parser, GError **error, const char *format, ...)
{
  va_list args;

  va_start (args, format);
  g_autofree char *text = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_DAMAGED,
               "the archive is damaged before byte %" G_GUINT64_FORMAT ": %s", parser->offset,
               text);
  return FALSE;
}

static gboolean
take (Parser *parser, void *data, gsize len, GError **error)
{
  if (g_cancellable_set_error_if_cancelled (parser->cancellable, error))
    return FALSE;
  gssize got = fd_read_full (parser->fd, data, len, error);
  if (got < 0)
    return FALSE;
  parser->offset += got;
  if ((gsize)got == len)
    return TRUE;
  /* The end may be that of a connection. */
  if (!g_cancellable_set_error_if_cancelled (parser->cancellable, error))
    g_set_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_DAMAGED,
                 "the archive is cut: it ends at byte %" G_GUINT64_FORMAT ", in the middle",
                 parser->offset);
  return FALSE;
}

static gboolean
take_header (Parser *parser, GError **error)
{
  guint8 header[ARCHIVE_HEADER_BYTES];
  ByteReader reader = BYTE_READER (header, sizeof header);

  if (!take (parser, header, sizeof header, error))
    return FALSE;
  if (memcmp (byte_reader_take (&reader, ARCHIVE_MAGIC_BYTES), ARCHIVE_MAGIC,
              ARCHIVE_MAGIC_BYTES) != 0)
    return damaged (parser, error, "it is not one: the magic is missing");
  guint32 version = byte_reader_le32 (&reader), since = byte_reader_le32 (&reader);
  if (since == 0 || since > version)
    return damaged (parser, error, "its version is garbled");
  if (since > ARCHIVE_VERSION) {
    g_set_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_UNSUPPORTED,
                 "the archive has format version %u; this program reads version %d", version,
                 ARCHIVE_VERSION);
    return FALSE;
  }
  archive_chain (parser->chain, TRUE, header, sizeof header, NULL, 0);
  return TRUE;
}

static gboolean
decompress (Parser *parser, gsize len, GError **error)
{
  if (ZSTD_getFrameContentSize (parser->stored->data, parser->stored->len) != len)
    return damaged (parser, error, "a record has another length than it says");
  g_byte_array_set_size (parser->payload, len);
  size_t got =
      ZSTD_decompress (parser->payload->data, len, parser->stored->data, parser->stored->len);
  if (ZSTD_isError (got) || got != len)
    return damaged (parser, error, "a record does not decompress");
  return TRUE;
}

/* Takes the next record, verified, into tag and payload. */
static gboolean
take_record (Parser *parser, GError **error)
{
  guint8 head[ARCHIVE_RECORD_BYTES], digest[ARCHIVE_DIGEST_BYTES];
  ByteReader reader = BYTE_READER (head, sizeof head);

  if (!take (parser, head, sizeof head, error))
    return FALSE;
  memcpy (parser->tag, byte_reader_take (&reader, ARCHIVE_TAG_BYTES), ARCHIVE_TAG_BYTES);
  guint32 stored = byte_reader_le32 (&reader), len = byte_reader_le32 (&reader);
  guint32 most = strcmp (parser->tag, ARCHIVE_TAG_DOCUMENT) == 0 ? ARCHIVE_DOCUMENT_MAX
                 : strcmp (parser->tag, ARCHIVE_TAG_PAGES) == 0  ? ARCHIVE_FRAME_MAX
                 : strcmp (parser->tag, ARCHIVE_TAG_DONE) == 0   ? ARCHIVE_DONE_BYTES
                                                                 : 0;
  if (len == 0 || len > most || stored == 0 || stored > ZSTD_compressBound (most))
    return damaged (parser, error, "a record's head is garbled");
  g_byte_array_set_size (parser->stored, stored);
  if (!take (parser, parser->stored->data, stored, error) ||
      !take (parser, digest, sizeof digest, error))
    return FALSE;
  archive_chain (parser->chain, FALSE, head, sizeof head, parser->stored->data, stored);
  if (memcmp (digest, parser->chain, sizeof digest) != 0)
    return damaged (parser, error, "a record does not have the content that was written");
  return decompress (parser, len, error);
}

/* ---- The document ---- */

static gboolean
take_parts (Parser *parser, JsonObject *document, GError **error)
{
  JsonArray *parts = json_get_array (document, "parts", error);
  guint count = parts != NULL ? json_array_get_length (parts) : 0;

  if (parts == NULL || count > ARCHIVE_PARTS_MAX)
    return parts != NULL ? damaged (parser, error, "it has too many parts") : FALSE;
  for (guint i = 0; i < count; i++) {
    JsonNode *node = json_array_get_element (parts, i);
    guint64 length;
    if (!JSON_NODE_HOLDS_OBJECT (node))
      return damaged (parser, error, "a part is not an object");
    JsonObject *part = json_node_get_object (node);
    if (json_get_string (part, "role", error) == NULL ||
        json_get_string (part, "name", error) == NULL ||
        !json_get_uint64 (part, "length", &length, error))
      return FALSE;
    guint64 pages = length / PAGE_SIZE_BYTES + (length % PAGE_SIZE_BYTES != 0);
    g_array_append_val (parser->pages, pages);
  }
  return TRUE;
}

static gboolean
take_document (Parser *parser, GError **error)
{
  if (!take_record (parser, error))
    return FALSE;
  if (strcmp (parser->tag, ARCHIVE_TAG_DOCUMENT) != 0)
    return damaged (parser, error, "it does not begin with its description");
  g_autoptr (GError) cause = NULL;
  g_autoptr (JsonObject) document =
      json_parse_bounded ((const char *)parser->payload->data, parser->payload->len,
                          ARCHIVE_DOCUMENT_MAX, ARCHIVE_DOCUMENT_DEPTH, &cause);
  if (document != NULL && take_parts (parser, document, &cause) &&
      parser->events->document (document, parser->user_data, &cause))
    return TRUE;
  if (document == NULL || g_error_matches (cause, G_IO_ERROR, G_IO_ERROR_INVALID_DATA))
    return damaged (parser, error, "its description: %s", cause->message);
  g_propagate_error (error, g_steal_pointer (&cause));
  return FALSE;
}

/* ---- Pages ---- */

/* TRUE if @count pages from (@part, @page) on lie in a part and begin before where we stand. */
static gboolean
is_before (const Parser *parser, guint32 part, guint64 page, guint32 count)
{
  guint64 pages = part < parser->pages->len ? g_array_index (parser->pages, guint64, part) : 0;

  return part <= parser->part && page < pages && count <= pages - page &&
         (part < parser->part || page < parser->page);
}

static gboolean
take_run (Parser *parser, ByteReader *runs, ByteReader *content, GError **error)
{
  guint32 kind = byte_reader_le32 (runs), count = byte_reader_le32 (runs);
  guint32 source_part = byte_reader_le32 (runs), zero = byte_reader_le32 (runs);
  guint64 source_page = byte_reader_le64 (runs);
  const ArchiveEvents *events = parser->events;
  guint64 left = g_array_index (parser->pages, guint64, parser->part) - parser->page;
  gboolean good = FALSE;

  if (runs->failed || zero != 0 || count == 0 || count > left || kind > ARCHIVE_RUN_COPY)
    return damaged (parser, error, "a run of pages is garbled");
  if (kind == ARCHIVE_RUN_COPY) {
    if (!is_before (parser, source_part, source_page, count) ||
        parser->copies++ == ARCHIVE_COPIES_MAX)
      return damaged (parser, error, "a page is said to be equal to one that cannot be");
    good = events->copy (parser->part, parser->page, count, source_part, source_page,
                         parser->user_data, error);
  } else if (source_part != 0 || source_page != 0) {
    return damaged (parser, error, "a run of pages is garbled");
  } else if (kind == ARCHIVE_RUN_ZEROS) {
    good = events->pages (parser->part, parser->page, count, NULL, parser->user_data, error);
  } else {
    const guint8 *data = byte_reader_take (content, (gsize)count * PAGE_SIZE_BYTES);
    if (data == NULL)
      return damaged (parser, error, "a record holds less pages than it says");
    parser->content_pages += count;
    good = events->pages (parser->part, parser->page, count, data, parser->user_data, error);
  }
  parser->page += count;
  return good;
}

/* Passes parts that are complete. */
static void
pass_parts (Parser *parser)
{
  while (parser->part < parser->pages->len &&
         parser->page == g_array_index (parser->pages, guint64, parser->part)) {
    parser->part++;
    parser->page = 0;
  }
}

static gboolean
take_pages (Parser *parser, GError **error)
{
  ByteReader head = BYTE_READER (parser->payload->data, parser->payload->len);
  guint32 part = byte_reader_le32 (&head), runs = byte_reader_le32 (&head);

  pass_parts (parser);
  if (head.failed || part != parser->part || part >= parser->pages->len || runs == 0 ||
      runs > ARCHIVE_FRAME_RUNS || byte_reader_left (&head) < runs * ARCHIVE_RUN_BYTES)
    return damaged (parser, error, "a record of pages is garbled");
  ByteReader list =
      BYTE_READER (parser->payload->data + ARCHIVE_FRAME_HEAD, runs * ARCHIVE_RUN_BYTES);
  ByteReader content = BYTE_READER (list.data + list.len, byte_reader_left (&head) - list.len);
  for (guint32 i = 0; i < runs; i++)
    if (!take_run (parser, &list, &content, error))
      return FALSE;
  return byte_reader_left (&content) == 0 ||
         damaged (parser, error, "a record holds more pages than it says");
}

static gboolean
take_done (Parser *parser, GError **error)
{
  ByteReader counts = BYTE_READER (parser->payload->data, parser->payload->len);
  guint64 records = byte_reader_le64 (&counts), pages = byte_reader_le64 (&counts);
  guint8 more;

  pass_parts (parser);
  if (counts.failed || records != parser->records || pages != parser->content_pages ||
      parser->part != parser->pages->len)
    return damaged (parser, error, "it ends with pages missing");
  gssize got = fd_read_full (parser->fd, &more, 1, error);
  if (got < 0)
    return FALSE;
  return got == 0 || damaged (parser, error, "something follows its end");
}

gboolean
archive_parse (int fd, const ArchiveEvents *events, gpointer user_data, GCancellable *cancellable,
               GError **error)
{
  g_auto (Parser) parser = { .fd = fd,
                             .events = events,
                             .user_data = user_data,
                             .cancellable = cancellable,
                             .stored = g_byte_array_new(),
                             .payload = g_byte_array_new(),
                             .pages = g_array_new (FALSE, FALSE, sizeof (guint64)) };

  if (!take_header (&parser, error) || !take_document (&parser, error))
    return FALSE;
  for (parser.records = 1;; parser.records++) {
    if (!take_record (&parser, error))
      return FALSE;
    if (strcmp (parser.tag, ARCHIVE_TAG_DONE) == 0)
      return take_done (&parser, error);
    if (strcmp (parser.tag, ARCHIVE_TAG_PAGES) != 0)
      return damaged (&parser, error, "its description comes twice");
    if (!take_pages (&parser, error))
      return FALSE;
  }
}
