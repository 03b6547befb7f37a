/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What QEMU sends, as seen with 7.2 and 10.0 and read in their source (migration/savevm.c, ram.c,
 * migration.c). Sections of live migration carry the RAM; FULL sections carry devices.
 *
 *   plain migration, running or stopped          background-snapshot
 *   ───────────────────────────────────          ───────────────────
 *   "QEVM" version 3                             "QEVM" version 3
 *   07 configuration                             07 configuration
 *   01 START ram: blocks, EOS          7e        01 START ram: blocks, EOS          7e
 *   02 PART  ram: pages, EOS           7e  ┐     02 PART  ram: pages, EOS           7e  ┐ guest
 *   …      one per 50 ms, again for dirty  ┘     …       one per 50 ms, each page once  ┘ runs
 *   08 SWITCHOVER_START (machines ≥ 10.0)        (no END section, no command)
 *   03 END   ram: last pages, EOS      7e
 *   04 FULL  "timer": state            7e  ┐     04 FULL  "timer": state            7e  ┐ saved
 *   04 FULL  … every device …          7e  │     04 FULL  … every device …          7e  │ when it
 *   00 EOF                                 │     00 EOF                                 │ stopped,
 *   06 description: length, JSON           ┘     06 description: length, JSON           ┘ sent last
 *
 * In a background snapshot the devices are saved into a buffer before the first page goes out, and
 * the buffer is sent after the last page: in the stream device state comes last in both kinds, and
 * no RAM section follows it. Nothing says "RAM is complete" but the first device section.
 *
 * With x-ignore-shared the configuration has a subsection that says so, each block is declared with
 * its guest physical address, shared blocks are declared too, and no page of them comes.
 *
 * Not taken: live sections other than RAM (their payload has no length); devices that are saved
 * before RAM (virtio-mem since QEMU 8.1); commands that begin post-copy or COLO. A multifd stream
 * of 7.2 cannot be told from a whole one, because its pages go over other connections: whoever
 * starts the migration must leave that capability off. Nor is it checked here that every page came;
 * that is for whoever keeps them.
 */
#include <vmckpt/qmp/stream-reader.h>

#include "stream-config.h"
#include "stream-format.h"
#include "stream-input.h"
#include "stream-tail.h"

#include <string.h>

GQuark
stream_error_quark (void)
{
  return g_quark_from_static_string ("stream-error-quark");
}

typedef enum {
  AT_HEADER,
  AT_SECTION, /* a section's type comes next */
  IN_RAM,     /* in the payload of a RAM section */
  IN_TAIL,    /* device state and all behind it */
  AT_END,
  AT_ERROR,
} Phase;

struct _StreamReader {
  StreamInput input;
  Phase phase;
  GError *error; /* AT_ERROR */
  StreamConfig config;
  GByteArray *normal_config; /* the configuration without capabilities; NULL: it lists none */
  gboolean ram_seen, ram_ended;
  guint32 ram_id;
  guint64 undeclared; /* bytes of RAM whose blocks are still to be declared */
  gboolean blocks_announced;
  GArray *blocks;          /* of StreamBlock */
  GHashTable *block_index; /* name (owned) → index */
  int last_block;          /* what CONTINUE refers to; -1: none */
  StreamTail tail;
};

static StreamReader *
reader_new (void)
{
  StreamReader *reader = g_new0 (StreamReader, 1);

  reader->blocks = g_array_new (FALSE, FALSE, sizeof (StreamBlock));
  reader->block_index = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  reader->last_block = -1;
  return reader;
}

StreamReader *
stream_reader_new (int fd)
{
  StreamReader *reader = reader_new();

  stream_input_init_fd (&reader->input, fd);
  return reader;
}

StreamReader *
stream_reader_new_for_data (const guint8 *data, gsize len)
{
  StreamReader *reader = reader_new();

  stream_input_init_data (&reader->input, data, len);
  return reader;
}

void
stream_reader_free (StreamReader *reader)
{
  stream_input_clear (&reader->input);
  g_clear_error (&reader->error);
  g_clear_pointer (&reader->normal_config, g_byte_array_unref);
  g_array_unref (reader->blocks);
  g_hash_table_unref (reader->block_index);
  g_free (reader);
}

void
stream_reader_set_patience (StreamReader *reader, int idle_ms, GCancellable *cancellable)
{
  reader->input.idle_ms = idle_ms;
  reader->input.cancellable = cancellable;
}

