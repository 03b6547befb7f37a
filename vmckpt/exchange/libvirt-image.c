/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt-image.h"

#include <vmckpt/exchange/sink.h>
#include <vmckpt/util/bytes.h>
#include <vmckpt/util/name.h>

#include <string.h>

#define MAGIC_BYTES 16
#define MAGIC "LibvirtQemudSave"
#define MAGIC_UNFINISHED "LibvirtQemudPart"
#define VERSION 2
#define DEPTH_MAX 64
#define TEXT_MAX 65536
#define NOTES_MAX 64

static gboolean
unsupported (GError **error, const char *text)
{
  g_set_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_UNSUPPORTED, "the libvirt save image %s",
               text);
  return FALSE;
}

gboolean
libvirt_header_parse (const guint8 data[LIBVIRT_HEADER_BYTES], LibvirtHeader *header,
                      GError **error)
{
  ByteReader reader = BYTE_READER (data, LIBVIRT_HEADER_BYTES);
  const guint8 *magic = byte_reader_take (&reader, MAGIC_BYTES);
  guint32 version = byte_reader_le32 (&reader);

  *header = (LibvirtHeader){ 0 };
  if (memcmp (magic, MAGIC_UNFINISHED, MAGIC_BYTES) == 0)
    return unsupported (error, "is unfinished: the save was interrupted");
  if (memcmp (magic, MAGIC, MAGIC_BYTES) != 0) {
    g_set_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_DAMAGED,
                 "it is no libvirt save image: the magic is missing");
    return FALSE;
  }
  if (version == GUINT32_SWAP_LE_BE (VERSION))
    return unsupported (error, "is of a host with the other byte order");
  if (version != VERSION)
    return unsupported (error, "has another version than 2");
  header->data_len = byte_reader_le32 (&reader);
  header->was_running = byte_reader_le32 (&reader) != 0;
  header->compressed = byte_reader_le32 (&reader);
  header->cookie_offset = byte_reader_le32 (&reader);
  if (header->data_len >= 2 && header->data_len <= LIBVIRT_XML_MAX &&
      header->cookie_offset < header->data_len)
    return TRUE;
  g_set_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_DAMAGED,
               "the libvirt save image's description of %u bytes is impossible", header->data_len);
  return FALSE;
}

void
libvirt_header_build (const LibvirtHeader *header, guint8 data[LIBVIRT_HEADER_BYTES])
{
  const guint32 numbers[] = { VERSION, header->data_len, header->was_running, header->compressed,
                              header->cookie_offset };

  memset (data, 0, LIBVIRT_HEADER_BYTES);
  memcpy (data, MAGIC, MAGIC_BYTES);
  memcpy (data + MAGIC_BYTES, numbers, sizeof numbers);
}

gboolean
libvirt_header_program (const LibvirtHeader *header, const char **program, GError **error)
{
  static const char *const programs[] = { NULL, "gzip", "bzip2", "xz", "lzop", "zstd" };

  if (header->compressed >= G_N_ELEMENTS (programs))
    return unsupported (error, "is compressed in a way that is not known, or holds its memory by "
                               "address (sparse)");
  *program = programs[header->compressed];
  return TRUE;
}

/* ---- The domain ---- */

typedef struct {
  GuestSpec *spec;
  GPtrArray *notes;
  GString *path; /* "/domain/os/type" */
  guint depth;
  GString *text;
  char *unit; /* of <memory> */
} Domain;

static void
domain_clear (Domain *domain)
{
  g_clear_pointer (&domain->spec, guest_spec_free);
  g_string_free (domain->path, TRUE);
  g_string_free (domain->text, TRUE);
  g_free (domain->unit);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Domain, domain_clear)

static void G_GNUC_PRINTF (2, 3) note (Domain *domain, const char *format, ...)
{
  va_list args;

  if (domain->notes->len >= NOTES_MAX)
    return;
  va_start (args, format);
  g_ptr_array_add (domain->notes, g_strdup_vprintf (format, args));
  va_end (args);
}

static const char *
attribute (const char **names, const char **values, const char *name)
{
  for (guint i = 0; names[i] != NULL; i++)
    if (g_str_equal (names[i], name))
      return values[i];
  return NULL;
}

static gboolean
is_at (const Domain *domain, const char *path)
{
  return g_str_equal (domain->path->str, path);
}

static void
set_text (char **member, const char *value)
{
  g_free (*member);
  *member = g_strdup (value);
}

