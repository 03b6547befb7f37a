/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The reader on streams that QEMU does not send, or not with the capabilities used here. */
#include <vmckpt/qmp/stream-reader.h>

#include "qemu-stream.h"
#include "stream-build.h"
#include "stream-format.h"

#include <string.h>

/* Reads @stream, which has to fail with @code and a message that has @text in it. */
static void
assert_refused (GByteArray *stream, StreamError code, const char *text)
{
  g_autoptr (StreamReader) reader = stream_reader_new_for_data (stream->data, stream->len);
  g_auto (StreamContents) contents = { 0 };
  g_autoptr (GError) error = NULL;

  g_assert_false (stream_contents_read (&contents, reader, &error));
  g_assert_error (error, STREAM_ERROR, (int)code);
  if (strstr (error->message, text) == NULL)
    g_error ("'%s' is not in '%s'", text, error->message);
  g_assert_nonnull (strstr (error->message, "at byte "));
}

static void
test_good (void)
{
  g_autoptr (GByteArray) stream = build_stream();
  g_autoptr (StreamReader) reader = stream_reader_new_for_data (stream->data, stream->len);
  g_auto (StreamContents) contents = { 0 };
  g_autoptr (GError) error = NULL;

  stream_contents_read (&contents, reader, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (contents.machine, ==, "m");
  g_assert_cmpuint (contents.blocks->len, ==, 2);
  GByteArray *b = g_ptr_array_index (contents.images, 1);
  g_assert_cmpuint (b->data[STREAM_PAGE_SIZE], ==, 'b');
  for (gsize cut = 0; cut < stream->len; cut++) {
    g_autoptr (GByteArray) part = g_byte_array_new();
    g_byte_array_append (part, stream->data, (guint)cut);
    if (stream->data[MAX (cut, 1) - 1] != STREAM_EOF || stream->data[cut] != STREAM_DESCRIPTION)
      assert_refused (part, STREAM_ERROR_TRUNCATED, "");
  }
}

/* --- header --------------------------------------------------------------------------------------
 */

static void
test_header (void)
{
  g_autoptr (GByteArray) stream = build_stream();

  stream->data[0] = 'q';
  assert_refused (stream, STREAM_ERROR_GARBLED, "at byte 0: it is not one");
  stream->data[0] = 'Q';
  stream->data[7] = 2;
  assert_refused (stream, STREAM_ERROR_UNSUPPORTED, "version 2");
  stream->data[7] = 3;
  stream->data[8] = STREAM_SECTION_START;
  assert_refused (stream, STREAM_ERROR_UNSUPPORTED, "no configuration");
  stream->data[8] = STREAM_CONFIGURATION;
  stream->data[9] = 1;
  assert_refused (stream, STREAM_ERROR_GARBLED, "machine type");
  stream->data[9] = 0;
  stream->data[13] = '\n';
  assert_refused (stream, STREAM_ERROR_GARBLED, "machine type");
}

/* A stream whose configuration has such a subsection, with up to @len bytes of fields. */
static GByteArray *
with_subsection (const char *name, const char *fields, guint len)
{
  GByteArray *stream = g_byte_array_new();

  build_header (stream);
  build_subsection (stream, name);
  g_byte_array_append (stream, (const guint8 *)fields, len);
  build_ram_start (stream);
  build_devices (stream);
  return stream;
}

static void
test_configuration (void)
{
  static const struct {
    const char *name, *fields;
    guint len;
    const char *text; /* of the refusal; NULL: good */
  } cases[] = {
    { "configuration/target-page-bits", "\0\0\0\x0c", 4, NULL },
    { "configuration/target-page-bits", "\0\0\0\x10", 4, "4 KiB" },
    { "configuration/uuid", "0123456789abcdef", 16, NULL },
    { "configuration/capabilities", "\0\0\0\0", 4, NULL },
    { "configuration/capabilities", "\0\0\0\1\x0amapped-ram", 15, "mapped-ram" },
    { "configuration/wormhole", "", 0, "wormhole" },
  };

  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (GByteArray) stream = with_subsection (cases[i].name, cases[i].fields, cases[i].len);
    g_autoptr (StreamReader) reader = stream_reader_new_for_data (stream->data, stream->len);
    g_auto (StreamContents) contents = { 0 };
    g_autoptr (GError) error = NULL;
    if (cases[i].text != NULL)
      assert_refused (stream, STREAM_ERROR_UNSUPPORTED, cases[i].text);
    else
      g_assert_true (stream_contents_read (&contents, reader, &error));
    g_assert_no_error (error);
  }
  g_autoptr (GByteArray) twice = g_byte_array_new();
  build_header (twice);
  for (int i = 0; i < 2; i++) {
    build_subsection (twice, "configuration/capabilities");
    bytes_add_be32 (twice, 0);
  }
  assert_refused (twice, STREAM_ERROR_GARBLED, "capabilities come twice");
  g_autofree char *fields = g_malloc0 (70000);
  memset (fields, 0x01, 70000);
  g_autoptr (GByteArray) endless = with_subsection ("configuration/capabilities", fields, 70000);
  assert_refused (endless, STREAM_ERROR_GARBLED, "name is garbled");
}

