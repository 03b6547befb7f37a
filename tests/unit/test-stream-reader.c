/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The reader on real streams; test-stream-hostile.c has what QEMU does not send. */
#include <vmckpt/qmp/stream-reader.h>

#include "qemu-stream.h"
#include "stream-build.h"
#include "stream-format.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vmckpt/util/fd.h>

#define RAM_BYTES (16 * 1024 * 1024)
#define DEVICES                                                                                    \
  "-device VGA -device virtio-rng-pci -device virtio-serial-pci "                                  \
  "-drive if=none,id=d,driver=null-co,size=1M -device virtio-blk-pci,drive=d"

/* One row: a guest and a way to migrate it. */
typedef struct {
  const char *machine;
  StreamKind kind;
  gboolean newer; /* by the newer QEMU */
} Case;

static const Case cases[] = {
  { "q35", STREAM_LIVE, FALSE },        { "q35", STREAM_STOPPED, FALSE },
  { "q35", STREAM_BACKGROUND, FALSE },  { "q35", STREAM_SHARED, FALSE },
  { "pc", STREAM_LIVE, FALSE },         { "pc", STREAM_STOPPED, FALSE },
  { "pc", STREAM_BACKGROUND, FALSE },   { "pc", STREAM_SHARED, FALSE },
  { "microvm", STREAM_STOPPED, FALSE }, { "q35", STREAM_LIVE, TRUE },
  { "q35", STREAM_STOPPED, TRUE },      { "q35", STREAM_BACKGROUND, TRUE },
  { "q35", STREAM_SHARED, TRUE },       { "pc", STREAM_BACKGROUND, TRUE },
};

static const char *const kind_names[] = { "live", "stopped", "background", "shared" };

/* The stream of such a guest, or NULL if the test is skipped. */
static GBytes *
take_stream (const Case *c, const char *machine_options, const char *more)
{
  g_autofree char *program = c->newer ? qemu_program_newer() : qemu_program();
  g_auto (AutoFd) ram = memfd_create ("ram", 0);
  const char *backend = "";

  if (program == NULL)
    return NULL;
  g_assert_no_errno (ftruncate (ram, RAM_BYTES));
  g_autofree char *object = g_strdup_printf (
      "-object memory-backend-file,id=ram0,size=16M,share=on,mem-path=/proc/%d/fd/%d", getpid(),
      ram);
  if (c->kind == STREAM_SHARED)
    backend = ",memory-backend=ram0";
  g_autofree char *machine = g_strconcat (c->machine, machine_options, backend, NULL);
  g_autofree char *all = g_strjoin (" ", more, c->kind == STREAM_SHARED ? object : "", NULL);
  g_auto (QemuProcess) qemu = qemu_process_start (program, machine, all);
  return qemu_stream_take (&qemu, c->kind);
}

/* How often pages of @block came: the least and the most. */
static void
count_pages (StreamContents *contents, guint block, guint *least, guint *most)
{
  GByteArray *seen = g_ptr_array_index (contents->seen, block);

  *least = G_MAXUINT;
  *most = 0;
  for (guint i = 0; i < seen->len; i++) {
    *least = MIN (*least, seen->data[i]);
    *most = MAX (*most, seen->data[i]);
  }
}

