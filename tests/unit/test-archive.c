/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Archives, from one store in memory to another. */
#include "archive-format.h"

#include <vmckpt/exchange/archive.h>
#include <vmckpt/exchange/export.h>
#include <vmckpt/exchange/import.h>
#include <vmckpt/store/maintain.h>
#include <vmckpt/store/writer.h>
#include <vmckpt/util/bytes.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/json.h>

#include <glib/gstdio.h>
#include <sodium.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGES 600

static Store *
new_store (void)
{
  g_autoptr (GError) error = NULL;
  Backend *backend = backend_memory_new();
  Store *store;

  g_assert_true (store_init (backend, &error));
  store = store_open (backend, &error);
  g_assert_no_error (error);
  return store;
}

/* Page @page of the guest's memory: zeros, noise, one of three patterns, or what page 5 holds. */
static void
fill (guint64 page, guint8 data[PAGE_SIZE_BYTES])
{
  memset (data, 0, PAGE_SIZE_BYTES);
  if (page % 7 == 0)
    return;
  if (page >= 100 && page < 400)
    memset (data, page / 100, PAGE_SIZE_BYTES);
  else
    for (guint i = 0; i < PAGE_SIZE_BYTES; i += 8) {
      guint64 value = (page > 500 ? 5 + page % 2 : page) * 0x9e3779b97f4a7c15 + i * i;
      memcpy (data + i, &value, sizeof value);
    }
}

static void
add_part (StoreWriter *writer, Manifest *manifest, const char *role, const char *name,
          guint64 length)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PageMapWriter) map = page_map_writer_new (writer, length, NULL, &error);
  guint8 data[PAGE_SIZE_BYTES];
  PageMap result;

  g_assert_no_error (error);
  for (guint64 page = 0; page * PAGE_SIZE_BYTES < length; page++) {
    fill (page, data);
    if ((page + 1) * PAGE_SIZE_BYTES > length)
      memset (data + length % PAGE_SIZE_BYTES, 0, PAGE_SIZE_BYTES - length % PAGE_SIZE_BYTES);
    g_assert_true (page_map_writer_put (map, page, data, &error));
  }
  g_assert_true (page_map_writer_finish (map, &result, NULL, &error));
  manifest_add_part (manifest, role, name, &result);
}

/* @machine: taken. */
static Manifest *
new_checkpoint_of (Store *store, guint64 ram_pages, JsonObject *machine)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreWriter) writer = store_writer_begin (store, &error);
  g_autoptr (Manifest) manifest = manifest_new();

  g_assert_no_error (error);
  manifest->guest = g_strdup ("g");
  manifest->guest_uuid = g_uuid_string_random();
  manifest->host = g_strdup ("h");
  manifest->engine = g_strdup ("stream");
  manifest->mode = g_strdup ("live");
  manifest->tag = g_strdup ("first");
  manifest->note = g_strdup ("a note");
  manifest->created_us = 1234567890;
  manifest->machine = machine;
  add_part (writer, manifest, "ram", "pc.ram", ram_pages * PAGE_SIZE_BYTES);
  if (ram_pages > 2)
    add_part (writer, manifest, "disk", "disk0", 20 * PAGE_SIZE_BYTES + 100);
  g_assert_true (store_writer_commit (writer, manifest, NULL, &error));
  g_assert_true (store_tag_add (store, manifest->id, "second", &error));
  return g_steal_pointer (&manifest);
}

static Manifest *
new_checkpoint (Store *store, guint64 ram_pages)
{
  JsonObject *machine = json_object_new();

  json_object_set_string_member (machine, "driver", "qemu");
  return new_checkpoint_of (store, ram_pages, machine);
}

static gboolean
on_write (gconstpointer data, gsize len, gpointer user_data, GError **error)
{
  g_byte_array_append (user_data, data, len);
  return TRUE;
}

static gboolean
on_zeros (guint64 len, gpointer user_data, GError **error)
{
  GByteArray *array = user_data;
  guint before = array->len;

  g_byte_array_set_size (array, before + len);
  memset (array->data + before, 0, len);
  return TRUE;
}

static GByteArray *
export_all (Store *store, const Manifest *manifest, ExportFormat format,
            const ExportOptions *options)
{
  GByteArray *bytes = g_byte_array_new();
  g_autoptr (GError) error = NULL;
  ExportSink sink = { .write = on_write, .zeros = on_zeros, .user_data = bytes };

  export_checkpoint (store, manifest, format, options, &sink, &error);
  g_assert_no_error (error);
  return bytes;
}

static int
file_of (const guint8 *data, gsize len)
{
  int fd = memfd_create ("archive", MFD_CLOEXEC);

  g_assert_cmpint (fd, >=, 0);
  g_assert_true (fd_write_full (fd, data, len, NULL));
  lseek (fd, 0, SEEK_SET);
  return fd;
}