const StreamBlock *
stream_reader_blocks (StreamReader *reader, guint *count)
{
  *count = reader->blocks->len;
  return (const StreamBlock *)(gpointer)reader->blocks->data;
}

guint64
stream_reader_offset (StreamReader *reader)
{
  return reader->input.offset;
}

void
stream_reader_drain (StreamReader *reader)
{
  stream_input_drain (&reader->input);
}

/* An error at the present place in the stream. */
static gboolean G_GNUC_PRINTF (4, 5)
    set_error (StreamReader *reader, GError **error, StreamError code, const char *format, ...)
{
  va_list args;

  va_start (args, format);
  g_autofree char *text = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error (error, STREAM_ERROR, code, "the migration stream at byte %" G_GUINT64_FORMAT ": %s",
               reader->input.offset, text);
  return FALSE;
}

/* The same with the text of @cause, which is freed. */
static gboolean
set_cause (StreamReader *reader, GError **error, GError *cause)
{
  set_error (reader, error, cause->code, "%s", cause->message);
  g_error_free (cause);
  return FALSE;
}

static guint32
be32_at (const guint8 *data)
{
  return (guint32)data[0] << 24 | (guint32)data[1] << 16 | (guint32)data[2] << 8 | data[3];
}

static guint64
be64_at (const guint8 *data)
{
  guint64 value;

  memcpy (&value, data, sizeof value);
  return GUINT64_FROM_BE (value);
}

/* --- header and sections -------------------------------------------------------------------------
 */

/* Hands on the configuration section of @len bytes that the window begins with, in the form that a
 * stream without capabilities has. */
static void
give_configuration (StreamReader *reader, gsize len, StreamItem *item)
{
  const StreamConfig *config = &reader->config;

  *item = (StreamItem){ .type = STREAM_ITEM_CONFIGURATION,
                        .data = reader->input.at,
                        .len = len,
                        .machine = config->machine,
                        .ignore_shared = config->ignore_shared };
  if (config->caps_len == 0)
    return;
  reader->normal_config = g_byte_array_new();
  g_byte_array_append (reader->normal_config, item->data, (guint)len);
  g_byte_array_remove_range (reader->normal_config, (guint)config->caps_at,
                             (guint)config->caps_len);
  item->data = reader->normal_config->data;
  item->len = reader->normal_config->len;
}

static gboolean
read_header (StreamReader *reader, StreamItem *item, GError **error)
{
  StreamInput *input = &reader->input;
  StreamConfigResult result;
  gsize used = 0;

  if (!stream_input_need (input, 9, "its header", error))
    return FALSE;
  if (be32_at (input->at) != STREAM_MAGIC)
    return set_error (reader, error, STREAM_ERROR_GARBLED, "it is not one: the magic is missing");
  if (be32_at (input->at + 4) != STREAM_VERSION)
    return set_error (reader, error, STREAM_ERROR_UNSUPPORTED, "version %u instead of %d",
                      be32_at (input->at + 4), STREAM_VERSION);
  if (input->at[8] != STREAM_CONFIGURATION)
    return set_error (reader, error, STREAM_ERROR_UNSUPPORTED, "it has no configuration section");
  stream_input_pass (input, 8);
  for (;;) {
    g_autoptr (GError) cause = NULL;
    gsize window = MIN (input->left, STREAM_MAX_CONFIGURATION + 1);
    result = stream_config_parse (input->at, window, &reader->config, &used, &cause);
    if (result == STREAM_CONFIG_BAD)
      return set_cause (reader, error, g_steal_pointer (&cause));
    if (result == STREAM_CONFIG_GOOD && used < window)
      break;
    if (window > STREAM_MAX_CONFIGURATION)
      return set_error (reader, error, STREAM_ERROR_GARBLED, "the configuration is too long");
    if (!stream_input_need (input, window + 1, "the configuration", error))
      return FALSE;
  }
  give_configuration (reader, used, item);
  stream_input_pass (input, used);
  reader->phase = AT_SECTION;
  return TRUE;
}

/* Makes sure that the window holds the header of a START or FULL section; gives its name. */
static gboolean
peek_section_name (StreamReader *reader, char name[256], GError **error)
{
  StreamInput *input = &reader->input;

  if (!stream_input_need (input, 6, "a section's header", error) ||
      !stream_input_need (input, 6 + input->at[5] + 8, "a section's header", error))
    return FALSE;
  if (!stream_name_good (input->at + 6, input->at[5]))
    return set_error (reader, error, STREAM_ERROR_GARBLED, "a section's name is garbled");
  memcpy (name, input->at + 6, input->at[5]);
  name[input->at[5]] = '\0';
  return TRUE;
}

