/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/exchange/export.h>

#include "elf-core.h"
#include "vmcoreinfo.h"

#include <vmckpt/exchange/archive.h>
#include <vmckpt/exchange/libvirt-save.h>
#include <vmckpt/store/writer.h>
#include <vmckpt/util/error.h>

#define DEVICE_STATE_MAX (256u << 20)

const char *const export_format_names[] = { "archive", "elf", "ram", "disk", "libvirt", NULL };

/* One piece of a checkpoint on its way out, byte by byte. */
typedef struct {
  const ExportSink *sink;
  guint64 length;        /* of the piece */
  guint64 next;          /* the first byte that was not sent */
  guint64 hole, hole_at; /* zeros that the piece does not have, and before which of its bytes */
  guint64 before, total; /* progress: of the pieces before, in all */
} Piece;

static gboolean
send_zeros (Piece *piece, guint64 to, GError **error)
{
  gpointer user_data = piece->sink->user_data;
  guint64 len = to - piece->next;

  if (len > 0 && !piece->sink->zeros (len, user_data, error))
    return FALSE;
  piece->next = to;
  return TRUE;
}

/* Passes zeros up to @to, and the hole if it is on the way. */
static gboolean
pass_to (Piece *piece, guint64 to, GError **error)
{
  if (piece->hole > 0 && piece->hole_at <= to) {
    guint64 hole = piece->hole;
    piece->hole = 0;
    if (!send_zeros (piece, piece->hole_at, error) ||
        !piece->sink->zeros (hole, piece->sink->user_data, error))
      return FALSE;
  }
  return send_zeros (piece, to, error);
}

static gboolean
tell (Piece *piece, guint64 done, GError **error)
{
  const ExportSink *sink = piece->sink;
  return sink->progress == NULL ||
         sink->progress (piece->before + done, piece->total, sink->user_data, error);
}

static gboolean
on_page (guint64 page, const guint8 *data, gpointer user_data, GError **error)
{
  Piece *piece = user_data;
  guint64 offset = page * PAGE_SIZE_BYTES;
  gsize len = MIN (PAGE_SIZE_BYTES, piece->length - offset);

  if (!pass_to (piece, offset, error) ||
      !piece->sink->write (data, len, piece->sink->user_data, error))
    return FALSE;
  piece->next = offset + len;
  return tell (piece, piece->next, error);
}

static gboolean
send_piece (Piece *piece, Store *store, const ManifestPart *part, GError **error)
{
  ERROR_PREFIX (error, "%s %s", part->role, part->name);
  g_autoptr (PageMapReader) reader = page_map_reader_new (store, &part->map, error);

  piece->length = part->map.length;
  return reader != NULL &&
         page_map_reader_foreach (reader, FALSE, on_page, piece, NULL, piece->sink->cancellable,
                                  error) &&
         pass_to (piece, piece->length, error);
}

/* ---- ELF ---- */

static GArray *
read_cpus (Store *store, const Manifest *manifest, GError **error)
{
  const ManifestPart *part = manifest_find_part (manifest, "device-state", NULL);
  g_autoptr (GBytes) bytes = NULL;

  if (part == NULL) {
    g_set_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_NOT_FOUND,
                 "the checkpoint has no device state");
    return NULL;
  }
  bytes = store_read_data (store, &part->map, DEVICE_STATE_MAX, error);
  g_autoptr (VmState) state = bytes != NULL ? vmstate_new (bytes, error) : NULL;
  return state != NULL ? cpu_states_new (state, error) : NULL;
}

static gboolean
on_searched (guint64 done, gpointer user_data, GError **error)
{
  return tell (user_data, done, error);
}

static gboolean
send_elf (Store *store, const Manifest *manifest, const ExportSink *sink, GError **error)
{
  MemoryRange ranges[2];
  guint count;
  const ManifestPart *ram = memory_main_part (manifest, error);
  g_autoptr (GArray) cpus = ram != NULL ? read_cpus (store, manifest, error) : NULL;
  g_autoptr (GBytes) note = NULL;
  gsize len;

  if (cpus == NULL || !memory_layout_of (manifest, ranges, &count, error))
    return FALSE;
  /* RAM is gone through twice: the note's length must be known before the first byte. */
  Piece piece = { .sink = sink, .total = 2 * ram->map.length };
  if (!vmcoreinfo_find (store, &ram->map, &note, on_searched, &piece, sink->cancellable, error))
    return FALSE;
  g_autoptr (GBytes) head = elf_core_head (cpus, ranges, count, note);
  const guint8 *data = g_bytes_get_data (head, &len);
  piece.before = ram->map.length;
  return sink->write (data, len, sink->user_data, error) && send_piece (&piece, store, ram, error);
}

