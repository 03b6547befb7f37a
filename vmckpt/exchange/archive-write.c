/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   manifest ──▶ DOCU
 *   part 0, part 1, …: page by page ──▶ Frame: runs of zeros, content, copies ──▶ PAGE, …
 *   counts ──▶ DONE
 *
 * Content that was written before is named by where: by the page before, or by a table of digests
 * of bounded size, one place per value. What falls out of it is written again: that costs bytes,
 * never truth.
 */
#include <vmckpt/exchange/archive.h>

#include "archive-format.h"

#include <vmckpt/util/bytes.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/json.h>

#include <string.h>
#include <zstd.h>

#define COMPRESSION_LEVEL 3
#define SEEN_SLOTS (1u << 19) /* 24 MiB; content of 2 GiB */

typedef struct {
  guint8 digest[ARCHIVE_DIGEST_BYTES];
  guint64 page;
  guint32 part;
  guint32 used;
} Seen;

typedef struct {
  guint32 kind, count, source_part;
  guint64 source_page;
} Run;

typedef struct {
  const ExportSink *sink;
  guint8 chain[ARCHIVE_DIGEST_BYTES];
  guint64 records, content_pages;
  guint64 done, total; /* bytes of the checkpoint */
  ZSTD_CCtx *zstd;
  GByteArray *stored; /* a compressed payload */
  Seen *seen;
  guint copies; /* runs of copies so far */
  /* The frame being filled. */
  guint32 part;
  Run runs[ARCHIVE_FRAME_RUNS];
  guint n_runs;
  GByteArray *content;
  /* The page before. */
  guint8 last_digest[ARCHIVE_DIGEST_BYTES];
  gboolean last_known;
} Archive;

static void
archive_clear (Archive *archive)
{
  ZSTD_freeCCtx (archive->zstd);
  g_byte_array_unref (archive->stored);
  g_byte_array_unref (archive->content);
  g_free (archive->seen);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Archive, archive_clear)

static gboolean
put (Archive *archive, const guint8 *data, gsize len, GError **error)
{
  return archive->sink->write (data, len, archive->sink->user_data, error);
}

static gboolean
put_record (Archive *archive, const char *tag, const guint8 *payload, gsize len, GError **error)
{
  g_autoptr (GByteArray) head = g_byte_array_sized_new (ARCHIVE_RECORD_BYTES);

  g_byte_array_set_size (archive->stored, ZSTD_compressBound (len));
  size_t stored = ZSTD_compressCCtx (archive->zstd, archive->stored->data, archive->stored->len,
                                     payload, len, COMPRESSION_LEVEL);
  if (ZSTD_isError (stored)) {
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED, "compressing: %s",
                 ZSTD_getErrorName (stored));
    return FALSE;
  }
  g_byte_array_append (head, (const guint8 *)tag, ARCHIVE_TAG_BYTES);
  bytes_add_le32 (head, stored);
  bytes_add_le32 (head, len);
  archive_chain (archive->chain, FALSE, head->data, head->len, archive->stored->data, stored);
  archive->records++;
  return put (archive, head->data, head->len, error) &&
         put (archive, archive->stored->data, stored, error) &&
         put (archive, archive->chain, sizeof archive->chain, error);
}

static gboolean
put_header (Archive *archive, GError **error)
{
  g_autoptr (GByteArray) header = g_byte_array_new();

  g_byte_array_append (header, (const guint8 *)ARCHIVE_MAGIC, ARCHIVE_MAGIC_BYTES);
  bytes_add_le32 (header, ARCHIVE_VERSION);
  bytes_add_le32 (header, ARCHIVE_VERSION);
  archive_chain (archive->chain, TRUE, header->data, header->len, NULL, 0);
  return put (archive, header->data, header->len, error);
}

static void
set_text (JsonObject *object, const char *member, const char *text)
{
  if (text != NULL)
    json_object_set_string_member (object, member, text);
}

static JsonArray *
describe_parts (const Manifest *manifest)
{
  JsonArray *parts = json_array_new();

  for (guint i = 0; i < manifest->parts->len; i++) {
    const ManifestPart *part = manifest->parts->pdata[i];
    JsonObject *one = json_object_new();
    json_object_set_string_member (one, "role", part->role);
    json_object_set_string_member (one, "name", part->name);
    json_object_set_int_member (one, "length", part->map.length);
    json_array_add_object_element (parts, one);
  }
  return parts;
}

