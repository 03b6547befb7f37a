/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A save image goes into a store and out again. */
#include <vmckpt/exchange/libvirt-save.h>

#include "libvirt-image.h"
#include "store-fixture.h"
#include "stream-build.h"

#include <vmckpt/exchange/import.h>
#include <vmckpt/util/fd.h>

#include <sys/mman.h>

static const char xml[] = "<domain type='qemu'><name>g1</name><uuid>" FIXTURE_UUID
                          "</uuid><memory unit='KiB'>16</memory><vcpu>1</vcpu>"
                          "<os><type machine='m'>hvm</type></os></domain>";
static const char cookie[] = "<cookie><cpu/></cookie>";

/* What `virsh save` would have written of a paused guest. */
static GByteArray *
make_image (void)
{
  const LibvirtHeader header = { .data_len = sizeof xml + sizeof cookie + 100,
                                 .cookie_offset = sizeof xml };
  GByteArray *image = g_byte_array_new();
  g_autoptr (GByteArray) stream = build_full_stream();
  static const guint8 padding[100];
  guint8 head[LIBVIRT_HEADER_BYTES];

  libvirt_header_build (&header, head);
  g_byte_array_append (image, head, sizeof head);
  g_byte_array_append (image, (const guint8 *)xml, sizeof xml);
  g_byte_array_append (image, (const guint8 *)cookie, sizeof cookie);
  g_byte_array_append (image, padding, sizeof padding);
  g_byte_array_append (image, stream->data, stream->len);
  return image;
}

static Manifest *
import (Store *store, const GByteArray *image)
{
  g_auto (AutoFd) fd = memfd_create ("image", MFD_CLOEXEC);
  g_autoptr (GError) error = NULL;
  const ImportOptions options = { .host = "here" };

  g_assert_true (fd_write_full (fd, image->data, image->len, &error));
  g_assert_cmpint (lseek (fd, 0, SEEK_SET), ==, 0);
  Manifest *manifest = import_checkpoint (store, fd, &options, &error);
  g_assert_no_error (error);
  return manifest;
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
  g_autofree guint8 *zeros = g_malloc0 (len);

  g_byte_array_append (user_data, zeros, len);
  return TRUE;
}

static GByteArray *export(Store *store, const Manifest *manifest, const SavedDomain *domain)
{
  GByteArray *image = g_byte_array_new();
  const ExportSink sink = { on_write, on_zeros, NULL, image, NULL };
  g_autoptr (GError) error = NULL;

  libvirt_save_write (store, manifest, domain, NULL, &sink, &error);
  g_assert_no_error (error);
  return image;
}

static void
test_out_again (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autoptr (GByteArray) image = make_image();
  g_autoptr (Manifest) manifest = import (store, image);
  g_autoptr (GError) error = NULL;
  SavedDomain domain;
  LibvirtHeader header;

  g_assert_true (saved_domain_of (manifest, &domain, &error));
  g_assert_cmpstr (domain.xml, ==, xml);
  g_assert_cmpstr (domain.cookie, ==, cookie);
  g_assert_false (domain.was_running);
  g_autoptr (GByteArray) out = export(store, manifest, &domain);
  g_assert_true (libvirt_header_parse (out->data, &header, &error));
  g_assert_false (header.was_running);
  g_assert_cmpuint (header.compressed, ==, 0);
  g_assert_cmpuint (header.cookie_offset, ==, sizeof xml);
  g_assert_cmpstr ((const char *)out->data + LIBVIRT_HEADER_BYTES, ==, xml);
  g_assert_cmpstr ((const char *)out->data + LIBVIRT_HEADER_BYTES + header.cookie_offset, ==,
                   cookie);

  /* The stream is the same guest: nothing of it is new to the store. */
  g_autoptr (Manifest) again = import (store, out);
  g_assert_cmpuint (again->parts->len, ==, manifest->parts->len);
  for (guint i = 0; i < manifest->parts->len; i++) {
    const ManifestPart *part = manifest->parts->pdata[i];
    const ManifestPart *same = manifest_find_part (again, part->role, part->name);
    g_assert_nonnull (same);
    g_assert_cmpmem (&same->map, sizeof same->map, &part->map, sizeof part->map);
  }
}

static gboolean
refuse (gconstpointer data, gsize len, gpointer user_data, GError **error)
{
  g_assert_not_reached();
}

/* Without a byte of the stream there is no head: QEMU would wait for one for ever. */
static void
test_nothing_of_a_stream (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autoptr (Manifest) manifest = fixture_manifest_new ("g1", 1);
  const SavedDomain domain = { xml, NULL, TRUE };
  const ExportSink sink = { .write = refuse };
  g_autoptr (GError) error = NULL;

  g_assert_false (libvirt_save_write (store, manifest, &domain, NULL, &sink, &error));
  g_assert_error (error, STORE_ERROR, STORE_ERROR_DAMAGED);
}

/* And it is written with the first bytes of that at once. */
static gboolean
take_first (gconstpointer data, gsize len, gpointer user_data, GError **error)
{
  const gsize stream = LIBVIRT_HEADER_BYTES + sizeof xml + 65536;

  g_assert_cmpuint (len, >, stream);
  g_assert_cmpmem ((const guint8 *)data + stream, 4, "QEVM", 4);
  g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE, "enough");
  return FALSE;
}

static void
test_head_with_stream (void)
{
  g_autoptr (Store) store = fixture_store_new (backend_memory_new());
  g_autoptr (GByteArray) image = make_image();
  g_autoptr (Manifest) manifest = import (store, image);
  const SavedDomain domain = { xml, NULL, TRUE };
  const ExportSink sink = { .write = take_first };
  g_autoptr (GError) error = NULL;

  g_assert_false (libvirt_save_write (store, manifest, &domain, NULL, &sink, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE);
}

static void
test_other_guest (void)
{
  g_autoptr (Manifest) manifest = fixture_manifest_new ("g1", 1);
  g_autoptr (GError) error = NULL;
  SavedDomain domain;

  manifest->machine = json_object_new();
  g_assert_false (saved_domain_of (manifest, &domain, &error));
  g_assert_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_UNSUPPORTED);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/libvirt-save/out-again", test_out_again);
  g_test_add_func ("/libvirt-save/nothing-of-a-stream", test_nothing_of_a_stream);
  g_test_add_func ("/libvirt-save/head-with-stream", test_head_with_stream);
  g_test_add_func ("/libvirt-save/other-guest", test_other_guest);
  return g_test_run();
}
