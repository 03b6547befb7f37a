/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt-image.h"

#include <string.h>
#include <vmckpt/exchange/sink.h>

/* The header of a real image (libvirt 9.0, raw). */
static const guint8 real[LIBVIRT_HEADER_BYTES] =
    "LibvirtQemudSave\x02\0\0\0\x5f\x09\x01\0\x01\0\0\0"
    "\0\0\0\0\x73\x08\0\0";

static void
assert_refused (guint at, guint8 value, int code)
{
  g_autoptr (GError) error = NULL;
  guint8 data[LIBVIRT_HEADER_BYTES];
  LibvirtHeader header;
  const char *program;

  memcpy (data, real, sizeof data);
  data[at] = value;
  g_assert_false (libvirt_header_parse (data, &header, &error) &&
                  libvirt_header_program (&header, &program, &error));
  g_assert_error (error, EXCHANGE_ERROR, code);
}

static void
test_header (void)
{
  g_autoptr (GError) error = NULL;
  LibvirtHeader header;
  const char *program = "?";

  g_assert_true (libvirt_header_parse (real, &header, &error));
  g_assert_cmpuint (header.data_len, ==, 67935);
  g_assert_true (header.was_running);
  g_assert_true (libvirt_header_program (&header, &program, &error));
  g_assert_null (program);
  assert_refused (0, 'X', EXCHANGE_ERROR_DAMAGED);
  assert_refused (12, 'P', EXCHANGE_ERROR_DAMAGED);
  assert_refused (16, 3, EXCHANGE_ERROR_UNSUPPORTED);
  assert_refused (23, 1, EXCHANGE_ERROR_DAMAGED); /* 16 MiB of XML */
  assert_refused (28, 6, EXCHANGE_ERROR_UNSUPPORTED);
}

static void
test_unfinished (void)
{
  g_autoptr (GError) error = NULL;
  guint8 data[LIBVIRT_HEADER_BYTES];
  LibvirtHeader header;

  memcpy (data, real, sizeof data);
  memcpy (data, "LibvirtQemudPart", 16);
  g_assert_false (libvirt_header_parse (data, &header, &error));
  g_assert_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_UNSUPPORTED);
  g_assert_nonnull (strstr (error->message, "unfinished"));
}

static void
test_domain (void)
{
  static const char xml[] =
      "<domain type='qemu'><name>g1</name><uuid>2f9a5e0e-4d5c-4e0b-9c55-1f8b7d7a6f10</uuid>"
      "<memory unit='MiB'>192</memory><vcpu>2</vcpu><os><type arch='x86_64' "
      "machine='pc-q35-7.2'>hvm</type><kernel>/k</kernel><initrd>/i</initrd>"
      "<cmdline>console=ttyS0</cmdline></os><cpu mode='custom'><model>qemu64</model></cpu><devices>"
      "<emulator>/q</emulator><disk type='file' device='disk'><source file='/d'/></disk>"
      "<controller type='usb' model='none'/><serial type='file'/></devices></domain>\0<cookie/>";
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) notes = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GuestSpec) spec = libvirt_xml_parse (xml, sizeof xml, notes, &error);

  g_assert_no_error (error);
  g_assert_cmpstr (spec->name, ==, "g1");
  g_assert_cmpstr (spec->uuid, ==, "2f9a5e0e-4d5c-4e0b-9c55-1f8b7d7a6f10");
  g_assert_cmpstr (spec->accel, ==, "tcg");
  g_assert_cmpstr (spec->machine, ==, "pc-q35-7.2");
  g_assert_cmpstr (spec->cpu, ==, "qemu64");
  g_assert_cmpstr (spec->kernel, ==, "/k");
  g_assert_cmpstr (spec->initrd, ==, "/i");
  g_assert_cmpstr (spec->append, ==, "console=ttyS0");
  g_assert_cmpuint (spec->ram_bytes, ==, 192 << 20);
  g_assert_cmpuint (spec->cpus, ==, 2);
  g_assert_cmpuint (notes->len, ==, 1);
  g_assert_nonnull (strstr (notes->pdata[0], "device disk file"));
}

static void
test_xml_is_bounded (void)
{
  g_autoptr (GString) deep = g_string_new (NULL);
  g_autoptr (GPtrArray) notes = g_ptr_array_new_with_free_func (g_free);
  static const char *const bad[] = { "", "<domain>", "no", "<a></b>" };

  for (guint i = 0; i < 100; i++)
    g_string_append (deep, "<a>");
  g_assert_null (libvirt_xml_parse (deep->str, deep->len, notes, NULL));
  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (GError) error = NULL;
    g_assert_null (libvirt_xml_parse (bad[i], strlen (bad[i]), notes, &error));
    g_assert_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_DAMAGED);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/libvirt-image/header", test_header);
  g_test_add_func ("/libvirt-image/unfinished", test_unfinished);
  g_test_add_func ("/libvirt-image/domain", test_domain);
  g_test_add_func ("/libvirt-image/bounded", test_xml_is_bounded);
  return g_test_run();
}