static void
test_real_stream (gconstpointer data)
{
  const Case *c = data;
  gboolean small = strcmp (c->machine, "microvm") == 0;
  g_autoptr (GBytes) stream = take_stream (c, "", small ? "" : DEVICES);
  g_auto (StreamContents) contents = { 0 };
  g_autoptr (GError) error = NULL;
  gsize len;
  guint least, most;

  if (stream == NULL)
    return;
  const guint8 *bytes = g_bytes_get_data (stream, &len);
  g_autoptr (StreamReader) reader = stream_reader_new_for_data (bytes, len);
  stream_contents_read (&contents, reader, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (stream_reader_offset (reader), ==, len);

  g_assert_true (small || g_str_has_prefix (contents.machine, "pc-"));
  const char *ram_name = c->kind == STREAM_SHARED ? "ram0" : small ? "microvm.ram" : "pc.ram";
  guint ram = stream_contents_block (&contents, ram_name);
  g_assert_cmpuint (g_array_index (contents.blocks, StreamBlock, ram).length, ==, RAM_BYTES);
  count_pages (&contents, ram, &least, &most);
  g_assert_cmpuint (least, ==, c->kind == STREAM_SHARED ? 0 : 1);
  if (c->kind != STREAM_LIVE)
    g_assert_cmpuint (most, ==, least);
  if (!small) {
    guint bios = stream_contents_block (&contents, "pc.bios");
    count_pages (&contents, bios, &least, &most);
    g_assert_cmpuint (least, ==, 1);
    guint64 gpa = g_array_index (contents.blocks, StreamBlock, bios).gpa;
    g_assert_cmpuint (gpa, ==, c->kind == STREAM_SHARED ? 0xfffc0000 : 0);
  }
  g_assert_cmpuint (contents.device_state->data[0], ==, STREAM_SECTION_FULL);
  g_assert_cmpuint (contents.device_state->data[contents.device_state->len - 1], ==, '}');
}

/* What says that pages are left out is no part of the configuration that is handed on: a guest has
 * the same one, however it was read. */
static void
test_same_configuration (gconstpointer newer)
{
  const Case shared = { "pc-q35-7.2", STREAM_SHARED, newer != NULL };
  const Case whole = { "pc-q35-7.2", STREAM_STOPPED, newer != NULL };
  const Case *const both[] = { &whole, &shared };
  StreamContents contents[2] = { 0 };
  g_autoptr (GError) error = NULL;

  for (int i = 0; i < 2; i++) {
    g_autoptr (GBytes) stream = take_stream (both[i], "", DEVICES);
    gsize len;
    if (stream == NULL)
      return;
    const guint8 *bytes = g_bytes_get_data (stream, &len);
    g_autoptr (StreamReader) reader = stream_reader_new_for_data (bytes, len);
    stream_contents_read (&contents[i], reader, &error);
    g_assert_no_error (error);
  }
  g_assert_cmpmem (contents[0].configuration->data, contents[0].configuration->len,
                   contents[1].configuration->data, contents[1].configuration->len);
  stream_contents_clear (&contents[0]);
  stream_contents_clear (&contents[1]);
}

/* A real stream with most of its pages left out, so that it can be read often in little time. */
static GByteArray *
thin_out (const guint8 *bytes, gsize len)
{
  GByteArray *thin = g_byte_array_new();
  g_autoptr (StreamReader) reader = stream_reader_new_for_data (bytes, len);
  g_autoptr (GError) error = NULL;
  StreamItem item;
  guint64 start = 0;
  guint last_block = G_MAXUINT, kept = 0;

  while (stream_reader_next (reader, &item, &error) && item.type != STREAM_ITEM_END) {
    guint64 end = stream_reader_offset (reader);
    /* A page of another block than the one before bears the block's name, to which others refer. */
    if (item.type != STREAM_ITEM_PAGE || item.block != last_block || kept++ < 3)
      g_byte_array_append (thin, bytes + start, (guint)(end - start));
    last_block = item.type == STREAM_ITEM_PAGE ? item.block : last_block;
    start = end;
  }
  g_assert_no_error (error);
  return thin;
}

/* Reads to the end; the error, or NULL if there is none. */
static GError *
failure_of (const guint8 *bytes, gsize len)
{
  g_autoptr (StreamReader) reader = stream_reader_new_for_data (bytes, len);
  GError *failure = NULL;
  StreamItem item;

  while (stream_reader_next (reader, &item, &failure) && item.type != STREAM_ITEM_END) {
  }
  return failure;
}

/* Cuts at every byte of the first and last 64 KiB and at many between; the number of cuts that were
 * not noticed, all of which have to be behind the end mark. */
static guint
count_unnoticed_cuts (const guint8 *bytes, gsize len)
{
  guint unnoticed = 0;

  for (gsize cut = 0; cut < len; cut++) {
    g_autoptr (GError) failure = failure_of (bytes, cut);
    if (failure != NULL) {
      g_assert_error (failure, STREAM_ERROR, STREAM_ERROR_TRUNCATED);
    } else {
      g_assert_cmpuint (bytes[cut - 1], ==, STREAM_EOF);
      g_assert_cmpuint (bytes[cut], ==, STREAM_DESCRIPTION);
      unnoticed++;
    }
  }
  return unnoticed;
}

/* All device state is there up to the end mark; only a cut exactly behind it is not noticed. */
static void
test_cut_anywhere (gconstpointer options)
{
  static const Case c = { "microvm", STREAM_BACKGROUND, FALSE };
  g_autoptr (GBytes) stream = take_stream (&c, options, "");
  gsize len;

  if (stream == NULL)
    return;
  const guint8 *bytes = g_bytes_get_data (stream, &len);
  g_autoptr (GByteArray) thin = thin_out (bytes, len);
  g_autoptr (GError) failure = failure_of (thin->data, thin->len);
  g_assert_no_error (failure);
  gboolean described = thin->data[thin->len - 1] == '}';
  g_assert_true (described == (strlen (options) == 0));
  g_assert_cmpuint (count_unnoticed_cuts (thin->data, thin->len), <=, described ? 1 : 0);
}

/* --- reading from a descriptor
 * -------------------------------------------------------------------- */

typedef struct {
  AutoFd fd;
  const guint8 *data;
  gsize len, piece;
} Feeder;

/* Writes in pieces, then closes. */
static gpointer
feed (gpointer data)
{
  Feeder *feeder = data;

  for (gsize done = 0; done < feeder->len;) {
    gsize n = MIN (feeder->piece, feeder->len - done);
    if (!fd_write_full (feeder->fd, feeder->data + done, n, NULL))
      break;
    done += n;
  }
  fd_close (&feeder->fd);
  return NULL;
}

/* A stream of more than the reader's buffer, each page of which is different. */
static GByteArray *
build_long_stream (void)
{
  GByteArray *stream = g_byte_array_new();

  build_header (stream);
  build_section (stream, STREAM_SECTION_START, BUILD_RAM_ID, "ram", STREAM_RAM_VERSION);
  bytes_add_be64 (stream, 700 * STREAM_PAGE_SIZE | STREAM_RAM_MEM_SIZE);
  build_name (stream, "long");
  bytes_add_be64 (stream, 700 * STREAM_PAGE_SIZE);
  build_ram_end (stream);
  build_ram_part (stream, STREAM_SECTION_PART);
  for (guint64 i = 0; i < 700; i++)
    build_page (stream, i % 5 == 0 ? "long" : NULL, i * STREAM_PAGE_SIZE, (guint8)(i % 251));
  build_ram_end (stream);
  build_devices (stream);
  for (guint i = 0; i < 300000; i++)
    bytes_add_u8 (stream, (guint8)i);
  build_footer (stream, 5);
  bytes_add_u8 (stream, STREAM_EOF);
  build_description (stream, 2, "{}");
  return stream;
}

/* What comes through a pipe in such pieces is the same as from memory. */
static void
test_read_in_pieces (gconstpointer piece)
{
  gboolean small = GPOINTER_TO_SIZE (piece) < 100;
  g_autoptr (GByteArray) stream = small ? build_stream() : build_long_stream();
  g_auto (StreamContents) expected = { 0 };
  g_auto (StreamContents) contents = { 0 };
  g_autoptr (GError) error = NULL;
  g_autoptr (StreamReader) reader = stream_reader_new_for_data (stream->data, stream->len);
  int ends[2];

  stream_contents_read (&expected, reader, &error);
  g_assert_no_error (error);
  g_assert_no_errno (pipe (ends));
  g_auto (AutoFd) out = ends[0];
  Feeder feeder = { ends[1], stream->data, stream->len, GPOINTER_TO_SIZE (piece) };
  GThread *thread = g_thread_new ("feeder", feed, &feeder);
  g_autoptr (StreamReader) piecewise = stream_reader_new (out);
  stream_contents_read (&contents, piecewise, &error);
  g_assert_no_error (error);
  g_assert_cmpmem (contents.device_state->data, contents.device_state->len,
                   expected.device_state->data, expected.device_state->len);
  for (guint block = 0; block < expected.images->len; block++) {
    GByteArray *a = g_ptr_array_index (expected.images, block);
    GByteArray *b = g_ptr_array_index (contents.images, block);
    g_assert_cmpmem (a->data, a->len, b->data, b->len);
  }
  g_thread_join (thread);
}

static void
test_patience (void)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new();
  g_autoptr (GError) error = NULL;
  StreamItem item;
  int ends[2];

  g_assert_no_errno (pipe (ends));
  g_auto (AutoFd) out = ends[0];
  g_auto (AutoFd) in = ends[1];
  g_autoptr (StreamReader) reader = stream_reader_new (out);
  stream_reader_set_patience (reader, 20, cancellable);
  g_assert_false (stream_reader_next (reader, &item, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
  g_clear_error (&error);
  /* The error stays. */
  g_assert_false (stream_reader_next (reader, &item, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
  g_clear_error (&error);

  g_autoptr (StreamReader) other = stream_reader_new (out);
  stream_reader_set_patience (other, -1, cancellable);
  g_cancellable_cancel (cancellable);
  g_assert_false (stream_reader_next (other, &item, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  /* Who was cancelled can drain: to the end, or until silence. */
  g_assert_true (fd_write_full (in, "rest", 4, NULL));
  stream_reader_set_patience (other, 20, cancellable);
  stream_reader_drain (other);
  g_assert_cmpuint (stream_reader_offset (other), ==, 4);
}

static void
test_drain (void)
{
  g_autofree guint8 *noise = g_malloc (3 << 20);
  g_autoptr (GError) error = NULL;
  StreamItem item;
  int ends[2];

  memset (noise, 'x', 3 << 20);
  g_assert_no_errno (pipe (ends));
  g_auto (AutoFd) out = ends[0];
  Feeder feeder = { ends[1], noise, 3 << 20, 65536 };
  GThread *thread = g_thread_new ("feeder", feed, &feeder);
  g_autoptr (StreamReader) reader = stream_reader_new (out);
  g_assert_false (stream_reader_next (reader, &item, &error));
  g_assert_error (error, STREAM_ERROR, STREAM_ERROR_GARBLED);
  stream_reader_drain (reader);
  g_assert_cmpuint (stream_reader_offset (reader), ==, 3 << 20);
  g_thread_join (thread);
}

int
main (int argc, char **argv)
{
  static const gsize pieces[] = { 1, 7, 4096, 4105, 65521, 1 << 20 };

  g_test_init (&argc, &argv, NULL);
  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree char *name =
        g_strdup_printf ("/stream-reader/%s/%s%s", cases[i].machine, kind_names[cases[i].kind],
                         cases[i].newer ? "/newer" : "");
    g_test_add_data_func (name, &cases[i], test_real_stream);
  }
  g_test_add_data_func ("/stream-reader/same-configuration", NULL, test_same_configuration);
  g_test_add_data_func ("/stream-reader/same-configuration/newer", "", test_same_configuration);
  g_test_add_data_func ("/stream-reader/cut-anywhere", "", test_cut_anywhere);
  g_test_add_data_func ("/stream-reader/cut-anywhere/without-description", ",suppress-vmdesc=on",
                        test_cut_anywhere);
  for (gsize i = 0; i < G_N_ELEMENTS (pieces); i++) {
    g_autofree char *name = g_strdup_printf ("/stream-reader/pieces-of/%zu", pieces[i]);
    g_test_add_data_func (name, GSIZE_TO_POINTER (pieces[i]), test_read_in_pieces);
  }
  g_test_add_func ("/stream-reader/patience", test_patience);
  g_test_add_func ("/stream-reader/drain", test_drain);
  return g_test_run();
}
