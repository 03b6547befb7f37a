/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The real vmckpt-libvirt with libvirt's own driver for tests, whose host and domain exist in the
 * library alone. */
#include <vmckpt/libvirt/libvirt-link.h>
#include <vmckpt/util/json.h>

#include <string.h>

#define DOMAIN                                                                                     \
  "<domain type='test'><name>d1</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>"                \
  "<os><type>hvm</type></os></domain>"

static LibvirtLink *
open_link (const char *uri)
{
  g_autoptr (GError) error = NULL;
  LibvirtLink *link = libvirt_link_open (uri, &error);

  g_assert_no_error (error);
  return link;
}

/* With one member besides the request's name. */
static JsonObject *
ask (LibvirtLink *link, const char *request, const char *member, const char *value, GError **error)
{
  g_autoptr (JsonObject) arguments = json_object_new();

  json_object_set_string_member (arguments, member, value);
  return libvirt_link_ask (link, request, arguments, -1, 0, NULL, NULL, NULL, error);
}

static guint
count (LibvirtLink *link)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) domains = libvirt_link_list (link, NULL, &error);

  g_assert_no_error (error);
  return domains->len;
}

static void
test_list (void)
{
  g_autoptr (LibvirtLink) link = open_link ("test:///default");
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) domains = libvirt_link_list (link, NULL, &error);
  const LibvirtDomain *domain;

  g_assert_no_error (error);
  g_assert_cmpuint (domains->len, ==, 1);
  domain = g_ptr_array_index (domains, 0);
  g_assert_cmpstr (domain->name, ==, "test");
  g_assert_cmpstr (domain->state, ==, "running");
  g_assert_cmpstr (domain->type, ==, "test");
  g_assert_cmpuint (domain->memory, ==, G_GUINT64_CONSTANT (8) << 30);
  g_assert_true (domain->persistent);
  g_assert_cmpint (domain->qemu.pid, ==, 0);
  g_assert_null (domain->job);
}

static void
test_describe (void)
{
  g_autoptr (LibvirtLink) link = open_link ("test:///default");
  g_autoptr (GError) error = NULL;
  g_autoptr (LibvirtDescription) by_name = libvirt_link_describe (link, "test", NULL, &error);

  g_assert_no_error (error);
  g_assert_nonnull (strstr (by_name->xml, "<name>test</name>"));
  g_assert_nonnull (by_name->inactive_xml);
  g_autoptr (LibvirtDescription) by_uuid =
      libvirt_link_describe (link, by_name->domain->uuid, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (by_uuid->domain->name, ==, "test");
  g_assert_null (libvirt_link_describe (link, "nobody", NULL, &error));
  g_assert_error (error, LIBVIRT_ERROR, LIBVIRT_ERROR_NOT_FOUND);
}

static void
test_life (void)
{
  g_autoptr (LibvirtLink) link = open_link ("test:///default");
  g_autoptr (GError) error = NULL;

  g_autoptr (JsonObject) defined = ask (link, "define", "xml", DOMAIN, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (json_get_string_or (defined, "name", NULL), ==, "d1");
  g_assert_null (libvirt_link_describe (link, "d1", NULL, &error));
  g_assert_error (error, LIBVIRT_ERROR, LIBVIRT_ERROR_NOT_FOUND);
  g_clear_error (&error);
  g_autoptr (JsonObject) started = ask (link, "start", "domain", "d1", &error);
  g_assert_no_error (error);
  g_assert_cmpuint (count (link), ==, 2);
  g_assert_null (ask (link, "start", "domain", "d1", &error));
  g_assert_nonnull (error);
  g_clear_error (&error);
  for (const char *const *name =
           (const char *const[]){ "suspend", "resume", "destroy", "undefine", NULL };
       *name != NULL; name++) {
    g_assert_true (libvirt_link_command (link, *name, "d1", NULL, &error));
    g_assert_no_error (error);
  }
  g_assert_cmpuint (count (link), ==, 1);
  g_assert_false (libvirt_link_command (link, "undefine", "d1", NULL, &error));
  g_assert_error (error, LIBVIRT_ERROR, LIBVIRT_ERROR_NOT_FOUND);
}

static void
test_refused (void)
{
  g_autoptr (LibvirtLink) link = open_link ("test:///default");
  g_autoptr (GError) error = NULL;

  g_assert_null (ask (link, "define", "xml", "<domain><name>", &error));
  g_assert_error (error, LIBVIRT_ERROR, LIBVIRT_ERROR_USAGE);
  g_clear_error (&error);
  g_assert_null (ask (link, "fly", "domain", "test", &error));
  g_assert_error (error, LIBVIRT_ERROR, LIBVIRT_ERROR_USAGE);
  g_clear_error (&error);
  g_assert_null (ask (link, "restore", "domain", "test", &error));
  g_assert_error (error, LIBVIRT_ERROR, LIBVIRT_ERROR_USAGE);
  g_clear_error (&error);
  g_assert_null (ask (link, "describe", "name", "test", &error));
  g_assert_error (error, LIBVIRT_ERROR, LIBVIRT_ERROR_USAGE);
}

static void
test_unreachable (void)
{
  g_autoptr (LibvirtLink) link = open_link ("qemu+unix:///system?socket=/nowhere/sock");
  g_autoptr (GError) error = NULL;

  g_assert_null (libvirt_link_list (link, NULL, &error));
  g_assert_error (error, LIBVIRT_ERROR, LIBVIRT_ERROR_UNREACHABLE);
}

/* A line that is no request ends the program, which says why. */
static void
test_no_request (void)
{
  g_autoptr (LibvirtLink) link = open_link ("test:///default");
  g_autoptr (JsonObject) arguments = json_object_new();
  g_autoptr (GError) error = NULL;
  JsonNode *node = json_node_new (JSON_NODE_VALUE);

  json_node_set_int (node, -1);
  json_object_set_member (arguments, "id", node);
  g_assert_null (libvirt_link_ask (link, "list", arguments, -1, 0, NULL, NULL, NULL, &error));
  g_assert_error (error, LIBVIRT_ERROR, LIBVIRT_ERROR_LOST);
  g_assert_nonnull (strstr (error->message, "id"));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/libvirt-work/list", test_list);
  g_test_add_func ("/libvirt-work/describe", test_describe);
  g_test_add_func ("/libvirt-work/life", test_life);
  g_test_add_func ("/libvirt-work/refused", test_refused);
  g_test_add_func ("/libvirt-work/unreachable", test_unreachable);
  g_test_add_func ("/libvirt-work/no-request", test_no_request);
  return g_test_run();
}
