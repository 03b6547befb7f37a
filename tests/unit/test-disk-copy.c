/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A disk read over NBD, from the servers that there are, and from one that does what none does. */
#include "store-fixture.h"

#include "disk-copy.h"
#include "fake-nbd.h"

#include <vmckpt/util/fd.h>
#include <vmckpt/util/process.h>

#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/stat.h>

#define MARKED "qemu:dirty-bitmap:marks"

/* A server in a process of its own, and a directory for its image. */
typedef struct {
  char *dir, *image, *socket;
  ProcessId server;
} Fixture;

static void run (const char *format, ...) G_GNUC_PRINTF (1, 2);

static void
run (const char *format, ...)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *said = NULL;
  int status;
  va_list args;

  va_start (args, format);
  g_autofree char *line = g_strdup_vprintf (format, args);
  va_end (args);
  g_spawn_command_line_sync (line, &said, NULL, &status, &error);
  g_assert_no_error (error);
  g_spawn_check_wait_status (status, &error);
  g_assert_no_error (error);
}

static void
set_up (Fixture *fixture, gconstpointer data)
{
  fixture->dir = g_dir_make_tmp ("vmckpt-test-XXXXXX", NULL);
  fixture->image = g_build_filename (fixture->dir, "image", NULL);
  fixture->socket = g_build_filename (fixture->dir, "nbd", NULL);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  if (fixture->server.start_ticks != 0 && process_id_signal (fixture->server, SIGKILL))
    g_assert_true (process_id_wait_gone (fixture->server, 30000));
  run ("rm -r %s", fixture->dir);
  g_free (fixture->dir);
  g_free (fixture->image);
  g_free (fixture->socket);
}

/* FALSE, and the test is skipped, where the program of a test is not there. */
static gboolean
have (const char *program)
{
  g_autofree char *path = g_find_program_in_path (program);

  if (path == NULL)
    g_test_skip_printf ("%s is not installed", program);
  return path != NULL;
}

/* Starts a server that goes to the background and writes its pid to DIR/pid when it is ready. */
static void
serve (Fixture *fixture, const char *line)
{
  g_autofree char *pid_file = g_build_filename (fixture->dir, "pid", NULL);
  g_autofree char *pid = NULL;
  gint64 deadline = g_get_monotonic_time() + 30 * G_USEC_PER_SEC;

  run ("%s", line);
  while (!g_file_get_contents (pid_file, &pid, NULL, NULL) || strchr (pid, '\n') == NULL) {
    g_assert_cmpint (g_get_monotonic_time(), <, deadline);
    g_clear_pointer (&pid, g_free);
    g_usleep (1000);
  }
  fixture->server = process_id_of ((pid_t)g_ascii_strtoull (pid, NULL, 10));
}

static void
serve_by_qemu (Fixture *fixture, const char *format, const char *more)
{
  g_autofree char *line =
      g_strdup_printf ("qemu-nbd --fork --persistent --shared=9 --read-only --pid-file=%s/pid "
                       "-k %s -f %s -x disk %s %s",
                       fixture->dir, fixture->socket, format, more, fixture->image);
  serve (fixture, line);
}