/* --- sections ------------------------------------------------------------------------------------
 */

/* What comes behind a good beginning, and how it is refused. */
typedef struct {
  const char *name;
  void (*append) (GByteArray *stream);
  StreamError code;
  const char *text;
} Refusal;

static void
live_device (GByteArray *stream)
{
  build_section (stream, STREAM_SECTION_START, 9, "dirty-bitmap", 1);
}

static void
second_ram (GByteArray *stream)
{
  build_ram_start (stream);
}

static void
unknown_type (GByteArray *stream)
{
  bytes_add_u8 (stream, 0x33);
}

static void
no_devices (GByteArray *stream)
{
  bytes_add_u8 (stream, STREAM_EOF);
}

static void
other_part (GByteArray *stream)
{
  bytes_add_u8 (stream, STREAM_SECTION_PART);
  bytes_add_be32 (stream, 77);
}

static void
part_after_end (GByteArray *stream)
{
  build_ram_part (stream, STREAM_SECTION_END);
  build_ram_end (stream);
  build_ram_part (stream, STREAM_SECTION_PART);
}

static void
postcopy_command (GByteArray *stream)
{
  bytes_add_u8 (stream, STREAM_COMMAND);
  bytes_add_be16 (stream, 3);
  bytes_add_be16 (stream, 0);
}

static void
bad_section_name (GByteArray *stream)
{
  build_section (stream, STREAM_SECTION_FULL, 9, "a\tb", 1);
}

static void
ram_after_device (GByteArray *stream)
{
  build_section (stream, STREAM_SECTION_FULL, 9, "timer", 1);
  build_footer (stream, 9);
  build_ram_part (stream, STREAM_SECTION_PART);
  build_ram_end (stream);
}

static void
more_after_the_end (GByteArray *stream)
{
  build_devices (stream);
  build_description (stream, 2, "{}x}");
}

static void
short_description (GByteArray *stream)
{
  build_devices (stream);
  build_description (stream, 3, "{}");
}

static void
add_word (GByteArray *stream, guint64 word)
{
  build_ram_part (stream, STREAM_SECTION_PART);
  bytes_add_be64 (stream, word);
}

static void
xbzrle (GByteArray *stream)
{
  add_word (stream, STREAM_RAM_XBZRLE);
}

static void
compressed (GByteArray *stream)
{
  add_word (stream, STREAM_RAM_COMPRESS | STREAM_RAM_CONTINUE);
}

static void
multifd (GByteArray *stream)
{
  add_word (stream, STREAM_RAM_MULTIFD_FLUSH);
}

static void
rdma (GByteArray *stream)
{
  add_word (stream, STREAM_RAM_HOOK);
}

static void
unknown_flag (GByteArray *stream)
{
  add_word (stream, 0x400);
}

static void
page_and_zero (GByteArray *stream)
{
  add_word (stream, STREAM_RAM_PAGE | STREAM_RAM_ZERO);
}

static void
offset_at_eos (GByteArray *stream)
{
  add_word (stream, STREAM_PAGE_SIZE | STREAM_RAM_EOS);
}

static void
blocks_again (GByteArray *stream)
{
  add_word (stream, STREAM_PAGE_SIZE | STREAM_RAM_MEM_SIZE);
}

static void
unknown_block (GByteArray *stream)
{
  build_ram_part (stream, STREAM_SECTION_PART);
  build_page (stream, "c", 0, 1);
}

static void
no_block (GByteArray *stream)
{
  build_ram_part (stream, STREAM_SECTION_PART);
  build_page (stream, NULL, 0, 1);
}

static void
outside_of_block (GByteArray *stream)
{
  build_ram_part (stream, STREAM_SECTION_PART);
  build_page (stream, "b", 2 * STREAM_PAGE_SIZE, 1);
}

static void
zero_of_ones (GByteArray *stream)
{
  build_ram_part (stream, STREAM_SECTION_PART);
  build_page (stream, "a", 0, 0);
  stream->data[stream->len - 1] = 1;
}

static void
no_footer (GByteArray *stream)
{
  build_ram_part (stream, STREAM_SECTION_PART);
  build_ram_end (stream);
  stream->data[stream->len - 5] = 0;
}

