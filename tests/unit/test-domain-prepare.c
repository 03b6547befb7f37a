/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/drivers/domain-prepare.h>
#include <vmckpt/drivers/domain-spec.h>

#include <string.h>

#define OBJECT "/usr/lib/vmckpt/vmckpt-preload.so"

/* A description as libvirt writes it, with something at each place that is changed. */
static char *
describe (const char *attributes, const char *early, const char *backing, const char *devices,
          const char *late)
{
  return g_strdup_printf ("<domain %s>\n"
                          "  <name>g1</name>\n"
                          "  <uuid>8ae32c28-e6ac-4959-9288-ec4c98d9a8f6</uuid>\n"
                          "%s"
                          "  <memory unit=\"KiB\">196608</memory>\n"
                          "  <currentMemory unit=\"KiB\">196608</currentMemory>\n"
                          "%s"
                          "  <vcpu>1</vcpu>\n"
                          "  <os>\n"
                          "    <type arch=\"x86_64\" machine=\"pc-q35-7.2\">hvm</type>\n"
                          "  </os>\n"
                          "  <devices>\n"
                          "%s"
                          "    <emulator>/usr/bin/qemu-system-x86_64</emulator>\n"
                          "  </devices>\n"
                          "%s"
                          "</domain>\n",
                          attributes, early, backing, devices, late);
}

#define PLAIN "type=\"kvm\""
#define WITH_QEMU "xmlns:qemu=\"http://libvirt.org/schemas/domain/qemu/1.0\" type=\"kvm\""
#define OTHER_METADATA                                                                             \
  "  <metadata>\n"                                                                                 \
  "    <a:b xmlns:a=\"http://example.org/a\"/>\n"                                                  \
  "  </metadata>\n"
#define MEMFD                                                                                      \
  "  <memoryBacking>\n"                                                                            \
  "    <source type=\"memfd\"/>\n"                                                                 \
  "    <access mode=\"shared\"/>\n"                                                                \
  "    <locked/>\n"                                                                                \
  "  </memoryBacking>\n"
#define OTHER_ARGUMENT                                                                             \
  "  <qemu:commandline>\n"                                                                         \
  "    <qemu:arg value=\"-name\"/>\n"                                                              \
  "    <qemu:env name=\"A\" value=\"b\"/>\n"                                                       \
  "  </qemu:commandline>\n"

static xmlDoc *
parse (const char *xml)
{
  g_autoptr (GError) error = NULL;
  xmlDoc *doc = domain_xml_parse (xml, strlen (xml), &error);

  g_assert_no_error (error);
  return doc;
}

/* ---- Domains that can be ---- */

typedef struct {
  const char *name, *attributes, *early, *backing, *late;
} Fixture;

static const Fixture fixtures[] = {
  { "plain", PLAIN, "", "", "" },
  { "other-metadata", PLAIN, OTHER_METADATA, "", "" },
  { "memfd", PLAIN, "", MEMFD, "" },
  { "other-arguments", WITH_QEMU, "", "", OTHER_ARGUMENT },
  { "everything", WITH_QEMU, OTHER_METADATA, MEMFD, OTHER_ARGUMENT },
};

/* Followed afterwards; the same if done twice; and back to the same text. */
static void
test_there_and_back (gconstpointer data)
{
  const Fixture *fixture = data;
  g_autofree char *xml =
      describe (fixture->attributes, fixture->early, fixture->backing, "", fixture->late);
  g_autoptr (xmlDoc) doc = parse (xml);
  g_autoptr (GError) error = NULL;

  g_assert_false (domain_has_preparation (doc));
  domain_prepare (doc, OBJECT, &error);
  g_assert_no_error (error);
  g_assert_true (domain_has_preparation (doc));
  g_assert_true (domain_is_prepared (domain_xml_root (doc)));
  g_autofree char *once = domain_xml_to_text (doc);

  domain_prepare (doc, OBJECT, &error);
  g_assert_no_error (error);
  g_autofree char *twice = domain_xml_to_text (doc);
  g_assert_cmpstr (once, ==, twice);

  /* libvirt keeps it as a text; what is read back is what was made. */
  g_autoptr (xmlDoc) again = parse (once);
  domain_unprepare (again, &error);
  g_assert_no_error (error);
  g_assert_false (domain_has_preparation (again));
  g_autofree char *back = domain_xml_to_text (again);
  g_assert_cmpstr (back, ==, xml);
  domain_unprepare (again, &error);
  g_assert_no_error (error);
  g_autofree char *back_twice = domain_xml_to_text (again);
  g_assert_cmpstr (back_twice, ==, xml);
}