/* Writes @len bytes of @byte to the raw image at @offset, made where it is not there. */
static void
fill_raw (Fixture *fixture, guint64 offset, gsize len, int byte)
{
  g_auto (AutoFd) fd = open (fixture->image, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  g_autofree guint8 *data = g_malloc (len);

  memset (data, byte, len);
  g_assert_cmpint (pwrite (fd, data, len, (off_t)offset), ==, (gssize)len);
}

static void
set_length (Fixture *fixture, guint64 length)
{
  g_auto (AutoFd) fd = open (fixture->image, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

  g_assert_cmpint (ftruncate (fd, (off_t)length), ==, 0);
}

/* A copy into a map of its own, of which the checkpoint is committed. */
typedef struct {
  Store *store;
  PageMap map;
  PageMapStats pages;
  DiskCopyStats stats;
} Result;

static gboolean
copy (Result *result, const DiskSource *source, gboolean on_base, GCancellable *cancellable,
      GError **error)
{
  g_autoptr (DiskCopy) disk = disk_copy_connect (source, cancellable, error);
  g_autoptr (StoreWriter) writer = store_writer_begin (result->store, NULL);
  PageMap *base = on_base ? &result->map : NULL;
  g_autoptr (PageMapWriter) map = page_map_writer_new (writer, source->length, base, NULL);

  if (disk == NULL || !disk_copy_run (disk, map, NULL, &result->stats, cancellable, error))
    return FALSE;
  g_assert_true (page_map_writer_finish (map, &result->map, &result->pages, NULL));
  g_autoptr (Manifest) manifest = fixture_commit (writer, "g1", 1, &result->map);
  return TRUE;
}

static void
assert_copies (Result *result, const DiskSource *source, gboolean on_base)
{
  g_autoptr (GError) error = NULL;

  gboolean copied = copy (result, source, on_base, NULL, &error);
  g_assert_no_error (error);
  g_assert_true (copied);
}

/* The map has what @byte_at says for each page's first and last byte. */
static void
assert_bytes (const Result *result, guint64 offset, guint64 len, guint8 byte)
{
  g_autoptr (PageMapReader) reader = page_map_reader_new (result->store, &result->map, NULL);
  guint8 page[PAGE_SIZE_BYTES];

  for (guint64 at = offset; at < offset + len; at++) {
    if (at == offset || at % PAGE_SIZE_BYTES == 0)
      g_assert_true (page_map_reader_read (reader, at / PAGE_SIZE_BYTES, page, NULL));
    g_assert_cmpuint (page[at % PAGE_SIZE_BYTES], ==, byte);
  }
}

/* ---- Real servers ---- */

/* Data that touches no page boundary, holes, and an end within a page. */
static void
test_raw (Fixture *fixture, gconstpointer data)
{
  const guint64 length = (20 << 20) + 4096 + 512;
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  Result result = { .store = store };
  DiskSource source = { fixture->socket, "disk", length, NULL, 0 };

  if (!have ("qemu-nbd"))
    return;
  set_length (fixture, length);
  fill_raw (fixture, (5 << 20) + 100, 3 << 20, 7);
  fill_raw (fixture, length - 512, 512, 9);
  serve_by_qemu (fixture, "raw", "");
  assert_copies (&result, &source, FALSE);
  assert_bytes (&result, 0, (5 << 20) + 100, 0);
  assert_bytes (&result, (5 << 20) + 100, 3 << 20, 7);
  assert_bytes (&result, (8 << 20) + 100, (12 << 20) - 100 + 4096, 0);
  assert_bytes (&result, length - 512, 512, 9);
  assert_bytes (&result, length, PAGE_SIZE_BYTES - 512, 0);
  /* Holes are read, and found to be zeros. */
  g_assert_cmpuint (result.stats.dirty_bytes, ==, length);
  g_assert_cmpuint (result.stats.read_bytes, ==, length);
}

/* What an image has from the one behind it belongs to it. */
static void
test_chain (Fixture *fixture, gconstpointer data)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  Result result = { .store = store };
  DiskSource source = { fixture->socket, "disk", 8 << 20, NULL, 0 };

  if (!have ("qemu-nbd"))
    return;
  run ("qemu-img create -q -f qcow2 %s/behind 8M", fixture->dir);
  run ("qemu-io -f qcow2 %s/behind -c 'write -P 1 1M 2M'", fixture->dir);
  run ("qemu-img create -q -f qcow2 -b behind -F qcow2 %s", fixture->image);
  run ("qemu-io -f qcow2 %s -c 'write -P 2 2M 512k'", fixture->image);
  serve_by_qemu (fixture, "qcow2", "");
  assert_copies (&result, &source, FALSE);
  assert_bytes (&result, 0, 1 << 20, 0);
  assert_bytes (&result, 1 << 20, 1 << 20, 1);
  assert_bytes (&result, 2 << 20, 512 << 10, 2);
  assert_bytes (&result, (2 << 20) + (512 << 10), 512 << 10, 1);
  assert_bytes (&result, 3 << 20, 5 << 20, 0);
  g_assert_cmpuint (result.stats.read_bytes, ==, 8 << 20);
}

/* Only what is marked is read; what was discarded comes as zeros. */
static void
test_marked (Fixture *fixture, gconstpointer data)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  Result result = { .store = store };
  DiskSource source = { fixture->socket, "disk", 64 << 20, NULL, 0 };

  if (!have ("qemu-nbd"))
    return;
  run ("qemu-img create -q -f qcow2 %s 64M", fixture->image);
  run ("qemu-io -f qcow2 %s -c 'write -P 1 0 32M'", fixture->image);
  serve_by_qemu (fixture, "qcow2", "");
  assert_copies (&result, &source, FALSE);
  tear_down (fixture, NULL);
  set_up (fixture, NULL);

  run ("qemu-img create -q -f qcow2 %s 64M", fixture->image);
  run ("qemu-io -f qcow2 %s -c 'write -P 1 0 32M'", fixture->image);
  run ("qemu-img bitmap --add -g 4096 -f qcow2 %s marks", fixture->image);
  run ("qemu-io -f qcow2 %s -c 'write -P 2 1M 4k' -c 'write -P 3 5000k 8k' -c 'discard 16M 8M' "
       "-c 'write -P 4 67104768 4k'",
       fixture->image);
  serve_by_qemu (fixture, "qcow2", "-B marks");
  source.bitmap = MARKED;
  source.socket = fixture->socket;
  assert_copies (&result, &source, TRUE);
  g_assert_cmpuint (result.stats.dirty_bytes, ==, 4096 + 8192 + (8 << 20) + 4096);
  g_assert_cmpuint (result.stats.read_bytes, ==, result.stats.dirty_bytes);
  g_assert_cmpuint (result.pages.put, ==, 4 + (8 << 20) / PAGE_SIZE_BYTES);
  assert_bytes (&result, 0, 1 << 20, 1);
  assert_bytes (&result, 1 << 20, 4096, 2);
  assert_bytes (&result, 5000 << 10, 8192, 3);
  assert_bytes (&result, 8 << 20, 8 << 20, 1);
  assert_bytes (&result, 16 << 20, 8 << 20, 0);
  assert_bytes (&result, 24 << 20, 8 << 20, 1);
  assert_bytes (&result, 32 << 20, (32 << 20) - 4096, 0);
  assert_bytes (&result, (64 << 20) - 4096, 4096, 4);
}