static JsonObject *
describe (Store *store, const Manifest *manifest, GError **error)
{
  g_auto (GStrv) tags = store_tags (store, manifest, error);

  if (tags == NULL)
    return NULL;
  JsonObject *document = json_object_new();
  JsonArray *list = json_array_new();
  set_text (document, "id", manifest->id);
  set_text (document, "guest", manifest->guest);
  set_text (document, "guest_uuid", manifest->guest_uuid);
  set_text (document, "host", manifest->host);
  set_text (document, "engine", manifest->engine);
  set_text (document, "mode", manifest->mode);
  set_text (document, "tag", manifest->tag);
  set_text (document, "note", manifest->note);
  json_object_set_int_member (document, "created_us", manifest->created_us);
  for (guint i = 0; tags[i] != NULL; i++)
    json_array_add_string_element (list, tags[i]);
  json_object_set_array_member (document, "tags", list);
  if (manifest->machine != NULL)
    json_object_set_object_member (document, "machine", json_object_ref (manifest->machine));
  if (manifest->report != NULL)
    json_object_set_object_member (document, "report", json_object_ref (manifest->report));
  json_object_set_array_member (document, "parts", describe_parts (manifest));
  return document;
}

static gboolean
put_document (Archive *archive, Store *store, const Manifest *manifest, GError **error)
{
  g_autoptr (JsonObject) document = describe (store, manifest, error);

  if (document == NULL)
    return FALSE;
  g_autofree char *text = json_to_line (document);
  return put_record (archive, ARCHIVE_TAG_DOCUMENT, (const guint8 *)text, strlen (text), error);
}

/* ---- Pages ---- */

static gboolean
flush_frame (Archive *archive, GError **error)
{
  g_autoptr (GByteArray) frame = NULL;

  if (archive->n_runs == 0)
    return TRUE;
  frame = g_byte_array_sized_new (ARCHIVE_FRAME_HEAD + archive->n_runs * ARCHIVE_RUN_BYTES +
                                  archive->content->len);
  bytes_add_le32 (frame, archive->part);
  bytes_add_le32 (frame, archive->n_runs);
  for (guint i = 0; i < archive->n_runs; i++) {
    const Run *run = &archive->runs[i];
    bytes_add_le32 (frame, run->kind);
    bytes_add_le32 (frame, run->count);
    bytes_add_le32 (frame, run->source_part);
    bytes_add_le32 (frame, 0);
    bytes_add_le64 (frame, run->source_page);
  }
  g_byte_array_append (frame, archive->content->data, archive->content->len);
  archive->n_runs = 0;
  g_byte_array_set_size (archive->content, 0);
  return put_record (archive, ARCHIVE_TAG_PAGES, frame->data, frame->len, error);
}

/* Adds pages to the last run if they go on with it, else begins one. */
static gboolean
add_run (Archive *archive, const Run *run, GError **error)
{
  Run *last = archive->n_runs > 0 ? &archive->runs[archive->n_runs - 1] : NULL;
  gboolean goes_on =
      last != NULL && last->kind == run->kind &&
      last->count <= ARCHIVE_RUN_PAGES_MAX - run->count &&
      (run->kind != ARCHIVE_RUN_COPY || (last->source_part == run->source_part &&
                                         last->source_page + last->count == run->source_page));

  if (goes_on) {
    last->count += run->count;
    return TRUE;
  }
  if (archive->n_runs == ARCHIVE_FRAME_RUNS && !flush_frame (archive, error))
    return FALSE;
  archive->copies += run->kind == ARCHIVE_RUN_COPY;
  archive->runs[archive->n_runs++] = *run;
  return TRUE;
}

static gboolean
add_zeros (Archive *archive, guint64 count, GError **error)
{
  while (count > 0) {
    guint32 some = MIN (count, ARCHIVE_RUN_PAGES_MAX);
    if (!add_run (archive, &(Run){ .kind = ARCHIVE_RUN_ZEROS, .count = some }, error))
      return FALSE;
    count -= some;
    archive->last_known = FALSE;
  }
  return TRUE;
}

