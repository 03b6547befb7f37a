/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Content goes into the store as it comes. Pages that are equal to earlier ones are only noted;
 * when all is read they are taken from the store, which by then can read what this transaction
 * wrote, and put on top:
 *
 *   archive ──▶ pages ──▶ a map per part ──flush──▶ equal pages, read and put ──▶ the part's map
 */
#include "import-archive.h"

#include "archive-format.h"
#include "copy-list.h"

#include <vmckpt/exchange/archive.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>
#include <vmckpt/util/json.h>
#include <vmckpt/util/name.h>

#include <string.h>

#define TAGS_MAX 256
#define COPY_PIECE 256 /* pages between looks at whether somebody still waits */

typedef struct {
  Store *store;
  StoreWriter *writer;
  const ImportOptions *options;
  Manifest *manifest; /* its parts have their final maps at the end */
  GStrv *tags;
  PageMapWriter *map; /* (nullable): of the part that is being read */
  guint part;
  CopyList *copies;
  gboolean visited;
} ArchiveImport;

static void
archive_import_clear (ArchiveImport *import)
{
  g_clear_pointer (&import->map, page_map_writer_free);
  copy_list_free (import->copies);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (ArchiveImport, archive_import_clear)

/* ---- The document ---- */

static char *
copy_text (JsonObject *document, const char *member)
{
  return g_strdup (json_get_string_or (document, member, NULL));
}

static gboolean
take_tags (ArchiveImport *import, JsonObject *document, GError **error)
{
  JsonArray *tags = json_get_array (document, "tags", error);
  g_autoptr (GStrvBuilder) builder = g_strv_builder_new();

  if (tags == NULL)
    return FALSE;
  for (guint i = 0; i < MIN (json_array_get_length (tags), TAGS_MAX); i++) {
    const char *tag = json_array_string_or_null (tags, i);
    if (tag == NULL || !name_check (tag, "tag", error))
      return FALSE;
    g_strv_builder_add (builder, tag);
  }
  *import->tags = g_strv_builder_end (builder);
  return TRUE;
}

/* The same guest under another name: its record of how it is built says so too. */
static void
rename_guest (Manifest *manifest, const char *name)
{
  JsonObject *spec =
      manifest->machine != NULL ? json_get_object (manifest->machine, "spec", NULL) : NULL;

  g_free (manifest->guest);
  manifest->guest = g_strdup (name);
  if (spec != NULL)
    json_object_set_string_member (spec, "name", name);
  if (manifest->report != NULL)
    json_object_set_string_member (manifest->report, "guest", name);
}

/* Who made the archive says which program a restore runs, and with what. What another host's QEMU
 * would not need is told. */
static void
tell_what_runs (const ImportOptions *options, JsonObject *machine)
{
  JsonObject *spec = json_get_object (machine, "spec", NULL);
  const char *qemu = spec != NULL ? json_get_string_or (spec, "qemu", NULL) : NULL;
  JsonArray *extra = spec != NULL ? json_get_array (spec, "extra", NULL) : NULL;
  guint count = extra != NULL ? json_array_get_length (extra) : 0;
  g_autofree char *base = g_path_get_basename (qemu != NULL ? qemu : "");
  g_autofree char *usual = g_find_program_in_path (base);
  gboolean odd = qemu != NULL && (!g_str_has_prefix (base, "qemu-system-") || usual == NULL ||
                                  (!g_str_equal (qemu, base) && !g_str_equal (qemu, usual)));
  g_autofree char *text =
      g_strdup_printf ("a restore runs '%.200s' with %u arguments that the archive brings: see "
                       "them with 'vmckpt --json show', unless you trust who made it",
                       qemu != NULL ? qemu : "", count);

  if ((odd || count > 0) && options->message != NULL)
    options->message (text, options->user_data);
}

/* When the checkpoint was taken. A time that is yet to come would keep it from every rule of
 * retention, and let it take the place of one that is the newest: such a one is taken as now. */
static gint64
taken_us (const ImportOptions *options, guint64 created_us)
{
  gint64 now = g_get_real_time();

  if (created_us <= (guint64)now + G_TIME_SPAN_DAY)
    return (gint64)created_us;
  if (options->message != NULL)
    options->message ("the archive says that it was taken in the future: here, it was taken now",
                      options->user_data);
  return now;
}

static gboolean
on_document (JsonObject *document, gpointer user_data, GError **error)
{
  ArchiveImport *import = user_data;
  Manifest *manifest = import->manifest;
  JsonObject *machine = json_get_object (document, "machine", error);
  JsonObject *report = json_get_object (document, "report", NULL);
  JsonArray *parts = json_get_array (document, "parts", error);
  guint64 created_us;

  if (machine == NULL || parts == NULL || json_get_string (document, "guest", error) == NULL ||
      json_get_string (document, "guest_uuid", error) == NULL ||
      !json_get_uint64 (document, "created_us", &created_us, error))
    return FALSE;
  manifest->guest = copy_text (document, "guest");
  manifest->guest_uuid = copy_text (document, "guest_uuid");
  manifest->host = copy_text (document, "host");
  manifest->engine = copy_text (document, "engine");
  manifest->mode = copy_text (document, "mode");
  manifest->tag = copy_text (document, "tag");
  manifest->note = copy_text (document, "note");
  manifest->created_us = taken_us (import->options, created_us);
  manifest->machine = json_object_ref (machine);
  manifest->report = report != NULL ? json_object_ref (report) : NULL;
  for (guint i = 0; i < json_array_get_length (parts); i++) {
    JsonObject *part = json_array_get_object_element (parts, i);
    PageMap map = { .length = json_get_uint64_or (part, "length", 0) };
    manifest_add_part (manifest, json_get_string_or (part, "role", ""),
                       json_get_string_or (part, "name", ""), &map);
  }
  if (!name_check (manifest->guest, "guest name", error) || !take_tags (import, document, error))
    return FALSE;
  if (import->options->name != NULL)
    rename_guest (manifest, import->options->name);
  tell_what_runs (import->options, machine);
  return store_writer_enforce_quota (import->writer, manifest->guest, error);
}

/* ---- Pages ---- */

static ManifestPart *
part_at (const ArchiveImport *import, guint index)
{
  return import->manifest->parts->pdata[index];
}

static gboolean
finish_part (ArchiveImport *import, GError **error)
{
  gboolean done =
      import->map == NULL ||
      page_map_writer_finish (import->map, &part_at (import, import->part)->map, NULL, error);

  g_clear_pointer (&import->map, page_map_writer_free);
  return done;
}

/* Makes the map of @part the one that is written. */
static gboolean
enter_part (ArchiveImport *import, guint part, GError **error)
{
  if (import->map != NULL && import->part == part)
    return TRUE;
  if (!finish_part (import, error))
    return FALSE;
  import->part = part;
  import->map =
      page_map_writer_new (import->writer, part_at (import, part)->map.length, NULL, error);
  return import->map != NULL;
}

static gboolean
on_pages (guint part, guint64 page, guint64 count, const guint8 *data, gpointer user_data,
          GError **error)
{
  ArchiveImport *import = user_data;

  if (!enter_part (import, part, error))
    return FALSE;
  if (data == NULL)
    return TRUE; /* what is not put is zeros */
  for (guint64 i = 0; i < count; i++)
    if (!page_map_writer_put (import->map, page + i, data + i * PAGE_SIZE_BYTES, error))
      return FALSE;
  if (!import->visited && !fault_visit (FAULT_IMPORT_MIDDLE, error))
    return FALSE;
  import->visited = TRUE;
  return TRUE;
}

static gboolean
on_copy (guint part, guint64 page, guint64 count, guint from_part, guint64 from_page,
         gpointer user_data, GError **error)
{
  ArchiveImport *import = user_data;

  copy_list_add (import->copies, &(CopyRun){ .part = part,
                                             .page = page,
                                             .count = count,
                                             .from_part = from_part,
                                             .from_page = from_page });
  return enter_part (import, part, error);
}

/* ---- Pages that are equal to others ---- */

typedef struct {
  PageMapReader **readers; /* a reader per part, opened when needed */
  const PageMap *maps;     /* as they were before any copy */
  guint count;
} Sources;

static void
sources_clear (Sources *sources)
{
  for (guint i = 0; i < sources->count; i++)
    g_clear_pointer (&sources->readers[i], page_map_reader_free);
  g_free (sources->readers);
  g_free ((gpointer)sources->maps);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Sources, sources_clear)

static gboolean
copy_page (ArchiveImport *import, Sources *sources, const CopyRun *run, guint64 into,
           PageMapWriter *map, GError **error)
{
  guint8 data[PAGE_SIZE_BYTES];
  guint32 part = run->part;
  guint64 page = run->page + into;

  copy_list_resolve (import->copies, &part, &page);
  if (sources->readers[part] == NULL)
    sources->readers[part] = page_map_reader_new (import->store, &sources->maps[part], error);
  return sources->readers[part] != NULL &&
         page_map_reader_read (sources->readers[part], page, data, error) &&
         page_map_writer_put (map, run->page + into, data, error);
}

/* A run of a few bytes in the archive may be one of tebibytes. */
static gboolean
go_on (const ArchiveImport *import, guint32 part, guint64 page, GError **error)
{
  progress_report (import->options->progress, PHASE_STORE, page * PAGE_SIZE_BYTES,
                   part_at (import, part)->map.length);
  return !g_cancellable_set_error_if_cancelled (import->options->cancellable, error);
}

/* Puts the runs from @index on that belong to one part; returns the next index, or -1. */
static gint64
copy_part (ArchiveImport *import, Sources *sources, guint index, GError **error)
{
  ManifestPart *part = part_at (import, copy_list_get (import->copies, index)->part);
  guint32 number = copy_list_get (import->copies, index)->part;
  g_autoptr (PageMapWriter) map =
      page_map_writer_new (import->writer, part->map.length, &sources->maps[number], error);

  if (map == NULL)
    return -1;
  for (; index < copy_list_length (import->copies); index++) {
    const CopyRun *run = copy_list_get (import->copies, index);
    if (run->part != number)
      break;
    for (guint64 i = 0; i < run->count; i++)
      if ((i % COPY_PIECE == 0 && !go_on (import, number, run->page + i, error)) ||
          !copy_page (import, sources, run, i, map, error))
        return -1;
  }
  return page_map_writer_finish (map, &part->map, NULL, error) ? (gint64)index : -1;
}

static gboolean
put_copies (ArchiveImport *import, GError **error)
{
  guint count = import->manifest->parts->len;
  PageMap *maps = g_new (PageMap, MAX (count, 1));
  g_auto (Sources) sources = { g_new0 (PageMapReader *, MAX (count, 1)), maps, count };

  if (copy_list_length (import->copies) == 0)
    return TRUE;
  for (guint i = 0; i < count; i++)
    maps[i] = part_at (import, i)->map;
  if (!store_writer_flush (import->writer, import->options->cancellable, error))
    return FALSE;
  for (gint64 index = 0; index < copy_list_length (import->copies);)
    if ((index = copy_part (import, &sources, index, error)) < 0)
      return FALSE;
  return TRUE;
}

gboolean
import_archive (Store *store, StoreWriter *writer, int fd, const ImportOptions *options,
                Manifest *manifest, GStrv *tags, GError **error)
{
  static const ArchiveEvents events = { on_document, on_pages, on_copy };
  g_auto (ArchiveImport) import = { .store = store,
                                    .writer = writer,
                                    .options = options,
                                    .manifest = manifest,
                                    .tags = tags,
                                    .copies = copy_list_new() };

  return archive_parse (fd, &events, &import, options->cancellable, error) &&
         finish_part (&import, error) && put_copies (&import, error);
}
