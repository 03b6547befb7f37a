/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   07 | be32 n | machine type, n bytes | subsections:
 *        05 | u8 n | name, n bytes | be32 version | fields, which depend on the name
 *
 * Source: vmstate_configuration in QEMU's migration/savevm.c. Subsections have no length, so an
 * unknown one cannot be passed over. "capabilities" lists only those that both sides must agree on:
 * x-ignore-shared (7.2) and mapped-ram (9.0).
 */
#include "stream-config.h"

#include "stream-format.h"

#include <string.h>
#include <vmckpt/util/bytes.h>

#define CAPABILITIES "configuration/capabilities"
#define IGNORE_SHARED "x-ignore-shared"

gboolean
stream_name_good (const guint8 *name, gsize len)
{
  if (len == 0 || len > STREAM_MAX_NAME)
    return FALSE;
  for (gsize i = 0; i < len; i++)
    if (!g_ascii_isprint (name[i]))
      return FALSE;
  return TRUE;
}

/* Takes a length byte and a name; FALSE if the bytes ran out or the name is not one. */
static gboolean
take_name (ByteReader *reader, char name[256])
{
  guint8 len = byte_reader_u8 (reader);
  const guint8 *text = byte_reader_take (reader, len);

  if (text == NULL || !stream_name_good (text, len))
    return FALSE;
  memcpy (name, text, len);
  name[len] = '\0';
  return TRUE;
}

static gboolean
set_bad (GError **error, StreamError code, const char *format, const char *detail)
{
  g_autofree char *text = g_strdup_printf ("%s%s", format, detail);
  g_set_error_literal (error, STREAM_ERROR, code, text);
  return FALSE;
}

/* FALSE if bytes ran out (then @reader says so) or with @error. */
static gboolean
parse_capabilities (ByteReader *reader, StreamConfig *config, GError **error)
{
  guint32 count = byte_reader_be32 (reader);

  for (guint32 i = 0; i < count && !reader->failed; i++) {
    char name[256];
    if (!take_name (reader, name))
      return reader->failed
                 ? FALSE
                 : set_bad (error, STREAM_ERROR_GARBLED, "a capability's name is garbled", "");
    if (strcmp (name, IGNORE_SHARED) == 0)
      config->ignore_shared = TRUE;
    else
      return set_bad (error, STREAM_ERROR_UNSUPPORTED,
                      "it was made with a migration capability that is not supported: ", name);
  }
  return !reader->failed;
}

static gboolean
parse_subsection (ByteReader *reader, StreamConfig *config, gboolean *lists_capabilities,
                  GError **error)
{
  char name[256];

  if (!take_name (reader, name))
    return reader->failed
               ? FALSE
               : set_bad (error, STREAM_ERROR_GARBLED, "a subsection's name is garbled", "");
  byte_reader_be32 (reader);
  if (strcmp (name, CAPABILITIES) == 0) {
    /* Two lists could not both be taken out again. */
    if (config->caps_len > 0)
      return set_bad (error, STREAM_ERROR_GARBLED, "its capabilities come twice", "");
    *lists_capabilities = TRUE;
    return parse_capabilities (reader, config, error);
  }
  if (strcmp (name, "configuration/uuid") == 0)
    return byte_reader_take (reader, 16) != NULL;
  if (strcmp (name, "configuration/target-page-bits") != 0)
    return set_bad (error, STREAM_ERROR_UNSUPPORTED,
                    "its configuration has a part that is not supported: ", name);
  guint32 bits = byte_reader_be32 (reader);
  if (!reader->failed && bits != 12)
    return set_bad (error, STREAM_ERROR_UNSUPPORTED, "the guest's pages are not of 4 KiB", "");
  return !reader->failed;
}

StreamConfigResult
stream_config_parse (const guint8 *data, gsize len, StreamConfig *config, gsize *used,
                     GError **error)
{
  ByteReader reader = BYTE_READER (data, len);
  g_autoptr (GError) cause = NULL;

  *config = (StreamConfig){ 0 };
  byte_reader_u8 (&reader);
  guint32 name_len = byte_reader_be32 (&reader);
  if (!reader.failed && (name_len == 0 || name_len > STREAM_MAX_NAME)) {
    set_bad (error, STREAM_ERROR_GARBLED, "the machine type's name is garbled", "");
    return STREAM_CONFIG_BAD;
  }
  const guint8 *name = byte_reader_take (&reader, name_len);
  if (name == NULL)
    return STREAM_CONFIG_MORE;
  if (!stream_name_good (name, name_len)) {
    set_bad (error, STREAM_ERROR_GARBLED, "the machine type's name is garbled", "");
    return STREAM_CONFIG_BAD;
  }
  memcpy (config->machine, name, name_len);
  while (byte_reader_left (&reader) > 0 && data[reader.pos] == STREAM_SUBSECTION) {
    gsize began = reader.pos;
    gboolean lists_capabilities = FALSE;
    byte_reader_u8 (&reader);
    if (parse_subsection (&reader, config, &lists_capabilities, &cause)) {
      if (lists_capabilities) {
        config->caps_at = began;
        config->caps_len = reader.pos - began;
      }
      continue;
    }
    if (cause == NULL)
      return STREAM_CONFIG_MORE;
    g_propagate_error (error, g_steal_pointer (&cause));
    return STREAM_CONFIG_BAD;
  }
  *used = reader.pos;
  return STREAM_CONFIG_GOOD;
}

/* A length byte and the name. */
static void
add_name (GByteArray *config, const char *name)
{
  bytes_add_u8 (config, (guint8)strlen (name));
  g_byte_array_append (config, (const guint8 *)name, (guint)strlen (name));
}

void
stream_config_add_ignore_shared (GByteArray *config)
{
  bytes_add_u8 (config, STREAM_SUBSECTION);
  add_name (config, CAPABILITIES);
  bytes_add_be32 (config, 1); /* the version of vmstate_configuration's subsection */
  bytes_add_be32 (config, 1); /* one capability */
  add_name (config, IGNORE_SHARED);
}
