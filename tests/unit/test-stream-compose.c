/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A stream that was taken into a store comes out as one with the same content. */
#include <vmckpt/ram/stream-compose.h>

#include "store-fixture.h"
#include "stream-build.h"

#include <vmckpt/ram/stream-import.h>
#include <vmckpt/util/fd.h>

#include <sys/mman.h>

static Manifest *
take_in (Store *store)
{
  g_auto (AutoFd) fd = memfd_create ("stream", MFD_CLOEXEC);
  g_auto (StreamImportReport) report = { 0 };
  g_autoptr (GError) error = NULL;
  g_autoptr (GByteArray) stream = build_full_stream();
  g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);
  Manifest *manifest = fixture_manifest_new ("g1", 1);

  g_assert_true (fd_write_full (fd, stream->data, stream->len, &error));
  g_assert_cmpint (lseek (fd, 0, SEEK_SET), ==, 0);
  stream_import (fd, writer, NULL, manifest, &report, NULL, NULL, &error);
  g_assert_no_error (error);
  store_writer_commit (writer, manifest, NULL, &error);
  g_assert_no_error (error);
  return manifest;
}

static gboolean
append (gconstpointer data, gsize len, gpointer user_data, GError **error)
{
  g_byte_array_append (user_data, data, len);
  return TRUE;
}

/* How many pages of each block come, and whether all items were good. */
static void
read_back (const GByteArray *stream, guint pages[2], gsize *device_bytes)
{
  g_autoptr (StreamReader) reader = stream_reader_new_for_data (stream->data, stream->len);
  g_autoptr (GError) error = NULL;
  StreamItem item;

  pages[0] = pages[1] = 0;
  *device_bytes = 0;
  do {
    stream_reader_next (reader, &item, &error);
    g_assert_no_error (error);
    if (item.type == STREAM_ITEM_PAGE) {
      g_assert_cmpuint (item.block, <, 2);
      pages[item.block]++;
    } else if (item.type == STREAM_ITEM_DEVICE_STATE) {
      *device_bytes += item.len;
    }
  } while (item.type != STREAM_ITEM_END);
}

static void
compose (const StreamOmission *omission, guint first_pages)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autoptr (Manifest) manifest = take_in (store);
  g_autoptr (GByteArray) out = g_byte_array_new();
  g_autoptr (StreamWriter) stream = stream_writer_new_for_func (append, out);
  g_autoptr (GError) error = NULL;
  gsize device_bytes;
  guint pages[2];

  stream_compose (stream, store, manifest, omission, NULL, NULL, &error);
  g_assert_no_error (error);
  read_back (out, pages, &device_bytes);
  g_assert_cmpuint (pages[0], ==, first_pages);
  g_assert_cmpuint (pages[1], ==, 2);
  g_assert_cmpuint (device_bytes, ==,
                    manifest_find_part (manifest, "device-state", NULL)->map.length);
}

static void
test_all (void)
{
  compose (NULL, 4);
}

static void
test_left_out (void)
{
  const StreamOmission omission = { .block = "a" };

  compose (&omission, 0);
}

/* Of a stream that is decided about on its way. */
typedef struct {
  GByteArray *out;
  gsize sent; /* when it was decided */
  gboolean leave_out, fail;
} Deciding;

static gboolean
decide (gboolean *leave_out, gpointer user_data, GError **error)
{
  Deciding *deciding = user_data;

  deciding->sent = deciding->out->len;
  *leave_out = deciding->leave_out;
  if (deciding->fail)
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_FAILED, "no");
  return !deciding->fail;
}

static void
test_decided (void)
{
  for (guint i = 0; i < 3; i++) {
    g_autoptr (Store) store = fixture_store_new (backend_memory_new());
    g_autoptr (Manifest) manifest = take_in (store);
    g_autoptr (GByteArray) out = g_byte_array_new();
    g_autoptr (StreamWriter) stream = stream_writer_new_for_func (append, out);
    Deciding deciding = { out, 0, i == 1, i == 2 };
    const StreamOmission omission = { "a", decide, &deciding };
    g_autoptr (GError) error = NULL;
    gsize device_bytes;
    guint pages[2];

    gboolean whole = stream_compose (stream, store, manifest, &omission, NULL, NULL, &error);
    g_assert_cmpuint (deciding.sent, >, 0);
    g_assert_cmpint (whole, ==, !deciding.fail);
    if (!whole) {
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_FAILED);
      g_assert_cmpuint (out->len, ==, deciding.sent);
      continue;
    }
    g_assert_no_error (error);
    g_assert_cmpuint (out->len, >, deciding.sent);
    read_back (out, pages, &device_bytes);
    g_assert_cmpuint (pages[0], ==, deciding.leave_out ? 0 : 4);
    g_assert_cmpuint (pages[1], ==, 2);
  }
}

static void
test_incomplete (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autoptr (Manifest) manifest = fixture_manifest_new ("g1", 1);
  g_autoptr (GByteArray) out = g_byte_array_new();
  g_autoptr (StreamWriter) stream = stream_writer_new_for_func (append, out);
  g_autoptr (GError) error = NULL;

  g_assert_false (stream_compose (stream, store, manifest, NULL, NULL, NULL, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_DAMAGED);
  g_assert_cmpuint (out->len, ==, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/stream-compose/all", test_all);
  g_test_add_func ("/stream-compose/left-out", test_left_out);
  g_test_add_func ("/stream-compose/decided", test_decided);
  g_test_add_func ("/stream-compose/incomplete", test_incomplete);
  return g_test_run();
}