/* ---- Raw ---- */

/* The part to be exported: of that name, else the main or only one. */
static const ManifestPart *
choose_part (const Manifest *manifest, const char *role, const char *name, GError **error)
{
  g_autoptr (GString) names = g_string_new (NULL);
  const ManifestPart *only = NULL;
  guint count = 0;

  for (guint i = 0; i < manifest->parts->len; i++) {
    const ManifestPart *part = manifest->parts->pdata[i];
    if (!g_str_equal (part->role, role))
      continue;
    if (name != NULL && g_str_equal (part->name, name))
      return part;
    only = part;
    g_string_append_printf (names, "%s%s", count++ > 0 ? ", " : "", part->name);
  }
  if (name == NULL && count == 1)
    return only;
  if (name == NULL && count > 1 && g_str_equal (role, "ram"))
    return memory_main_part (manifest, error);
  if (count == 0 && g_str_equal (role, "disk"))
    g_set_error_literal (error, EXCHANGE_ERROR, EXCHANGE_ERROR_NOT_FOUND,
                         "the checkpoint holds no disk");
  else if (count == 0)
    g_set_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_NOT_FOUND,
                 "the checkpoint holds no part of role '%s'", role);
  else if (name != NULL)
    g_set_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_NOT_FOUND,
                 "the checkpoint holds no %s '%s', but %s", role, name, names->str);
  else
    g_set_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_USAGE,
                 "which of the checkpoint's disks? It holds %s", names->str);
  return NULL;
}

static gboolean
send_ram (Store *store, const Manifest *manifest, const ExportOptions *options,
          const ExportSink *sink, GError **error)
{
  const ManifestPart *part = options->physical
                                 ? memory_main_part (manifest, error)
                                 : choose_part (manifest, "ram", options->part, error);
  MemoryRange ranges[2];
  guint count;

  if (part == NULL)
    return FALSE;
  Piece piece = { .sink = sink, .total = part->map.length };
  if (options->physical && !memory_layout_of (manifest, ranges, &count, error))
    return FALSE;
  if (options->physical && count == 2) {
    piece.hole_at = ranges[1].offset;
    piece.hole = ranges[1].physical - ranges[0].length;
  }
  return send_piece (&piece, store, part, error);
}

static gboolean
send_disk (Store *store, const Manifest *manifest, const ExportOptions *options,
           const ExportSink *sink, GError **error)
{
  const ManifestPart *part = choose_part (manifest, "disk", options->part, error);

  if (part == NULL)
    return FALSE;
  Piece piece = { .sink = sink, .total = part->map.length };
  return send_piece (&piece, store, part, error);
}

static gboolean
send_libvirt (Store *store, const Manifest *manifest, const ExportSink *sink, GError **error)
{
  SavedDomain domain;

  return saved_domain_of (manifest, &domain, error) &&
         libvirt_save_write (store, manifest, &domain, NULL, sink, error);
}

gboolean
export_check (Store *store, const Manifest *manifest, ExportFormat format,
              const ExportOptions *options, GError **error)
{
  ERROR_PREFIX (error, "exporting checkpoint %.12s of guest %s", manifest->id, manifest->guest);
  MemoryRange ranges[2];
  SavedDomain domain;
  guint count;

  switch (format) {
  case EXPORT_LIBVIRT:
    return saved_domain_of (manifest, &domain, error);
  case EXPORT_ELF: {
    g_autoptr (GArray) cpus = read_cpus (store, manifest, error);
    return cpus != NULL && memory_layout_of (manifest, ranges, &count, error);
  }
  case EXPORT_RAM:
    if (options->physical)
      return memory_layout_of (manifest, ranges, &count, error);
    return choose_part (manifest, "ram", options->part, error) != NULL;
  case EXPORT_DISK:
    return choose_part (manifest, "disk", options->part, error) != NULL;
  default:
    return TRUE;
  }
}

gboolean
export_checkpoint (Store *store, const Manifest *manifest, ExportFormat format,
                   const ExportOptions *options, const ExportSink *sink, GError **error)
{
  ERROR_PREFIX (error, "exporting checkpoint %.12s of guest %s", manifest->id, manifest->guest);

  switch (format) {
  case EXPORT_ELF:
    return send_elf (store, manifest, sink, error);
  case EXPORT_RAM:
    return send_ram (store, manifest, options, sink, error);
  case EXPORT_DISK:
    return send_disk (store, manifest, options, sink, error);
  case EXPORT_LIBVIRT:
    return send_libvirt (store, manifest, sink, error);
  default:
    return archive_write (store, manifest, sink, error);
  }
}
