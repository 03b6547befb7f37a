/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Connections to libvirt, with its own driver for tests, and what its errors become. */
#include "../../vmckpt/libvirt/host.h"

#include <vmckpt/libvirt/libvirt-link.h>

#include <libvirt/virterror.h>
#include <string.h>

#define NOBODY "00000000-0000-0000-0000-000000000001"

static void
test_which_uris_lead_elsewhere (void)
{
  static const char *const here[] = { "qemu:///system",
                                      "qemu:///session?socket=/s",
                                      "test:///default",
                                      "qemu+unix:///system",
                                      "qemu",
                                      "",
                                      "qemu://",
                                      "qemu://?x=y" };
  static const char *const elsewhere[] = { "qemu+ssh://host/system", "qemu://host/system",
                                           "qemu+tls://user@host:1/system",
                                           "qemu+tcp://[::1]/system" };

  for (guint i = 0; i < G_N_ELEMENTS (here); i++)
    g_assert_false (host_uri_is_remote (here[i]));
  for (guint i = 0; i < G_N_ELEMENTS (elsewhere); i++)
    g_assert_true (host_uri_is_remote (elsewhere[i]));
}

static virConnectPtr
connect_to (Host *host)
{
  g_autoptr (GError) error = NULL;
  virConnectPtr conn = host_connect (host, &error);

  g_assert_no_error (error);
  return conn;
}

static void
test_one_connection_for_all (void)
{
  g_autoptr (Host) host = host_new ("test:///default");
  virConnectPtr first = connect_to (host);
  virConnectPtr second = connect_to (host);

  g_assert_true (first == second);
  g_assert_false (host_read_only (host));
  virConnectClose (first);
  g_assert_cmpint (virConnectIsAlive (second), ==, 1); /* each has a reference of its own */
  virConnectClose (second);
}

static void
test_no_libvirt (void)
{
  static const char *const uris[] = { "test:///no/such/file.xml", "nonsense:///system" };

  for (guint i = 0; i < G_N_ELEMENTS (uris); i++) {
    g_autoptr (Host) host = host_new (uris[i]);
    g_autoptr (GError) error = NULL;
    g_assert_null (host_connect (host, &error));
    g_assert_error (error, LIBVIRT_ERROR, LIBVIRT_ERROR_UNREACHABLE);
    g_assert_nonnull (strstr (error->message, uris[i]));
    g_assert_cmpstr (host_uri (host), ==, uris[i]);
  }
}

static void
assert_error_is (virConnectPtr conn, LibvirtError code)
{
  g_autoptr (GError) error = NULL;

  g_assert_false (host_set_error (conn, &error));
  g_assert_error (error, LIBVIRT_ERROR, (int)code);
  g_assert_cmpuint (strlen (error->message), >, 0);
}

static void
test_errors (void)
{
  g_autoptr (Host) host = host_new ("test:///default");
  virConnectPtr conn = connect_to (host);
  virConnectPtr for_reading = virConnectOpenReadOnly ("test:///default");
  virDomainPtr domain = virDomainLookupByName (conn, "test");

  g_assert_null (virDomainLookupByUUIDString (conn, NOBODY));
  assert_error_is (conn, LIBVIRT_ERROR_NOT_FOUND);
  g_assert_null (virDomainDefineXML (conn, "<domain"));
  assert_error_is (conn, LIBVIRT_ERROR_USAGE);
  g_assert_null (virDomainDefineXML (for_reading, "<domain/>"));
  assert_error_is (for_reading, LIBVIRT_ERROR_REFUSED);
  g_assert_cmpint (virDomainAbortJob (domain), <, 0);
  assert_error_is (conn, LIBVIRT_ERROR_IMPOSSIBLE);
  virResetLastError();
  assert_error_is (conn, LIBVIRT_ERROR_FAILED);
  virDomainFree (domain);
  virConnectClose (for_reading);
  virConnectClose (conn);
}

/* libvirt would print each. */
static void
ignore_error (void *user_data, virErrorPtr error)
{
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  virSetErrorFunc (NULL, ignore_error);
  g_test_add_func ("/libvirt-host/elsewhere", test_which_uris_lead_elsewhere);
  g_test_add_func ("/libvirt-host/one-connection", test_one_connection_for_all);
  g_test_add_func ("/libvirt-host/no-libvirt", test_no_libvirt);
  g_test_add_func ("/libvirt-host/errors", test_errors);
  return g_test_run();
}