static Manifest *
import_bytes (Store *store, const guint8 *data, gsize len, const char *name, GError **error)
{
  g_auto (AutoFd) fd = file_of (data, len);
  ImportOptions options = { .name = name };

  return import_checkpoint (store, fd, &options, error);
}

static void
test_there_and_back (void)
{
  g_autoptr (Store) a = new_store();
  g_autoptr (Store) b = new_store();
  g_autoptr (Manifest) manifest = new_checkpoint (a, PAGES);
  ExportOptions plain = { 0 };
  g_autoptr (GByteArray) archive = export_all (a, manifest, EXPORT_ARCHIVE, &plain);
  g_autoptr (GError) error = NULL;
  g_autoptr (Manifest) other = import_bytes (b, archive->data, archive->len, NULL, &error);

  g_assert_no_error (error);
  g_assert_cmpstr (other->id, !=, manifest->id);
  g_assert_cmpstr (other->guest_uuid, ==, manifest->guest_uuid);
  g_assert_cmpstr (other->note, ==, "a note");
  g_assert_cmpint (other->created_us, ==, manifest->created_us);
  g_auto (GStrv) tags = store_tags (b, other, &error);
  g_assert_cmpuint (g_strv_length (tags), ==, 2);
  g_assert_true (store_verify (b, other, NULL, NULL, &error));
  for (ExportFormat format = EXPORT_RAM; format <= EXPORT_DISK; format++) {
    g_autoptr (GByteArray) was = export_all (a, manifest, format, &plain);
    g_autoptr (GByteArray) is = export_all (b, other, format, &plain);
    g_assert_cmpmem (was->data, was->len, is->data, is->len);
    g_assert_cmpuint (was->len, ==,
                      format == EXPORT_RAM ? PAGES * PAGE_SIZE_BYTES : 20 * PAGE_SIZE_BYTES + 100);
  }
  /* 600 pages, of which 86 are zeros, 257 of 3 kinds and 85 of 2: equal ones are there once. */
  g_assert_cmpuint (archive->len, <, 250 * PAGE_SIZE_BYTES);
}

static void
test_another_name (void)
{
  g_autoptr (Store) store = new_store();
  g_autoptr (Manifest) manifest = new_checkpoint (store, 10);
  ExportOptions plain = { 0 };
  g_autoptr (GByteArray) archive = export_all (store, manifest, EXPORT_ARCHIVE, &plain);
  g_autoptr (GError) error = NULL;
  g_autoptr (Manifest) again = import_bytes (store, archive->data, archive->len, "other", &error);

  g_assert_no_error (error);
  g_assert_cmpstr (again->guest, ==, "other");
  g_assert_null (import_bytes (store, archive->data, archive->len, "bad name", &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
}

/* Nothing of a damaged archive becomes visible. */
static void
assert_refused (Store *store, const guint8 *data, gsize len)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Manifest) manifest = import_bytes (store, data, len, NULL, &error);
  g_autoptr (GPtrArray) all = store_manifest_list (store, NULL, NULL, NULL);

  g_assert_null (manifest);
  g_assert_nonnull (error);
  g_assert_true (error->domain == EXCHANGE_ERROR);
  g_assert_cmpuint (all->len, ==, 0);
}

static GByteArray *
small_archive (void)
{
  g_autoptr (Store) store = new_store();
  g_autoptr (Manifest) manifest = new_checkpoint (store, 2);
  ExportOptions plain = { 0 };

  return export_all (store, manifest, EXPORT_ARCHIVE, &plain);
}

static void
test_every_cut (void)
{
  g_autoptr (GByteArray) archive = small_archive();
  g_autoptr (Store) store = new_store();
  guint step = g_test_slow() ? 1 : 61;

  for (guint len = 0; len<archive->len; len += len + 100> archive->len || len < 100 ? 1 : step)
    assert_refused (store, archive->data, len);
  g_byte_array_append (archive, (const guint8 *)"", 1);
  assert_refused (store, archive->data, archive->len);
}

static void
test_every_flip (void)
{
  g_autoptr (GByteArray) archive = small_archive();
  g_autoptr (Store) store = new_store();

  for (guint i = 0; i < archive->len; i++) {
    archive->data[i] ^= 1 << i % 8;
    assert_refused (store, archive->data, archive->len);
    archive->data[i] ^= 1 << i % 8;
  }
}

static void
on_message (const char *text, gpointer user_data)
{
  g_string_append (user_data, text);
}

/* What a restore of an archive with this machine would run, if it is worth telling. */
static char *
import_and_listen (const char *machine)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GString) said = g_string_new (NULL);
  g_autoptr (Store) store = new_store();
  JsonObject *object = json_parse_bounded (machine, strlen (machine), 4096, 8, &error);
  g_assert_no_error (error);
  g_autoptr (Manifest) manifest = new_checkpoint_of (store, 2, object);
  ExportOptions plain = { 0 };
  g_autoptr (GByteArray) archive = export_all (store, manifest, EXPORT_ARCHIVE, &plain);
  g_auto (AutoFd) fd = file_of (archive->data, archive->len);
  ImportOptions options = { .message = on_message, .user_data = said };
  g_autoptr (Manifest) imported = import_checkpoint (store, fd, &options, &error);

  g_assert_no_error (error);
  return g_string_free (g_steal_pointer (&said), FALSE);
}