static gboolean
begin_ram (StreamReader *reader, GError **error)
{
  StreamInput *input = &reader->input;
  char name[256];

  if (!peek_section_name (reader, name, error))
    return FALSE;
  if (strcmp (name, STREAM_RAM_NAME) != 0)
    return set_error (reader, error, STREAM_ERROR_UNSUPPORTED,
                      "it has live state other than RAM: '%s'", name);
  if (reader->ram_seen)
    return set_error (reader, error, STREAM_ERROR_GARBLED, "RAM begins a second time");
  guint32 version = be32_at (input->at + 6 + input->at[5] + 4);
  if (version != STREAM_RAM_VERSION)
    return set_error (reader, error, STREAM_ERROR_UNSUPPORTED, "version %u of the RAM section",
                      version);
  reader->ram_seen = TRUE;
  reader->ram_id = be32_at (input->at + 1);
  stream_input_pass (input, 6 + input->at[5] + 8);
  reader->phase = IN_RAM;
  return TRUE;
}

static gboolean
continue_ram (StreamReader *reader, gboolean end, GError **error)
{
  if (!stream_input_need (&reader->input, 5, "a section's header", error))
    return FALSE;
  if (!reader->ram_seen || reader->ram_ended || be32_at (reader->input.at + 1) != reader->ram_id)
    return set_error (reader, error, STREAM_ERROR_GARBLED,
                      "a section goes on that is not under way");
  reader->ram_ended = end;
  stream_input_pass (&reader->input, 5);
  reader->phase = IN_RAM;
  return TRUE;
}

static gboolean
skip_command (StreamReader *reader, GError **error)
{
  StreamInput *input = &reader->input;

  if (!stream_input_need (input, 5, "a command", error))
    return FALSE;
  guint command = (guint)input->at[1] << 8 | input->at[2];
  gsize len = (gsize)input->at[3] << 8 | input->at[4];
  if (command != STREAM_COMMAND_OPEN_RETURN_PATH && command != STREAM_COMMAND_PING &&
      command != STREAM_COMMAND_SWITCHOVER_START)
    return set_error (reader, error, STREAM_ERROR_UNSUPPORTED,
                      "it is of post-copy, COLO or another unknown kind (command %u)", command);
  if (!stream_input_need (input, 5 + len, "a command", error))
    return FALSE;
  stream_input_pass (input, 5 + len);
  return TRUE;
}

static gboolean
begin_tail (StreamReader *reader, GError **error)
{
  char name[256];

  if (!peek_section_name (reader, name, error))
    return FALSE;
  if (!reader->ram_seen)
    return set_error (reader, error, STREAM_ERROR_UNSUPPORTED,
                      "the device state of '%s' comes before RAM", name);
  stream_tail_init (&reader->tail, reader->ram_id, be32_at (reader->input.at + 1), name);
  reader->phase = IN_TAIL;
  return TRUE;
}

static gboolean
read_section (StreamReader *reader, GError **error)
{
  if (!stream_input_need (&reader->input, 1, "its sections", error))
    return FALSE;
  switch (reader->input.at[0]) {
  case STREAM_SECTION_START:
    return begin_ram (reader, error);
  case STREAM_SECTION_PART:
  case STREAM_SECTION_END:
    return continue_ram (reader, reader->input.at[0] == STREAM_SECTION_END, error);
  case STREAM_COMMAND:
    return skip_command (reader, error);
  case STREAM_SECTION_FULL:
    return begin_tail (reader, error);
  case STREAM_EOF:
    return set_error (reader, error, STREAM_ERROR_GARBLED, "it ends without device state");
  default:
    return set_error (reader, error, STREAM_ERROR_GARBLED, "a section of unknown type 0x%02x",
                      reader->input.at[0]);
  }
}

/* --- RAM -----------------------------------------------------------------------------------------
 */

static gboolean
add_block (StreamReader *reader, const StreamBlock *block, GError **error)
{
  if (reader->blocks->len == STREAM_MAX_BLOCKS)
    return set_error (reader, error, STREAM_ERROR_GARBLED, "more than %d RAM blocks",
                      STREAM_MAX_BLOCKS);
  if (block->length % STREAM_PAGE_SIZE != 0 || block->length > reader->undeclared)
    return set_error (reader, error, STREAM_ERROR_GARBLED,
                      "the length of RAM block '%s' is garbled", block->name);
  if (!g_hash_table_insert (reader->block_index, g_strdup (block->name),
                            GUINT_TO_POINTER (reader->blocks->len)))
    return set_error (reader, error, STREAM_ERROR_GARBLED, "RAM block '%s' comes twice",
                      block->name);
  g_array_append_val (reader->blocks, *block);
  reader->undeclared -= block->length;
  return TRUE;
}