static void
wrong_footer (GByteArray *stream)
{
  build_ram_part (stream, STREAM_SECTION_PART);
  build_ram_end (stream);
  stream->data[stream->len - 1] ^= 1;
}

static const Refusal refusals[] = {
  { "live-device", live_device, STREAM_ERROR_UNSUPPORTED, "dirty-bitmap" },
  { "second-ram", second_ram, STREAM_ERROR_GARBLED, "second time" },
  { "unknown-type", unknown_type, STREAM_ERROR_GARBLED, "0x33" },
  { "no-devices", no_devices, STREAM_ERROR_GARBLED, "without device state" },
  { "other-part", other_part, STREAM_ERROR_GARBLED, "not under way" },
  { "part-after-end", part_after_end, STREAM_ERROR_GARBLED, "not under way" },
  { "postcopy-command", postcopy_command, STREAM_ERROR_UNSUPPORTED, "command 3" },
  { "bad-section-name", bad_section_name, STREAM_ERROR_GARBLED, "section's name" },
  { "ram-after-device", ram_after_device, STREAM_ERROR_UNSUPPORTED, "device state of 'timer'" },
  { "more-after-the-end", more_after_the_end, STREAM_ERROR_GARBLED, "description says" },
  { "short-description", short_description, STREAM_ERROR_TRUNCATED, "description" },
  { "xbzrle", xbzrle, STREAM_ERROR_UNSUPPORTED, "XBZRLE" },
  { "compressed", compressed, STREAM_ERROR_UNSUPPORTED, "compressed" },
  { "multifd", multifd, STREAM_ERROR_UNSUPPORTED, "multifd" },
  { "rdma", rdma, STREAM_ERROR_UNSUPPORTED, "RDMA" },
  { "unknown-flag", unknown_flag, STREAM_ERROR_GARBLED, "0x400" },
  { "page-and-zero", page_and_zero, STREAM_ERROR_GARBLED, "0x00a" },
  { "offset-at-eos", offset_at_eos, STREAM_ERROR_GARBLED, "0x010" },
  { "blocks-again", blocks_again, STREAM_ERROR_GARBLED, "size of RAM" },
  { "unknown-block", unknown_block, STREAM_ERROR_GARBLED, "unknown RAM block" },
  { "no-block", no_block, STREAM_ERROR_GARBLED, "unknown RAM block" },
  { "outside-of-block", outside_of_block, STREAM_ERROR_GARBLED, "outside of RAM block 'b'" },
  { "zero-of-ones", zero_of_ones, STREAM_ERROR_GARBLED, "0x01" },
  { "no-footer", no_footer, STREAM_ERROR_GARBLED, "footer" },
  { "wrong-footer", wrong_footer, STREAM_ERROR_GARBLED, "footer" },
};

static void
test_refusal (gconstpointer data)
{
  const Refusal *refusal = data;
  g_autoptr (GByteArray) stream = g_byte_array_new();

  build_header (stream);
  build_ram_start (stream);
  refusal->append (stream);
  assert_refused (stream, refusal->code, refusal->text);
}

static void
test_device_before_ram (void)
{
  g_autoptr (GByteArray) stream = g_byte_array_new();

  build_header (stream);
  build_section (stream, STREAM_SECTION_FULL, 9, "virtio-mem-device-early", 1);
  assert_refused (stream, STREAM_ERROR_UNSUPPORTED, "'virtio-mem-device-early' comes before RAM");
}

static void
test_ram_version (void)
{
  g_autoptr (GByteArray) stream = g_byte_array_new();

  build_header (stream);
  build_section (stream, STREAM_SECTION_START, BUILD_RAM_ID, "ram", 5);
  assert_refused (stream, STREAM_ERROR_UNSUPPORTED, "version 5 of the RAM section");
}

/* Commands that say nothing to a stored stream are passed over. */
static void
test_commands (void)
{
  static const struct {
    guint16 command, len;
  } commands[] = { { 1, 0 }, { 2, 4 }, { 11, 0 } };
  g_autoptr (GByteArray) stream = g_byte_array_new();
  g_auto (StreamContents) contents = { 0 };
  g_autoptr (GError) error = NULL;

  build_header (stream);
  for (gsize i = 0; i < G_N_ELEMENTS (commands); i++) {
    bytes_add_u8 (stream, STREAM_COMMAND);
    bytes_add_be16 (stream, commands[i].command);
    bytes_add_be16 (stream, commands[i].len);
    for (guint j = 0; j < commands[i].len; j++)
      bytes_add_u8 (stream, 0xff);
  }
  build_ram_start (stream);
  build_devices (stream);
  g_autoptr (StreamReader) reader = stream_reader_new_for_data (stream->data, stream->len);
  stream_contents_read (&contents, reader, &error);
  g_assert_no_error (error);
}