/* Everything is read and compared: what is the same is found to be, zeros too. */
static void
test_compared (Fixture *fixture, gconstpointer data)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  Result result = { .store = store };
  DiskSource source = { fixture->socket, "disk", 64 << 20, NULL, 0 };

  if (!have ("qemu-nbd"))
    return;
  set_length (fixture, 64 << 20);
  for (guint i = 0; i < 8 << 8; i++)
    fill_raw (fixture, (guint64)i * 4096, 4096, 1 + i % 200);
  serve_by_qemu (fixture, "raw", "");
  assert_copies (&result, &source, FALSE);
  run ("fallocate --punch-hole --offset 1MiB --length 1MiB %s", fixture->image);
  fill_raw (fixture, 40 << 20, 4096, 77);
  assert_copies (&result, &source, TRUE);
  g_assert_cmpuint (result.pages.unchanged, ==, 7 << 8);
  g_assert_cmpuint (result.pages.zero, ==, (57 << 8) - 1);
  g_assert_cmpuint (result.pages.put, ==, 64 << 8);
  assert_bytes (&result, 1 << 20, 1 << 20, 0);
  assert_bytes (&result, 40 << 20, 4096, 77);
}

/* A server of another kind, without any image. */
static void
test_nbdkit (Fixture *fixture, gconstpointer data)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  Result result = { .store = store };
  DiskSource source = { fixture->socket, "", 10 << 20, NULL, 0 };

  if (!have ("nbdkit"))
    return;
  g_autofree char *line =
      g_strdup_printf ("nbdkit -U %s -P %s/pid pattern size=10M", fixture->socket, fixture->dir);
  serve (fixture, line);
  assert_copies (&result, &source, FALSE);
  g_autoptr (PageMapReader) reader = page_map_reader_new (store, &result.map, NULL);
  for (guint64 i = 0; i < (10 << 20) / PAGE_SIZE_BYTES; i++) {
    guint64 words[PAGE_SIZE_BYTES / 8];
    g_assert_true (page_map_reader_read (reader, i, (guint8 *)words, NULL));
    for (guint word = 0; word < G_N_ELEMENTS (words); word++)
      g_assert_cmpuint (GUINT64_FROM_BE (words[word]), ==, i * PAGE_SIZE_BYTES + word * 8);
  }
}

/* Killed in the middle: a delay makes sure that it is. */
static void
test_server_killed (Fixture *fixture, gconstpointer data)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autoptr (GError) error = NULL;
  Result result = { .store = store };
  DiskSource source = { fixture->socket, "", 10 << 20, NULL, 0 };

  if (!have ("nbdkit"))
    return;
  g_autofree char *line =
      g_strdup_printf ("nbdkit -U %s -P %s/pid --filter=delay pattern size=10M rdelay=600",
                       fixture->socket, fixture->dir);
  serve (fixture, line);
  g_autoptr (DiskCopy) disk = disk_copy_connect (&source, NULL, &error);
  g_assert_no_error (error);
  g_assert_true (process_id_signal (fixture->server, SIGKILL));
  g_autoptr (StoreWriter) writer = store_writer_begin (store, NULL);
  g_autoptr (PageMapWriter) map = page_map_writer_new (writer, source.length, NULL, NULL);
  g_assert_false (disk_copy_run (disk, map, NULL, &result.stats, NULL, &error));
  g_assert_error (error, DISK_ERROR, DISK_ERROR_FAILED);
}

static void
test_refused (Fixture *fixture, gconstpointer data)
{
  const DiskSource wrong[] = { { fixture->socket, "disk", 4096, NULL, 0 },
                               { fixture->socket, "other", 8192, NULL, 0 },
                               { fixture->socket, "disk", 8192, MARKED, 0 } };

  if (!have ("qemu-nbd"))
    return;
  set_length (fixture, 8192);
  serve_by_qemu (fixture, "raw", "");
  for (gsize i = 0; i < G_N_ELEMENTS (wrong); i++) {
    g_autoptr (GError) error = NULL;
    g_assert_null (disk_copy_connect (&wrong[i], NULL, &error));
    g_assert_error (error, DISK_ERROR, DISK_ERROR_FAILED);
  }
}