/* A restore runs what the record names: an archive that brings a program of its own, or arguments,
 * is told of. */
static void
test_what_runs (void)
{
  g_autofree char *program = import_and_listen ("{\"spec\":{\"qemu\":\"/home/x/odd\"}}");
  g_autofree char *like_qemu =
      import_and_listen ("{\"spec\":{\"qemu\":\"/x/qemu-system-x86_64\",\"extra\":[]}}");
  g_autofree char *arguments = import_and_listen ("{\"spec\":{\"extra\":[\"-odd\"]}}");
  g_autofree char *usual = import_and_listen ("{\"spec\":{\"extra\":[]}}");

  g_assert_nonnull (strstr (program, "'/home/x/odd'"));
  g_assert_nonnull (strstr (like_qemu, "'/x/qemu-system-x86_64'"));
  g_assert_nonnull (strstr (arguments, "with 1 arguments"));
  g_assert_cmpstr (usual, ==, "");
}

/* An archive can say any time; one in the future would outlive all rules of retention. */
static void
test_future (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GString) said = g_string_new (NULL);
  g_autoptr (Store) store = new_store();
  g_autoptr (Manifest) manifest = new_checkpoint (store, 2);
  ExportOptions plain = { 0 };
  ImportOptions options = { .message = on_message, .user_data = said };

  manifest->created_us = g_get_real_time() + 2 * G_TIME_SPAN_DAY;
  g_autoptr (GByteArray) archive = export_all (store, manifest, EXPORT_ARCHIVE, &plain);
  g_auto (AutoFd) fd = file_of (archive->data, archive->len);
  g_autoptr (Manifest) imported = import_checkpoint (store, fd, &options, &error);
  g_assert_no_error (error);
  g_assert_cmpint (imported->created_us, <=, g_get_real_time());
  g_assert_nonnull (strstr (said->str, "in the future"));
}

/* An archive with right digests whose description is @text, of less than 256 bytes. */
static GByteArray *
archive_of_document (const char *text)
{
  guint8 chain[ARCHIVE_DIGEST_BYTES], len = strlen (text);
  /* A frame of zstd with one block that is not compressed. */
  const guint8 frame[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x20, len, 1 | len << 3, len >> 5, 0 };
  GByteArray *archive = g_byte_array_new();

  g_byte_array_append (archive, (const guint8 *)ARCHIVE_MAGIC, ARCHIVE_MAGIC_BYTES);
  bytes_add_le32 (archive, ARCHIVE_VERSION);
  bytes_add_le32 (archive, ARCHIVE_VERSION);
  archive_chain (chain, TRUE, archive->data, archive->len, NULL, 0);
  guint head = archive->len, payload = head + ARCHIVE_RECORD_BYTES;
  g_byte_array_append (archive, (const guint8 *)ARCHIVE_TAG_DOCUMENT, ARCHIVE_TAG_BYTES);
  bytes_add_le32 (archive, sizeof frame + len);
  bytes_add_le32 (archive, len);
  g_byte_array_append (archive, frame, sizeof frame);
  g_byte_array_append (archive, (const guint8 *)text, len);
  archive_chain (chain, FALSE, archive->data + head, ARCHIVE_RECORD_BYTES, archive->data + payload,
                 archive->len - payload);
  g_byte_array_append (archive, chain, sizeof chain);
  return archive;
}

static void
test_bad_document (void)
{
  static const char *const texts[] = { "no JSON", "{}", "{\"parts\":[1]}", "{\"parts\":[]}" };
  g_autoptr (Store) store = new_store();

  for (guint i = 0; i < G_N_ELEMENTS (texts); i++) {
    g_autoptr (GByteArray) archive = archive_of_document (texts[i]);
    g_autoptr (GError) error = NULL;
    g_assert_null (import_bytes (store, archive->data, archive->len, NULL, &error));
    g_assert_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_DAMAGED);
    g_assert_true (i == 2 || strstr (error->message, "its description") != NULL);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_assert_cmpint (sodium_init(), >=, 0);
  g_test_add_func ("/archive/there-and-back", test_there_and_back);
  g_test_add_func ("/archive/what-runs", test_what_runs);
  g_test_add_func ("/archive/future", test_future);
  g_test_add_func ("/archive/bad-document", test_bad_document);
  g_test_add_func ("/archive/another-name", test_another_name);
  g_test_add_func ("/archive/every-cut", test_every_cut);
  g_test_add_func ("/archive/every-flip", test_every_flip);
  return g_test_run();
}
