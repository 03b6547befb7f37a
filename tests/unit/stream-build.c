/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "stream-build.h"

#include "stream-format.h"

#include <string.h>

void
build_name (GByteArray *stream, const char *name)
{
  bytes_add_u8 (stream, (guint8)strlen (name));
  g_byte_array_append (stream, (const guint8 *)name, (guint)strlen (name));
}

void
build_header (GByteArray *stream)
{
  bytes_add_be32 (stream, STREAM_MAGIC);
  bytes_add_be32 (stream, STREAM_VERSION);
  bytes_add_u8 (stream, STREAM_CONFIGURATION);
  bytes_add_be32 (stream, 1);
  bytes_add_u8 (stream, 'm');
}

void
build_subsection (GByteArray *stream, const char *name)
{
  bytes_add_u8 (stream, STREAM_SUBSECTION);
  build_name (stream, name);
  bytes_add_be32 (stream, 1);
}

void
build_section (GByteArray *stream, guint8 type, guint32 id, const char *name, guint32 version)
{
  bytes_add_u8 (stream, type);
  bytes_add_be32 (stream, id);
  build_name (stream, name);
  bytes_add_be32 (stream, 0);
  bytes_add_be32 (stream, version);
}

void
build_footer (GByteArray *stream, guint32 id)
{
  bytes_add_u8 (stream, STREAM_FOOTER);
  bytes_add_be32 (stream, id);
}

void
build_ram_start (GByteArray *stream)
{
  build_section (stream, STREAM_SECTION_START, BUILD_RAM_ID, "ram", STREAM_RAM_VERSION);
  bytes_add_be64 (stream, 6 * STREAM_PAGE_SIZE | STREAM_RAM_MEM_SIZE);
  build_name (stream, "a");
  bytes_add_be64 (stream, 4 * STREAM_PAGE_SIZE);
  build_name (stream, "b");
  bytes_add_be64 (stream, 2 * STREAM_PAGE_SIZE);
  build_ram_end (stream);
}

void
build_ram_part (GByteArray *stream, guint8 type)
{
  bytes_add_u8 (stream, type);
  bytes_add_be32 (stream, BUILD_RAM_ID);
}

void
build_ram_end (GByteArray *stream)
{
  bytes_add_be64 (stream, STREAM_RAM_EOS);
  build_footer (stream, BUILD_RAM_ID);
}

void
build_page (GByteArray *stream, const char *block, guint64 offset, guint8 fill)
{
  guint64 word = offset | (fill != 0 ? STREAM_RAM_PAGE : STREAM_RAM_ZERO);

  bytes_add_be64 (stream, block != NULL ? word : word | STREAM_RAM_CONTINUE);
  if (block != NULL)
    build_name (stream, block);
  for (int i = 0; i < (fill != 0 ? STREAM_PAGE_SIZE : 1); i++)
    bytes_add_u8 (stream, fill);
}

void
build_description (GByteArray *stream, guint32 announced, const char *text)
{
  bytes_add_u8 (stream, STREAM_DESCRIPTION);
  bytes_add_be32 (stream, announced);
  g_byte_array_append (stream, (const guint8 *)text, (guint)strlen (text));
}

void
build_devices (GByteArray *stream)
{
  build_section (stream, STREAM_SECTION_FULL, 0, "timer", 2);
  bytes_add_be64 (stream, 0x7e7e7e7e7e7e7e7e);
  build_footer (stream, 0);
  build_section (stream, STREAM_SECTION_FULL, 5, "cpu", 12);
  bytes_add_be64 (stream, 0);
  build_footer (stream, 5);
  bytes_add_u8 (stream, STREAM_EOF);
}

GByteArray *
build_stream (void)
{
  GByteArray *stream = g_byte_array_new();

  build_header (stream);
  build_ram_start (stream);
  build_ram_part (stream, STREAM_SECTION_PART);
  build_page (stream, "a", 0, 'a');
  build_ram_end (stream);
  build_ram_part (stream, STREAM_SECTION_END);
  build_page (stream, "b", STREAM_PAGE_SIZE, 'b');
  build_ram_end (stream);
  build_devices (stream);
  build_description (stream, 14, "{\"devices\":[]}");
  return stream;
}

GByteArray *
build_full_stream (void)
{
  GByteArray *stream = g_byte_array_new();

  build_header (stream);
  build_ram_start (stream);
  build_ram_part (stream, STREAM_SECTION_PART);
  for (guint i = 0; i < 4; i++)
    build_page (stream, i == 0 ? "a" : NULL, i * STREAM_PAGE_SIZE, i < 3 ? 'a' + i : 0);
  build_page (stream, "b", 0, 'b');
  build_page (stream, NULL, STREAM_PAGE_SIZE, 0);
  build_ram_end (stream);
  build_ram_part (stream, STREAM_SECTION_END);
  build_ram_end (stream);
  build_devices (stream);
  build_description (stream, 14, "{\"devices\":[]}");
  return stream;
}