/* The list of blocks: u8 length and name, be64 length, with x-ignore-shared be64 address; until
 * their lengths make up the total. */
static gboolean
read_blocks (StreamReader *reader, guint64 total, GError **error)
{
  StreamInput *input = &reader->input;
  gsize numbers = reader->config.ignore_shared ? 16 : 8;

  if (reader->blocks_announced || total == 0 || total > STREAM_MAX_RAM)
    return set_error (reader, error, STREAM_ERROR_GARBLED, "the size of RAM is garbled");
  for (reader->undeclared = total; reader->undeclared > 0;) {
    StreamBlock block = { 0 };
    if (!stream_input_need (input, 1, "the RAM blocks", error) ||
        !stream_input_need (input, 1 + input->at[0] + numbers, "the RAM blocks", error))
      return FALSE;
    gsize len = input->at[0];
    if (!stream_name_good (input->at + 1, len))
      return set_error (reader, error, STREAM_ERROR_GARBLED, "a RAM block's name is garbled");
    memcpy (block.name, input->at + 1, len);
    block.length = be64_at (input->at + 1 + len);
    block.gpa = numbers > 8 ? be64_at (input->at + 1 + len + 8) : 0;
    if (!add_block (reader, &block, error))
      return FALSE;
    stream_input_pass (input, 1 + len + numbers);
  }
  return TRUE;
}

/* What a word with unusual flags means. */
static gboolean
refuse_flags (StreamReader *reader, guint flags, GError **error)
{
  const char *kind = (flags & STREAM_RAM_XBZRLE)          ? "XBZRLE-compressed pages"
                     : (flags & STREAM_RAM_COMPRESS)      ? "compressed pages"
                     : (flags & STREAM_RAM_MULTIFD_FLUSH) ? "multifd (pages on other connections)"
                     : (flags & STREAM_RAM_HOOK)          ? "RDMA"
                                                          : NULL;

  if (kind != NULL)
    return set_error (reader, error, STREAM_ERROR_UNSUPPORTED, "it was made with %s", kind);
  return set_error (reader, error, STREAM_ERROR_GARBLED, "RAM flags 0x%03x", flags);
}

/* Gets the block of the page whose word the window begins with. @used: (out): bytes up to the
 * contents. */
static gboolean
find_block (StreamReader *reader, guint flags, gsize *used, GError **error)
{
  StreamInput *input = &reader->input;
  gpointer index;

  *used = 8;
  if ((flags & STREAM_RAM_CONTINUE) == 0) {
    if (!stream_input_need (input, 9, "a RAM page", error) ||
        !stream_input_need (input, 9 + input->at[8], "a RAM page", error))
      return FALSE;
    gsize len = input->at[8];
    g_autofree char *name = NULL;
    gboolean known = stream_name_good (input->at + 9, len);
    if (known)
      name = g_strndup ((const char *)input->at + 9, len);
    known = known && g_hash_table_lookup_extended (reader->block_index, name, NULL, &index);
    reader->last_block = known ? (int)GPOINTER_TO_UINT (index) : -1;
    *used = 9 + len;
  }
  if (reader->last_block < 0)
    return set_error (reader, error, STREAM_ERROR_GARBLED, "a page of an unknown RAM block");
  return TRUE;
}

static gboolean
read_page (StreamReader *reader, guint64 offset, guint flags, StreamItem *item, GError **error)
{
  StreamInput *input = &reader->input;
  gboolean zero = (flags & STREAM_RAM_ZERO) != 0;
  gsize contents = zero ? 1 : STREAM_PAGE_SIZE, used;

  if (!find_block (reader, flags, &used, error) ||
      !stream_input_need (input, used + contents, "a RAM page", error))
    return FALSE;
  const StreamBlock *block = &g_array_index (reader->blocks, StreamBlock, reader->last_block);
  if (offset >= block->length)
    return set_error (reader, error, STREAM_ERROR_GARBLED,
                      "a page at 0x%" G_GINT64_MODIFIER "x, outside of RAM block '%s'", offset,
                      block->name);
  if (zero && input->at[used] != 0)
    return set_error (reader, error, STREAM_ERROR_GARBLED, "a page of zeros is one of 0x%02x",
                      input->at[used]);
  *item = (StreamItem){ .type = STREAM_ITEM_PAGE,
                        .data = zero ? NULL : input->at + used,
                        .len = zero ? 0 : STREAM_PAGE_SIZE,
                        .block = (guint)reader->last_block,
                        .offset = offset };
  stream_input_pass (input, used + contents);
  return TRUE;
}