static void
test_text (void)
{
  g_autofree char *xml = describe (PLAIN, "", "", "", "");
  g_autofree char *wanted =
      describe (WITH_QEMU,
                "  <metadata>\n"
                "    <vmckpt:prepared xmlns:vmckpt=\"urn:vmckpt:prepared:1\"/>\n"
                "  </metadata>\n",
                "  <memoryBacking>\n"
                "    <source type=\"file\"/>\n"
                "    <access mode=\"shared\"/>\n"
                "  </memoryBacking>\n",
                "",
                "  <qemu:commandline>\n"
                "    <qemu:env name=\"LD_PRELOAD\" value=\"" OBJECT "\"/>\n"
                "    <qemu:env name=\"VMCKPT_RAM_FILE\" value=\"pc.ram\"/>\n"
                "  </qemu:commandline>\n");
  g_autoptr (xmlDoc) doc = parse (xml);

  g_assert_true (domain_prepare (doc, OBJECT, NULL));
  g_autofree char *text = domain_xml_to_text (doc);
  g_assert_cmpstr (text, ==, wanted);
}

/* The object is elsewhere since an upgrade. */
static void
test_moved_object (void)
{
  g_autofree char *xml = describe (PLAIN, "", MEMFD, "", "");
  g_autoptr (xmlDoc) doc = parse (xml);
  g_autoptr (GError) error = NULL;

  g_assert_true (domain_prepare (doc, "/old/vmckpt-preload.so", NULL));
  domain_prepare (doc, OBJECT, &error);
  g_assert_no_error (error);
  g_autofree char *text = domain_xml_to_text (doc);
  g_assert_nonnull (strstr (text, "value=\"" OBJECT "\""));
  g_assert_null (strstr (text, "/old/"));
  g_assert_true (domain_unprepare (doc, NULL));
  g_autofree char *back = domain_xml_to_text (doc);
  g_assert_cmpstr (back, ==, xml);
}

/* What somebody else changed is not guessed about. */
static void
test_changed_since (void)
{
  g_autofree char *xml = describe (PLAIN, "", "", "", "");
  g_autoptr (xmlDoc) doc = parse (xml);
  g_autoptr (GError) error = NULL;

  g_assert_true (domain_prepare (doc, OBJECT, NULL));
  xmlSetProp (domain_xml_find (domain_xml_root (doc), "memoryBacking/source"),
              (const xmlChar *)"type", (const xmlChar *)"memfd");
  g_autofree char *before = domain_xml_to_text (doc);
  g_assert_false (domain_unprepare (doc, &error));
  g_assert_error (error, DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE);
  g_autofree char *after = domain_xml_to_text (doc);
  g_assert_cmpstr (before, ==, after);
}

/* ---- Domains that cannot be ---- */

typedef struct {
  const char *name, *attributes, *backing, *devices, *late, *says;
} Refusal;

static const Refusal refusals[] = {
  { "huge-pages", PLAIN, "  <memoryBacking><hugepages/></memoryBacking>\n", "", "", "huge pages" },
  { "file", PLAIN, "  <memoryBacking><source type=\"file\"/></memoryBacking>\n", "", "",
    "already" },
  { "cells", PLAIN, "  <cpu><numa><cell id=\"0\" memory=\"1\"/></numa></cpu>\n", "", "", "NUMA" },
  { "room", PLAIN, "  <maxMemory slots=\"2\">1</maxMemory>\n", "", "", "memory devices" },
  { "device", PLAIN, "", "    <memory model=\"nvdimm\"/>\n", "", "memory devices" },
  { "sev", PLAIN, "  <launchSecurity type=\"sev\"/>\n", "", "", "encrypted" },
  { "xen", "type=\"xen\"", "", "", "", "type xen" },
  { "arguments", WITH_QEMU, "", "",
    "  <qemu:commandline><qemu:arg value=\"-mem-path\"/></qemu:commandline>\n", "-mem-path" },
  { "other-object", WITH_QEMU, "", "",
    "  <qemu:commandline><qemu:env name=\"LD_PRELOAD\" value=\"/o.so\"/></qemu:commandline>\n",
    "/o.so" },
};

static void
test_refused (gconstpointer data)
{
  const Refusal *refusal = data;
  g_autofree char *xml =
      describe (refusal->attributes, "", refusal->backing, refusal->devices, refusal->late);
  g_autoptr (xmlDoc) doc = parse (xml);
  g_autoptr (GError) error = NULL;

  g_assert_false (domain_prepare (doc, OBJECT, &error));
  g_assert_error (error, DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE);
  g_assert_nonnull (strstr (error->message, refusal->says));
  g_assert_nonnull (strstr (error->message, "g1"));
  g_autofree char *text = domain_xml_to_text (doc);
  g_assert_cmpstr (text, ==, xml);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/domain-prepare/text", test_text);
  for (guint i = 0; i < G_N_ELEMENTS (fixtures); i++) {
    g_autofree char *there = g_strconcat ("/domain-prepare/", fixtures[i].name, NULL);
    g_test_add_data_func (there, &fixtures[i], test_there_and_back);
  }
  for (guint i = 0; i < G_N_ELEMENTS (refusals); i++) {
    g_autofree char *path = g_strconcat ("/domain-prepare/refused/", refusals[i].name, NULL);
    g_test_add_data_func (path, &refusals[i], test_refused);
  }
  g_test_add_func ("/domain-prepare/moved-object", test_moved_object);
  g_test_add_func ("/domain-prepare/changed-since", test_changed_since);
  return g_test_run();
}
