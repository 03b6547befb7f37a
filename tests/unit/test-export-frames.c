/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The body of an export, with frames and without. */
#include "export-frames.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vmckpt/util/bytes.h>
#include <vmckpt/util/fd.h>

typedef struct {
  AutoFd fd;
  ExportFrames *frames;
  ExportSink sink;
} Fixture;

static void
begin (Fixture *fixture, gboolean framed, GCancellable *cancellable)
{
  fixture->fd = memfd_create ("body", MFD_CLOEXEC);
  g_assert_cmpint (fixture->fd, >=, 0);
  fixture->frames = export_frames_new (fixture->fd, framed, cancellable);
  fixture->sink = export_frames_sink (fixture->frames);
}

static void
put (Fixture *fixture, gconstpointer data, gsize len)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (fixture->sink.write (data, len, fixture->sink.user_data, &error));
  g_assert_no_error (error);
}

static void
put_zeros (Fixture *fixture, guint64 len)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (fixture->sink.zeros (len, fixture->sink.user_data, &error));
  g_assert_no_error (error);
}

static GBytes *
end (Fixture *fixture)
{
  g_autoptr (JsonObject) last = json_object_new();
  g_autoptr (GError) error = NULL;

  json_object_set_string_member (last, "type", "result");
  g_assert_true (export_frames_end (fixture->frames, last, &error));
  g_assert_no_error (error);
  off_t len = lseek (fixture->fd, 0, SEEK_END);
  guint8 *data = g_malloc (len + 1);
  g_assert_cmpint (pread (fixture->fd, data, len, 0), ==, len);
  export_frames_free (fixture->frames);
  fd_close (&fixture->fd);
  return g_bytes_new_take (data, len);
}

/* "D3 Z8=4096 J" of a framed body. */
static char *
outline (GBytes *body)
{
  g_autoptr (GString) text = g_string_new (NULL);
  gsize len;
  const guint8 *data = g_bytes_get_data (body, &len);
  ByteReader reader = BYTE_READER (data, len);

  while (byte_reader_left (&reader) > 0) {
    char type = byte_reader_u8 (&reader);
    guint32 n = byte_reader_le32 (&reader);
    const guint8 *content = byte_reader_take (&reader, n);
    g_assert_nonnull (content);
    ByteReader count = BYTE_READER (content, n);
    if (type == 'Z')
      g_string_append_printf (text, "Z%" G_GUINT64_FORMAT " ", byte_reader_le64 (&count));
    else if (type == 'J')
      g_string_append (text, "J");
    else
      g_string_append_printf (text, "%c%u ", type, n);
  }
  g_assert_false (reader.failed);
  return g_string_free (g_steal_pointer (&text), FALSE);
}

/* Runs of zeros are put together, however long, and keep their place between data. */
static void
test_framed (void)
{
  Fixture fixture;
  begin (&fixture, TRUE, NULL);
  g_assert_false (export_frames_begun (fixture.frames));
  put (&fixture, "abc", 3);
  put_zeros (&fixture, 4096);
  put_zeros (&fixture, G_GUINT64_CONSTANT (5) << 30);
  put (&fixture, "d", 1);
  put (&fixture, "e", 1);
  put_zeros (&fixture, 1);
  g_assert_true (export_frames_begun (fixture.frames));
  g_assert_cmpuint (export_frames_bytes (fixture.frames), ==,
                    6 + 4096 + (G_GUINT64_CONSTANT (5) << 30));
  g_autoptr (GBytes) body = end (&fixture);
  g_autofree char *text = outline (body);
  g_assert_cmpstr (text, ==, "D3 Z5368713216 D2 Z1 J");
}

/* What a client would not take as one frame goes out as several. */
static void
test_large_writes (void)
{
  Fixture fixture;
  g_autofree guint8 *data = g_malloc0 (5 << 19);

  begin (&fixture, TRUE, NULL);
  put (&fixture, data, 5 << 19);
  g_autoptr (GBytes) body = end (&fixture);
  g_autofree char *text = outline (body);
  g_assert_cmpstr (text, ==, "D1048576 D1048576 D524288 J");
}

/* Small writes gather; nothing is lost or moved at the size where they are sent. */
static void
test_gathers (void)
{
  Fixture fixture;
  g_autofree guint8 *wanted = g_malloc (200000);
  gsize len;

  begin (&fixture, FALSE, NULL);
  for (guint i = 0; i < 200000; i++) {
    wanted[i] = i * 7 % 251;
    put (&fixture, wanted + i, 1);
  }
  g_autoptr (GBytes) body = end (&fixture);
  const guint8 *data = g_bytes_get_data (body, &len);
  g_assert_cmpmem (data, len, wanted, 200000);
}

static void
test_bare (void)
{
  Fixture fixture;
  gsize len;

  begin (&fixture, FALSE, NULL);
  put (&fixture, "abc", 3);
  put_zeros (&fixture, 100000);
  put (&fixture, "d", 1);
  put_zeros (&fixture, 2);
  g_autoptr (GBytes) body = end (&fixture);
  const guint8 *data = g_bytes_get_data (body, &len);
  g_assert_cmpuint (len, ==, 100006);
  g_assert_cmpmem (data, 3, "abc", 3);
  g_assert_true (bytes_all_zero (data + 3, 100000));
  g_assert_cmpuint (data[100003], ==, 'd');
  g_assert_true (bytes_all_zero (data + 100004, 2));
}

static void
test_empty (void)
{
  Fixture fixture;
  begin (&fixture, TRUE, NULL);
  g_autoptr (GBytes) framed = end (&fixture);
  g_autofree char *text = outline (framed);
  g_assert_cmpstr (text, ==, "J");
  begin (&fixture, FALSE, NULL);
  g_autoptr (GBytes) bare = end (&fixture);
  g_assert_cmpuint (g_bytes_get_size (bare), ==, 0);
}

/* A client that has gone ends the export at the next write and at the next report. */
static void
test_cancelled (void)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new();
  g_autofree guint8 *data = g_malloc0 (1 << 20);
  g_autoptr (GError) error = NULL;
  Fixture fixture;

  begin (&fixture, TRUE, cancellable);
  g_cancellable_cancel (cancellable);
  g_assert_false (fixture.sink.write (data, 1 << 20, fixture.sink.user_data, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&error);
  g_assert_false (fixture.sink.progress (1, 2, fixture.sink.user_data, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_assert_false (export_frames_begun (fixture.frames));
  export_frames_free (fixture.frames);
  fd_close (&fixture.fd);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/export-frames/framed", test_framed);
  g_test_add_func ("/export-frames/large", test_large_writes);
  g_test_add_func ("/export-frames/gathers", test_gathers);
  g_test_add_func ("/export-frames/bare", test_bare);
  g_test_add_func ("/export-frames/empty", test_empty);
  g_test_add_func ("/export-frames/cancelled", test_cancelled);
  return g_test_run();
}