/* Devices that our driver does not add by itself: QEMU would look for them in the state. */
static void
take_device (Domain *domain, const char *element, const char **names, const char **values)
{
  static const char *const without[] = { "emulator", "serial", "console", "input", NULL };
  const char *model = attribute (names, values, "model");
  const char *type = attribute (names, values, "type");

  if (g_strv_contains (without, element) || g_strcmp0 (model, "none") == 0)
    return;
  const char *kind = type != NULL ? type : model;
  note (domain, "device %s%s%s of the domain is not built by vmckpt: give it after --", element,
        kind != NULL ? " " : "", kind != NULL ? kind : "");
}

static void
on_start (GMarkupParseContext *context, const char *element, const char **names,
          const char **values, gpointer user_data, GError **error)
{
  Domain *domain = user_data;
  const char *value;

  if (++domain->depth > DEPTH_MAX || strlen (element) > TEXT_MAX) {
    g_set_error (error, G_MARKUP_ERROR, G_MARKUP_ERROR_INVALID_CONTENT, "it is nested too deeply");
    return;
  }
  g_string_append_printf (domain->path, "/%s", element);
  g_string_truncate (domain->text, 0);
  if (is_at (domain, "/domain") && (value = attribute (names, values, "type")) != NULL)
    set_text (&domain->spec->accel, g_str_equal (value, "kvm") ? "kvm" : "tcg");
  else if (is_at (domain, "/domain/os/type") &&
           (value = attribute (names, values, "machine")) != NULL)
    set_text (&domain->spec->machine, value);
  else if (is_at (domain, "/domain/memory"))
    set_text (&domain->unit, attribute (names, values, "unit"));
  else if (domain->depth == 3 && g_str_has_prefix (domain->path->str, "/domain/devices/"))
    take_device (domain, element, names, values);
}

static guint64
unit_bytes (const char *unit)
{
  static const struct {
    const char *name;
    guint64 bytes;
  } units[] = { { "b", 1 },         { "bytes", 1 },   { "KiB", 1 << 10 }, { "k", 1 << 10 },
                { "MiB", 1 << 20 }, { "M", 1 << 20 }, { "GiB", 1 << 30 }, { "G", 1 << 30 } };

  for (guint i = 0; unit != NULL && i < G_N_ELEMENTS (units); i++)
    if (g_str_equal (unit, units[i].name))
      return units[i].bytes;
  return 1 << 10;
}

static void
on_end (GMarkupParseContext *context, const char *element, gpointer user_data, GError **error)
{
  Domain *domain = user_data;
  GuestSpec *spec = domain->spec;
  const char *text = g_strstrip (domain->text->str);
  guint64 number = g_ascii_strtoull (text, NULL, 10);

  if (is_at (domain, "/domain/name"))
    set_text (&spec->name, text);
  else if (is_at (domain, "/domain/uuid") && g_uuid_string_is_valid (text))
    set_text (&spec->uuid, text);
  else if (is_at (domain, "/domain/memory") && number <= GUEST_RAM_MAX / unit_bytes (domain->unit))
    spec->ram_bytes = number * unit_bytes (domain->unit);
  else if (is_at (domain, "/domain/vcpu") && number <= GUEST_CPUS_MAX)
    spec->cpus = number;
  else if (is_at (domain, "/domain/os/kernel"))
    set_text (&spec->kernel, text);
  else if (is_at (domain, "/domain/os/initrd"))
    set_text (&spec->initrd, text);
  else if (is_at (domain, "/domain/os/cmdline"))
    set_text (&spec->append, text);
  else if (is_at (domain, "/domain/cpu/model"))
    set_text (&spec->cpu, text);
  g_string_truncate (domain->text, 0);
  g_string_truncate (domain->path, domain->path->len - strlen (element) - 1);
  domain->depth--;
}

static void
on_text (GMarkupParseContext *context, const char *text, gsize len, gpointer user_data,
         GError **error)
{
  Domain *domain = user_data;

  if (domain->text->len + len <= TEXT_MAX)
    g_string_append_len (domain->text, text, len);
}

GuestSpec *
libvirt_xml_parse (const char *xml, gsize len, GPtrArray *notes, GError **error)
{
  static const GMarkupParser parser = { .start_element = on_start,
                                        .end_element = on_end,
                                        .text = on_text };
  g_auto (Domain) domain = { .spec = guest_spec_new (NULL),
                             .notes = notes,
                             .path = g_string_new (NULL),
                             .text = g_string_new (NULL) };
  g_autoptr (GMarkupParseContext) context = g_markup_parse_context_new (&parser, 0, &domain, NULL);
  g_autoptr (GError) cause = NULL;

  if (!g_markup_parse_context_parse (context, xml, strnlen (xml, len), &cause) ||
      !g_markup_parse_context_end_parse (context, &cause)) {
    g_set_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_DAMAGED,
                 "the domain's description in the libvirt save image is no XML: %s",
                 cause->message);
    return NULL;
  }
  return g_steal_pointer (&domain.spec);
}