static gboolean
end_ram_section (StreamReader *reader, GError **error)
{
  StreamInput *input = &reader->input;

  if (!reader->blocks_announced)
    return set_error (reader, error, STREAM_ERROR_GARBLED, "the RAM blocks are missing");
  if (!stream_input_need (input, 13, "the end of a RAM section", error))
    return FALSE;
  stream_input_pass (input, 8);
  if (input->at[0] != STREAM_FOOTER || be32_at (input->at + 1) != reader->ram_id)
    return set_error (reader, error, STREAM_ERROR_GARBLED, "a section has no footer");
  stream_input_pass (input, 5);
  reader->phase = AT_SECTION;
  return TRUE;
}

/* Reads one word and what belongs to it. @done: (out): @item is filled. */
static gboolean
read_ram (StreamReader *reader, StreamItem *item, gboolean *done, GError **error)
{
  StreamInput *input = &reader->input;

  if (!stream_input_need (input, 8, "a RAM section", error))
    return FALSE;
  guint64 word = be64_at (input->at);
  guint64 offset = word & ~(guint64)STREAM_RAM_FLAGS;
  guint flags = (guint)(word & STREAM_RAM_FLAGS);
  guint kind = flags & ~(guint)STREAM_RAM_CONTINUE;

  *done = TRUE;
  if (kind == STREAM_RAM_PAGE || kind == STREAM_RAM_ZERO)
    return read_page (reader, offset, flags, item, error);
  if (word == STREAM_RAM_EOS) {
    *done = FALSE;
    return end_ram_section (reader, error);
  }
  if (flags != STREAM_RAM_MEM_SIZE)
    return refuse_flags (reader, flags, error);
  stream_input_pass (input, 8);
  *item = (StreamItem){ .type = STREAM_ITEM_BLOCKS };
  if (!read_blocks (reader, offset, error))
    return FALSE;
  reader->blocks_announced = TRUE;
  return TRUE;
}

/* --- device state --------------------------------------------------------------------------------
 */

static gboolean
read_tail (StreamReader *reader, StreamItem *item, GError **error)
{
  StreamInput *input = &reader->input;
  g_autoptr (GError) cause = NULL;

  if (!stream_input_want (input, STREAM_TAIL_LOOKAHEAD + 1, error))
    return FALSE;
  gssize n = 0;
  gboolean good = TRUE;
  if (input->left > 0)
    good =
        (n = stream_tail_scan (&reader->tail, input->at, input->left, input->ended, &cause)) >= 0;
  else if ((good = stream_tail_finish (&reader->tail, &cause)))
    reader->phase = AT_END;
  if (!good)
    return set_cause (reader, error, g_steal_pointer (&cause));
  *item = (StreamItem){ .type = n > 0 ? STREAM_ITEM_DEVICE_STATE : STREAM_ITEM_END,
                        .data = input->at,
                        .len = (gsize)n };
  stream_input_pass (input, (gsize)n);
  return TRUE;
}

static gboolean
next_item (StreamReader *reader, StreamItem *item, GError **error)
{
  for (;;) {
    gboolean done = TRUE;
    switch (reader->phase) {
    case AT_HEADER:
      return read_header (reader, item, error);
    case AT_SECTION:
      if (!read_section (reader, error))
        return FALSE;
      break;
    case IN_RAM:
      if (!read_ram (reader, item, &done, error))
        return FALSE;
      if (done)
        return TRUE;
      break;
    case IN_TAIL:
      return read_tail (reader, item, error);
    case AT_END:
      *item = (StreamItem){ .type = STREAM_ITEM_END };
      return TRUE;
    case AT_ERROR:
      g_propagate_error (error, g_error_copy (reader->error));
      return FALSE;
    }
  }
}

gboolean
stream_reader_next (StreamReader *reader, StreamItem *item, GError **error)
{
  g_autoptr (GError) failure = NULL;

  if (next_item (reader, item, &failure))
    return TRUE;
  if (reader->phase != AT_ERROR)
    reader->error = g_error_copy (failure);
  reader->phase = AT_ERROR;
  g_propagate_error (error, g_steal_pointer (&failure));
  return FALSE;
}