/* --- RAM blocks ----------------------------------------------------------------------------------
 */

/* A stream whose START section declares @total bytes; the blocks follow. */
static GByteArray *
with_total (guint64 total)
{
  GByteArray *stream = g_byte_array_new();

  build_header (stream);
  build_section (stream, STREAM_SECTION_START, BUILD_RAM_ID, "ram", STREAM_RAM_VERSION);
  bytes_add_be64 (stream, total | STREAM_RAM_MEM_SIZE);
  return stream;
}

static void
add_block (GByteArray *stream, const char *name, guint64 length)
{
  build_name (stream, name);
  bytes_add_be64 (stream, length);
}

static void
test_blocks (void)
{
  g_autoptr (GByteArray) nothing = with_total (0);
  assert_refused (nothing, STREAM_ERROR_GARBLED, "size of RAM");
  g_autoptr (GByteArray) huge = with_total (STREAM_MAX_RAM + STREAM_PAGE_SIZE);
  assert_refused (huge, STREAM_ERROR_GARBLED, "size of RAM");
  g_autoptr (GByteArray) nameless = with_total (STREAM_PAGE_SIZE);
  add_block (nameless, "", STREAM_PAGE_SIZE);
  assert_refused (nameless, STREAM_ERROR_GARBLED, "name is garbled");
  g_autoptr (GByteArray) more = with_total (STREAM_PAGE_SIZE);
  add_block (more, "a", 2 * STREAM_PAGE_SIZE);
  assert_refused (more, STREAM_ERROR_GARBLED, "length of RAM block 'a'");
  g_autoptr (GByteArray) odd = with_total (STREAM_PAGE_SIZE);
  add_block (odd, "a", 100);
  assert_refused (odd, STREAM_ERROR_GARBLED, "length of RAM block 'a'");
  g_autoptr (GByteArray) twice = with_total (2 * STREAM_PAGE_SIZE);
  add_block (twice, "a", STREAM_PAGE_SIZE);
  add_block (twice, "a", STREAM_PAGE_SIZE);
  assert_refused (twice, STREAM_ERROR_GARBLED, "'a' comes twice");
  g_autoptr (GByteArray) many = with_total (8192 * STREAM_PAGE_SIZE);
  for (guint i = 0; i < 8192; i++) {
    g_autofree char *name = g_strdup_printf ("b%u", i);
    add_block (many, name, STREAM_PAGE_SIZE);
  }
  assert_refused (many, STREAM_ERROR_GARBLED, "more than 4096");
  g_autoptr (GByteArray) missing = g_byte_array_new();
  build_header (missing);
  build_section (missing, STREAM_SECTION_START, BUILD_RAM_ID, "ram", STREAM_RAM_VERSION);
  build_ram_end (missing);
  assert_refused (missing, STREAM_ERROR_GARBLED, "blocks are missing");
}

/* A device whose payload looks like section ends and a description does not hide the real end. */
static void
test_imitation (void)
{
  g_autoptr (GByteArray) stream = g_byte_array_new();
  g_auto (StreamContents) contents = { 0 };
  g_autoptr (GError) error = NULL;

  build_header (stream);
  build_ram_start (stream);
  build_section (stream, STREAM_SECTION_FULL, 9, "tricky", 1);
  build_footer (stream, 9);
  bytes_add_u8 (stream, STREAM_EOF);
  build_description (stream, 20, "{}");
  build_footer (stream, 9);
  build_section (stream, STREAM_SECTION_FULL, 33, "no such section", 1);
  build_footer (stream, 9);
  build_devices (stream);
  build_description (stream, 2, "{}");
  g_autoptr (StreamReader) reader = stream_reader_new_for_data (stream->data, stream->len);
  stream_contents_read (&contents, reader, &error);
  g_assert_no_error (error);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/stream-hostile/good", test_good);
  g_test_add_func ("/stream-hostile/header", test_header);
  g_test_add_func ("/stream-hostile/configuration", test_configuration);
  for (gsize i = 0; i < G_N_ELEMENTS (refusals); i++) {
    g_autofree char *name = g_strdup_printf ("/stream-hostile/refused/%s", refusals[i].name);
    g_test_add_data_func (name, &refusals[i], test_refusal);
  }
  g_test_add_func ("/stream-hostile/device-before-ram", test_device_before_ram);
  g_test_add_func ("/stream-hostile/ram-version", test_ram_version);
  g_test_add_func ("/stream-hostile/commands", test_commands);
  g_test_add_func ("/stream-hostile/blocks", test_blocks);
  g_test_add_func ("/stream-hostile/imitation", test_imitation);
  return g_test_run();
}