/* ---- The fake ---- */

/* What a copy from the fake comes to. */
static void
assert_fails (FakeNbdFault fault, const char *bitmap, int code)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autoptr (FakeNbd) fake = fake_nbd_start (fault);
  g_autoptr (GError) error = NULL;
  Result result = { .store = store };
  DiskSource source = { fake_nbd_socket (fake), "disk", FAKE_NBD_BYTES, bitmap, 300 };

  g_assert_false (copy (&result, &source, FALSE, NULL, &error));
  g_assert_error (error, DISK_ERROR, code);
  g_test_message ("%s", error->message);
}

static void
test_fake_right (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autoptr (FakeNbd) fake = fake_nbd_start (FAKE_NBD_RIGHT);
  Result result = { .store = store };
  DiskSource source = { fake_nbd_socket (fake), "disk", FAKE_NBD_BYTES, NULL, 0 };

  assert_copies (&result, &source, FALSE);
  assert_bytes (&result, 0, FAKE_NBD_BYTES, FAKE_NBD_BYTE);
}

static void
test_fake_hangs (void)
{
  assert_fails (FAKE_NBD_SILENT, NULL, DISK_ERROR_STALLED);
  assert_fails (FAKE_NBD_HANG, NULL, DISK_ERROR_STALLED);
}

static void
test_fake_fails (void)
{
  assert_fails (FAKE_NBD_DIE, NULL, DISK_ERROR_FAILED);
  assert_fails (FAKE_NBD_DENY, NULL, DISK_ERROR_BROKEN);
}

static void
test_fake_lies (void)
{
  assert_fails (FAKE_NBD_LARGER, NULL, DISK_ERROR_FAILED);
  assert_fails (FAKE_NBD_HALF, NULL, DISK_ERROR_FAILED);
  assert_fails (FAKE_NBD_ELSEWHERE, NULL, DISK_ERROR_FAILED);
  assert_fails (FAKE_NBD_GARBAGE, NULL, DISK_ERROR_FAILED);
  assert_fails (FAKE_NBD_NO_LENGTH, "any", DISK_ERROR_FAILED);
}

/* An extent may go beyond what was asked, never beyond the disk. */
static void
test_fake_long_extent (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autoptr (FakeNbd) fake = fake_nbd_start (FAKE_NBD_LONG_EXTENT);
  Result result = { .store = store };
  DiskSource source = { fake_nbd_socket (fake), "disk", FAKE_NBD_BYTES, NULL, 0 };

  assert_copies (&result, &source, FALSE);
  g_assert_cmpuint (result.stats.read_bytes, ==, FAKE_NBD_BYTES);
}

static gpointer
cancel_when_read (gpointer data)
{
  gpointer *both = data;

  fake_nbd_wait_read (both[0]);
  g_cancellable_cancel (both[1]);
  return NULL;
}

/* While the server hangs, whose patience is far longer than this test may take. */
static void
test_cancelled (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autoptr (FakeNbd) fake = fake_nbd_start (FAKE_NBD_HANG);
  g_autoptr (GCancellable) cancellable = g_cancellable_new();
  g_autoptr (GError) error = NULL;
  Result result = { .store = store };
  DiskSource source = { fake_nbd_socket (fake), "disk", FAKE_NBD_BYTES, NULL, 3600000 };
  gpointer both[] = { fake, cancellable };
  GThread *thread = g_thread_new ("canceller", cancel_when_read, both);

  g_assert_false (copy (&result, &source, FALSE, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_thread_join (thread);
}

static void
add (const char *path, void (*test) (Fixture *, gconstpointer))
{
  g_test_add (path, Fixture, NULL, set_up, test, tear_down);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add ("/disk-copy/raw", test_raw);
  add ("/disk-copy/chain", test_chain);
  add ("/disk-copy/marked", test_marked);
  add ("/disk-copy/compared", test_compared);
  add ("/disk-copy/nbdkit", test_nbdkit);
  add ("/disk-copy/server-killed", test_server_killed);
  add ("/disk-copy/refused", test_refused);
  g_test_add_func ("/disk-copy/fake-right", test_fake_right);
  g_test_add_func ("/disk-copy/fake-hangs", test_fake_hangs);
  g_test_add_func ("/disk-copy/fake-fails", test_fake_fails);
  g_test_add_func ("/disk-copy/fake-lies", test_fake_lies);
  g_test_add_func ("/disk-copy/fake-long-extent", test_fake_long_extent);
  g_test_add_func ("/disk-copy/cancelled", test_cancelled);
  return g_test_run();
}
