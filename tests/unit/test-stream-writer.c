/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/qmp/stream-writer.h>

#include "qemu-stream.h"
#include "stream-build.h"
#include "stream-copy.h"
#include "stream-format.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vmckpt/qmp/commands.h>
#include <vmckpt/util/fd.h>

/* Reads @bytes and writes it again to @fd. */
static gboolean
rewrite (const guint8 *bytes, gsize len, int fd, GError **error)
{
  g_autoptr (StreamReader) reader = stream_reader_new_for_data (bytes, len);

  return stream_copy (reader, fd, error);
}

/* Loads what is rewritten from @stream into a QEMU that waits for it. */
static void
load (QemuProcess *qemu, GBytes *stream, gboolean ignore_shared)
{
  g_autoptr (QmpClient) client = qemu_process_connect (qemu);
  g_autoptr (GError) error = NULL;
  gsize len;
  const guint8 *bytes = g_bytes_get_data (stream, &len);
  int ends[2];

  if (ignore_shared)
    qmp_migrate_set_capability (client, "x-ignore-shared", TRUE, &error);
  g_assert_no_error (error);
  g_assert_no_errno (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
  {
    g_auto (AutoFd) ours = ends[0];
    g_auto (AutoFd) theirs = ends[1];
    g_assert_true (qmp_getfd (client, "in", theirs, &error));
    fd_close (&theirs);
    g_assert_true (qmp_migrate_incoming (client, "fd:in", &error));
    rewrite (bytes, len, ours, &error);
    g_assert_no_error (error);
  }
  for (gboolean done = FALSE; !done;) {
    g_auto (QmpMigration) migration = { 0 };
    qmp_query_migrate (client, &migration, &error);
    g_assert_no_error (error);
    g_assert_cmpstr (migration.status, !=, "failed");
    done = strcmp (migration.status, "completed") == 0;
  }
  g_autofree char *status = qmp_query_status (client, &error);
  g_assert_cmpstr (status, ==, "paused");
}

/* RAM of the same contents, page for page. */
static void
assert_same_ram (GBytes *a, GBytes *b)
{
  GBytes *streams[] = { a, b };
  StreamContents contents[2];
  g_autoptr (GError) error = NULL;

  for (int i = 0; i < 2; i++) {
    gsize len;
    const guint8 *bytes = g_bytes_get_data (streams[i], &len);
    g_autoptr (StreamReader) reader = stream_reader_new_for_data (bytes, len);
    stream_contents_read (&contents[i], reader, &error);
    g_assert_no_error (error);
  }
  for (guint i = 0; i < contents[0].blocks->len; i++) {
    const char *name = g_array_index (contents[0].blocks, StreamBlock, i).name;
    GByteArray *first = g_ptr_array_index (contents[0].images, i);
    GByteArray *second =
        g_ptr_array_index (contents[1].images, stream_contents_block (&contents[1], name));
    g_assert_cmpmem (first->data, first->len, second->data, second->len);
  }
  stream_contents_clear (&contents[0]);
  stream_contents_clear (&contents[1]);
}

typedef struct {
  const char *machine;
  StreamKind kind;
  gboolean newer; /* loaded by the newer QEMU */
} Case;

static const Case cases[] = {
  { "pc-q35-7.2", STREAM_STOPPED, FALSE },    { "pc-q35-7.2", STREAM_STOPPED, TRUE },
  { "pc-q35-7.2", STREAM_BACKGROUND, FALSE }, { "pc-q35-7.2", STREAM_BACKGROUND, TRUE },
  { "pc-i440fx-7.2", STREAM_STOPPED, FALSE }, { "pc-i440fx-7.2", STREAM_LIVE, TRUE },
  { "pc-q35-7.2", STREAM_SHARED, FALSE },     { "pc-q35-7.2", STREAM_SHARED, TRUE },
};

#define DEVICES                                                                                    \
  "-device VGA -device virtio-rng-pci -device virtio-serial-pci "                                  \
  "-drive if=none,id=d,driver=null-co,size=1M -device virtio-blk-pci,drive=d"

/* A guest goes through reader and writer into another QEMU, stopped, and comes out the same. */
static void
test_restore (gconstpointer data)
{
  const Case *c = data;
  g_autofree char *program = qemu_program();
  g_autofree char *other_program = program == NULL ? NULL
                                   : c->newer      ? qemu_program_newer()
                                                   : qemu_program();
  gboolean shared = c->kind == STREAM_SHARED;
  g_auto (AutoFd) ram = memfd_create ("ram", 0);

  if (other_program == NULL)
    return;
  g_assert_no_errno (ftruncate (ram, 16 * 1024 * 1024));
  g_autofree char *machine =
      g_strdup_printf ("%s%s", c->machine, shared ? ",memory-backend=ram0" : "");
  g_autofree char *more = g_strdup_printf (
      "%s -object memory-backend-file,id=ram0,size=16M,share=on,mem-path=/proc/%d/fd/%d", DEVICES,
      getpid(), ram);
  g_autofree char *incoming = g_strconcat (shared ? more : DEVICES, " -S -incoming defer", NULL);
  g_autoptr (GBytes) before = NULL;
  {
    g_auto (QemuProcess) source = qemu_process_start (program, machine, shared ? more : DEVICES);
    before = qemu_stream_take (&source, c->kind);
  }
  if (before == NULL)
    return;
  g_auto (QemuProcess) target = qemu_process_start (other_program, machine, incoming);
  load (&target, before, shared);
  g_autoptr (GBytes) after = qemu_stream_take (&target, STREAM_STOPPED);
  /* A guest that ran while its pages were sent has some twice; the writer sends the same. */
  if (!shared)
    assert_same_ram (before, after);
}

/* What is written of a stream that was read before is the same when it is written again. */
static void
test_same_again (void)
{
  g_autoptr (GByteArray) stream = build_stream();
  g_autoptr (GError) error = NULL;
  g_auto (AutoFd) first = memfd_create ("first", MFD_CLOEXEC);
  g_auto (AutoFd) second = memfd_create ("second", MFD_CLOEXEC);
  guint8 a[65536], b[65536];

  rewrite (stream->data, stream->len, first, &error);
  g_assert_no_error (error);
  gssize len = pread (first, a, sizeof a, 0);
  g_assert_cmpint (len, >, 2 * STREAM_PAGE_SIZE);
  rewrite (a, (gsize)len, second, &error);
  g_assert_no_error (error);
  gssize again = pread (second, b, sizeof b, 0);
  g_assert_cmpmem (a, (gsize)len, b, (gsize)again);
}

static const StreamBlock block_a = { .name = "a", .length = 2 * STREAM_PAGE_SIZE };
static const guint8 config[] = { STREAM_CONFIGURATION, 0, 0, 0, 1, 'm' };

/* What is said of capabilities is the writer's to say, not the configuration's. */
static void
test_ignore_shared (void)
{
  static const guint8 expected[] = "\x05\x1a"
                                   "configuration/capabilities"
                                   "\0\0\0\1\0\0\0\1\x0f"
                                   "x-ignore-shared";
  StreamBlock block = block_a;
  g_autoptr (GByteArray) with = g_byte_array_new();
  g_autoptr (GError) error = NULL;
  g_auto (AutoFd) file = memfd_create ("stream", MFD_CLOEXEC);
  g_autoptr (StreamWriter) writer = stream_writer_new (file);
  guint8 bytes[256];
  StreamItem item;
  guint count;

  g_byte_array_append (with, config, sizeof config);
  g_byte_array_append (with, expected, sizeof expected - 1);
  g_assert_false (stream_writer_configuration (writer, with->data, with->len, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
  g_clear_error (&error);

  block.gpa = 0x123456789a000;
  stream_writer_set_ignore_shared (writer);
  g_assert_true (stream_writer_configuration (writer, config, sizeof config, &error));
  g_assert_true (stream_writer_blocks (writer, &block, 1, &error));
  g_assert_true (stream_writer_device_state (writer, config, 1, &error));
  g_assert_true (stream_writer_finish (writer, &error));
  g_assert_cmpint (pread (file, bytes, sizeof bytes, 0), >, 8 + with->len);
  g_assert_cmpmem (bytes + 8, with->len, with->data, with->len);

  g_assert_cmpint (lseek (file, 0, SEEK_SET), ==, 0);
  g_autoptr (StreamReader) reader = stream_reader_new (file);
  g_assert_true (stream_reader_next (reader, &item, &error));
  g_assert_true (item.ignore_shared);
  g_assert_cmpmem (item.data, item.len, config, sizeof config);
  g_assert_true (stream_reader_next (reader, &item, &error));
  g_assert_cmpint (item.type, ==, STREAM_ITEM_BLOCKS);
  g_assert_cmpuint (stream_reader_blocks (reader, &count)->gpa, ==, block.gpa);
}

static void
test_order (void)
{
  g_autoptr (StreamWriter) writer = stream_writer_new (-1);
  g_autoptr (GError) error = NULL;

#define REFUSED(call)                                                                              \
  g_assert_false (call);                                                                           \
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);                                 \
  g_clear_error (&error)

  REFUSED (stream_writer_blocks (writer, &block_a, 1, &error));
  REFUSED (stream_writer_configuration (writer, config, sizeof config - 1, &error));
  g_assert_true (stream_writer_configuration (writer, config, sizeof config, &error));
  REFUSED (stream_writer_configuration (writer, config, sizeof config, &error));
  REFUSED (stream_writer_page (writer, 0, 0, NULL, &error));
  REFUSED (stream_writer_device_state (writer, config, 1, &error));
  REFUSED (stream_writer_blocks (writer, &block_a, 0, &error));
  const StreamBlock twice[] = { block_a, block_a };
  REFUSED (stream_writer_blocks (writer, twice, 2, &error));
  const StreamBlock odd = { .name = "a", .length = 5 };
  REFUSED (stream_writer_blocks (writer, &odd, 1, &error));
  const StreamBlock nameless = { .length = STREAM_PAGE_SIZE };
  REFUSED (stream_writer_blocks (writer, &nameless, 1, &error));
  const StreamBlock huge = { .name = "a", .length = STREAM_MAX_RAM + STREAM_PAGE_SIZE };
  REFUSED (stream_writer_blocks (writer, &huge, 1, &error));
  g_assert_true (stream_writer_blocks (writer, &block_a, 1, &error));
  REFUSED (stream_writer_page (writer, 1, 0, NULL, &error));
  REFUSED (stream_writer_page (writer, 0, 1, NULL, &error));
  REFUSED (stream_writer_page (writer, 0, block_a.length, NULL, &error));
  REFUSED (stream_writer_finish (writer, &error));
  g_assert_true (stream_writer_device_state (writer, config, 1, &error));
  REFUSED (stream_writer_page (writer, 0, 0, NULL, &error));
#undef REFUSED
}

/* QEMU refused the stream and went away. */
static void
test_broken_pipe (void)
{
  g_autofree guint8 *state = g_malloc0 (4 << 20);
  g_autoptr (GError) error = NULL;
  int ends[2];

  signal (SIGPIPE, SIG_IGN);
  g_assert_no_errno (pipe (ends));
  close (ends[0]);
  g_auto (AutoFd) in = ends[1];
  g_autoptr (StreamWriter) writer = stream_writer_new (in);
  g_assert_true (stream_writer_configuration (writer, config, sizeof config, &error));
  g_assert_true (stream_writer_blocks (writer, &block_a, 1, &error));
  g_assert_false (stream_writer_device_state (writer, state, 4 << 20, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE);
}

int
main (int argc, char **argv)
{
  static const char *const kinds[] = { "live", "stopped", "background", "shared" };

  g_test_init (&argc, &argv, NULL);
  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree char *name = g_strdup_printf ("/stream-writer/restore/%s/%s%s", cases[i].machine,
                                             kinds[cases[i].kind], cases[i].newer ? "/newer" : "");
    g_test_add_data_func (name, &cases[i], test_restore);
  }
  g_test_add_func ("/stream-writer/same-again", test_same_again);
  g_test_add_func ("/stream-writer/ignore-shared", test_ignore_shared);
  g_test_add_func ("/stream-writer/order", test_order);
  g_test_add_func ("/stream-writer/broken-pipe", test_broken_pipe);
  return g_test_run();
}