static gboolean
add_content (Archive *archive, const guint8 *data, GError **error)
{
  if (archive->content->len == ARCHIVE_FRAME_PAGES * PAGE_SIZE_BYTES &&
      !flush_frame (archive, error))
    return FALSE;
  if (!add_run (archive, &(Run){ .kind = ARCHIVE_RUN_CONTENT, .count = 1 }, error))
    return FALSE;
  g_byte_array_append (archive->content, data, PAGE_SIZE_BYTES);
  archive->content_pages++;
  return TRUE;
}

static gboolean
add_page (Archive *archive, guint64 page, const guint8 *data, GError **error)
{
  guint8 digest[ARCHIVE_DIGEST_BYTES];
  guint32 place;
  Run copy = { .kind = ARCHIVE_RUN_COPY, .count = 1, .source_part = archive->part };

  crypto_generichash (digest, sizeof digest, data, PAGE_SIZE_BYTES, NULL, 0);
  memcpy (&place, digest, sizeof place);
  Seen *seen = &archive->seen[place % SEEN_SLOTS];
  gboolean repeats =
      archive->last_known && memcmp (digest, archive->last_digest, sizeof digest) == 0;
  gboolean known = repeats || (seen->used && memcmp (digest, seen->digest, sizeof digest) == 0);
  memcpy (archive->last_digest, digest, sizeof digest);
  archive->last_known = TRUE;
  if (known && archive->copies < ARCHIVE_COPIES_MAX) {
    copy.source_page = repeats ? page - 1 : seen->page;
    copy.source_part = repeats ? archive->part : seen->part;
    return add_run (archive, &copy, error);
  }
  *seen = (Seen){ .page = page, .part = archive->part, .used = TRUE };
  memcpy (seen->digest, digest, sizeof digest);
  return add_content (archive, data, error);
}

typedef struct {
  Archive *archive;
  guint64 next; /* the first page that was not added */
} PartCursor;

static gboolean
on_page (guint64 page, const guint8 *data, gpointer user_data, GError **error)
{
  PartCursor *cursor = user_data;
  Archive *archive = cursor->archive;
  guint64 passed = page + 1 - cursor->next;

  if (!add_zeros (archive, page - cursor->next, error) || !add_page (archive, page, data, error))
    return FALSE;
  cursor->next = page + 1;
  archive->done += passed * PAGE_SIZE_BYTES;
  return archive->sink->progress == NULL ||
         archive->sink->progress (archive->done, archive->total, archive->sink->user_data, error);
}

static gboolean
put_part (Archive *archive, Store *store, guint index, const ManifestPart *part, GError **error)
{
  ERROR_PREFIX (error, "part %s %s", part->role, part->name);
  guint64 pages = part->map.length / PAGE_SIZE_BYTES + (part->map.length % PAGE_SIZE_BYTES != 0);
  PartCursor cursor = { .archive = archive };
  g_autoptr (PageMapReader) reader = page_map_reader_new (store, &part->map, error);

  archive->part = index;
  archive->last_known = FALSE;
  if (reader == NULL || !page_map_reader_foreach (reader, FALSE, on_page, &cursor, NULL,
                                                  archive->sink->cancellable, error))
    return FALSE;
  archive->done += (pages - cursor.next) * PAGE_SIZE_BYTES;
  return add_zeros (archive, pages - cursor.next, error) && flush_frame (archive, error);
}

static gboolean
put_done (Archive *archive, GError **error)
{
  g_autoptr (GByteArray) counts = g_byte_array_new();

  bytes_add_le64 (counts, archive->records);
  bytes_add_le64 (counts, archive->content_pages);
  return put_record (archive, ARCHIVE_TAG_DONE, counts->data, counts->len, error);
}

gboolean
archive_write (Store *store, const Manifest *manifest, const ExportSink *sink, GError **error)
{
  g_auto (Archive) archive = { .sink = sink,
                               .zstd = ZSTD_createCCtx(),
                               .stored = g_byte_array_new(),
                               .content = g_byte_array_new(),
                               .seen = g_new0 (Seen, SEEN_SLOTS) };

  for (guint i = 0; i < manifest->parts->len; i++)
    archive.total += ((const ManifestPart *)manifest->parts->pdata[i])->map.length;
  if (!put_header (&archive, error) || !put_document (&archive, store, manifest, error))
    return FALSE;
  for (guint i = 0; i < manifest->parts->len; i++)
    if (!put_part (&archive, store, i, manifest->parts->pdata[i], error))
      return FALSE;
  return put_done (&archive, error);
}
