/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/drivers/domain-doctor.h>

#include <vmckpt/drivers/domain-prepare.h>
#include <vmckpt/drivers/domain-spec.h>
#include <vmckpt/util/json.h>

#include "disk.h"

#include <string.h>

typedef struct {
  xmlNode *domain;
  const DomainCircumstances *known;
  char *name; /* of the domain, for what is to be done */
  JsonArray *contents;
  JsonArray *findings;
  gboolean blocked;
} Doctor;

/* ---- What is told ---- */

#define BLOCKS "blocks"
#define DEGRADES "degrades"
#define NOTE "note"

static void
find (Doctor *doctor, const char *check, const char *level, const char *found, const char *mend)
{
  JsonObject *object = json_object_new();

  doctor->blocked = doctor->blocked || g_str_equal (level, BLOCKS);
  json_object_set_string_member (object, "check", check);
  json_object_set_string_member (object, "level", level);
  json_object_set_string_member (object, "found", found);
  json_set_string_or_null (object, "mend", mend);
  json_array_add_object_element (doctor->findings, object);
}

/* @bytes: 0: not known. */
static void
contain (Doctor *doctor, const char *part, const char *name, guint64 bytes, gboolean kept,
         const char *how)
{
  JsonObject *object = json_object_new();

  json_object_set_string_member (object, "part", part);
  json_object_set_string_member (object, "name", name);
  if (bytes > 0)
    json_object_set_int_member (object, "bytes", (gint64)bytes);
  else
    json_object_set_null_member (object, "bytes");
  json_object_set_boolean_member (object, "kept", kept);
  json_object_set_string_member (object, "how", how);
  json_array_add_object_element (doctor->contents, object);
}

static gboolean
is_older (const Doctor *doctor, guint major)
{
  return doctor->known->qemu_major != 0 && doctor->known->qemu_major < major;
}

/* ---- Memory ---- */

/* Returns "yes", "next-start" or "no". @inactive: (nullable). */
static const char *
find_preparation (Doctor *doctor, xmlNode *inactive)
{
  if (domain_is_prepared (doctor->domain))
    return doctor->known->running ? "yes" : "next-start";
  return inactive != NULL && domain_is_prepared (inactive) ? "next-start" : "no";
}

/* That it is not prepared, and what can be done about that. */
static void
check_unprepared (Doctor *doctor)
{
  g_autofree char *mend =
      g_strdup_printf ("'vmckpt prepare %s' shows what to change for its next start", doctor->name);
  g_autoptr (xmlDoc) copy = xmlCopyDoc (doctor->domain->doc, 1);
  g_autoptr (GError) error = NULL;

  if (domain_prepare (copy, "/", &error))
    find (doctor, "tracking", DEGRADES,
          "its memory cannot be followed: each checkpoint reads all of it", mend);
  else
    find (doctor, "tracking", DEGRADES, error->message, NULL);
}

static void
check_memory (Doctor *doctor, const char *prepared)
{
  const DomainCircumstances *known = doctor->known;

  if (g_str_equal (prepared, "no"))
    check_unprepared (doctor);
  else if (g_str_equal (prepared, "next-start"))
    find (doctor, "tracking", NOTE, "it is prepared: its memory is followed from its next start on",
          NULL);
  else if (known->untracked != NULL)
    find (doctor, "tracking", DEGRADES, known->untracked, NULL);
  if (known->no_userfaultfd != NULL)
    find (
        doctor, "userfaultfd", DEGRADES, known->no_userfaultfd,
        "let its QEMU run as root (<seclabel type='static' model='dac' relabel='no'><label>+0:+0"
        "</label></seclabel>), or set the sysctl vm.unprivileged_userfaultfd=1; else a checkpoint "
        "stops the domain");
  if (domain_xml_find (doctor->domain, "devices/memory") != NULL)
    find (doctor, "memory-devices", NOTE, "its memory devices are read whole in every checkpoint",
          NULL);
}

/* ---- Disks ---- */

static void
check_disk (Doctor *doctor, GuestDisk *disk)
{
  static const char *const how[] = {
    [DISK_CAPTURE] = "its content at the instant",
    [DISK_SHARED] = "shared with others: only that it is there, and whether it has changed",
    [DISK_READONLY] = "read-only: only that it is there, with its size",
    [DISK_EXCLUDE] = "transient: what is written to it is not kept",
  };
  const char *part = g_str_equal (disk->name, DISK_NAME_NVRAM) ? "nvram" : "disk";
  g_autoptr (GError) error = NULL;

  if (disk->path != NULL && !disk_measure (disk, &error)) {
    g_autofree char *found = g_strdup_printf ("disk %s: %s", disk->name, error->message);
    find (doctor, "disk", disk->mode == DISK_CAPTURE ? BLOCKS : DEGRADES, found, NULL);
  }
  contain (doctor, part, disk->name, disk->virtual_size != 0 ? disk->virtual_size : disk->size,
           disk->mode == DISK_CAPTURE, disk->path == NULL ? "an empty drive" : how[disk->mode]);
  if (disk->bus == DISK_BUS_NVME)
    find (doctor, "nvme", BLOCKS, "it has an NVMe disk, a device that QEMU does not save", NULL);
}

/* As at the instant itself (disk-point.h), where QEMU is asked whether it has any. */
static void
check_iothreads (Doctor *doctor, const GuestSpec *spec)
{
  g_autofree char *count = domain_xml_text (doctor->domain, "iothreads");
  gboolean captured = FALSE;

  for (guint i = 0; i < spec->disks->len; i++)
    captured |= ((GuestDisk *)g_ptr_array_index (spec->disks, i))->mode == DISK_CAPTURE;
  if (!captured || count == NULL || g_str_equal (count, "0") || !is_older (doctor, 9))
    return;
  g_autofree char *found = g_strdup_printf (
      "it has iothreads, and QEMU %u.%u can die when a disk of such a domain is held",
      doctor->known->qemu_major, doctor->known->qemu_minor);
  find (doctor, "iothread", BLOCKS, found, "QEMU 9.0 or newer, or no <iothreads>");
}

/* ---- Devices ---- */

/* An element below <devices> whose @attribute (of the element at @path in it) is @value. */
static gboolean
has_device (xmlNode *domain, const char *name, const char *path, const char *attribute,
            const char *value)
{
  g_autofree char *place = g_strconcat ("devices/", name, NULL);
  xmlNode *node = domain_xml_find (domain, place);

  for (; node != NULL; node = domain_xml_next (node))
    if (domain_xml_attribute_is (node, path, attribute, value))
      return TRUE;
  return FALSE;
}

static const struct {
  const char *name, *path, *attribute, *value;
  const char *check, *level, *found, *mend;
} devices[] = {
  { "hostdev", "", "type", "pci", "vfio", BLOCKS,
    "a PCI device of the host is passed to it, whose state nobody can save and which writes to its "
    "memory past QEMU (VFIO)",
    "detach it for the checkpoint ('virsh detach-device')" },
  { "hostdev", "", "type", "mdev", "vfio", BLOCKS,
    "a mediated device of the host is passed to it (VFIO), whose state is not saved", NULL },
  { "interface", "", "type", "hostdev", "vfio", BLOCKS,
    "a network card of the host is passed to it (VFIO)",
    "detach it for the checkpoint ('virsh detach-interface')" },
  { "hostdev", "", "type", "usb", "usb", DEGRADES,
    "a USB device of the host is passed to it; after a restore it is as if plugged in anew", NULL },
  { "hostdev", "", "type", "scsi", "scsi-generic", DEGRADES,
    "a SCSI device of the host is passed to it: its content is in no checkpoint", NULL },
  { "disk", "", "type", "nvme", "nvme", BLOCKS,
    "it has an NVMe controller of the host, driven by QEMU itself", NULL },
  { "disk", "", "type", "vhostuser", "vhost-user", BLOCKS,
    "a disk of it is another process's (vhost-user-blk): its content can be in no checkpoint",
    NULL },
  { "interface", "", "type", "vhostuser", "vhost-user", DEGRADES,
    "a network card is another process's (vhost-user), whose writes are not followed: the domain "
    "is "
    "stopped and read whole",
    NULL },
  { "interface", "", "type", "vdpa", "vdpa", DEGRADES,
    "a network card is vDPA's, whose writes are not followed: the domain is stopped and read whole",
    NULL },
  { "filesystem", "driver", "type", "virtiofs", "virtiofs", BLOCKS,
    "it has a virtiofs file system, a device that QEMU does not save without its daemon's help",
    "unplug it for the checkpoint ('virsh detach-device')" },
  { "filesystem", "", "type", "mount", "9p", DEGRADES,
    "it has a file system of the host (9p or virtiofs): refused while the guest has it mounted",
    "unmount it in the guest" },
  { "tpm", "backend", "type", "passthrough", "tpm", BLOCKS,
    "it has the TPM of the host, whose state cannot be saved", NULL },
  { "video", "model/acceleration", "accel3d", "yes", "video", BLOCKS,
    "its display has 3D acceleration (virgl), which QEMU does not save", "accel3d='no'" },
};

const char *
domain_doctor_foreign_writer (const char *xml)
{
  static const char *const writers[] = { "vfio", "vhost-user", "vdpa", "virtiofs", "nvme", NULL };
  g_autoptr (xmlDoc) doc = domain_xml_parse (xml, strlen (xml), NULL);

  for (guint i = 0; doc != NULL && i < G_N_ELEMENTS (devices); i++)
    if (g_strv_contains (writers, devices[i].check) &&
        has_device (domain_xml_root (doc), devices[i].name, devices[i].path, devices[i].attribute,
                    devices[i].value))
      return devices[i].found;
  return NULL;
}

static void
check_devices (Doctor *doctor)
{
  for (guint i = 0; i < G_N_ELEMENTS (devices); i++)
    if (has_device (doctor->domain, devices[i].name, devices[i].path, devices[i].attribute,
                    devices[i].value))
      find (doctor, devices[i].check, devices[i].level, devices[i].found, devices[i].mend);
  if (has_device (doctor->domain, "tpm", "backend", "type", "emulator"))
    contain (doctor, "tpm", "tpm", 0, TRUE, "its state, with the devices");
  contain (doctor, "devices", "devices", 0, TRUE, "the state of the CPUs and of all its devices");
  if (domain_xml_find (doctor->domain, "launchSecurity") != NULL)
    find (doctor, "launch-security", BLOCKS,
          "its memory is encrypted by the processor (<launchSecurity>)", NULL);
}

/* ---- The processor, and QEMU ---- */

static gboolean
requires_feature (const Doctor *doctor, const char *name)
{
  xmlNode *feature = domain_xml_find (doctor->domain, "cpu/feature");

  for (; feature != NULL; feature = domain_xml_next (feature))
    if (domain_xml_attribute_is (feature, "", "name", name) &&
        domain_xml_attribute_is (feature, "", "policy", "require"))
      return TRUE;
  return FALSE;
}

static void
check_cpu (Doctor *doctor)
{
  g_autofree char *mode = domain_xml_attribute (doctor->domain, "cpu", "mode");

  if (g_strcmp0 (mode, "host-passthrough") == 0 || g_strcmp0 (mode, "host-model") == 0 ||
      g_strcmp0 (mode, "maximum") == 0) {
    g_autofree char *found = g_strdup_printf (
        "its CPU is what this host has (mode='%s'): a checkpoint of it restores here, and on hosts "
        "that have all of that",
        mode);
    find (doctor, "cpu", DEGRADES, found,
          "a named model that all hosts have (mode='custom', 'virsh hypervisor-cpu-baseline')");
  }
  if (requires_feature (doctor, "invtsc"))
    find (doctor, "invtsc", BLOCKS,
          "its CPU has the feature invtsc, with which QEMU saves nothing unless the frequency is "
          "given",
          "take the feature away");
}

static void
check_qemu (Doctor *doctor)
{
  const DomainCircumstances *known = doctor->known;
  gboolean emulated = domain_xml_attribute_is (doctor->domain, "", "type", "qemu");
  g_autofree char *version = g_strdup_printf ("QEMU %u.%u", known->qemu_major, known->qemu_minor);

  if (known->qemu_major == 0)
    find (doctor, "qemu", NOTE, "which version its QEMU has could not be found out", NULL);
  if (is_older (doctor, 6)) {
    g_autofree char *found = g_strconcat (version, " takes no background snapshots", NULL);
    find (doctor, "qemu", DEGRADES, found, "QEMU 6.0 or newer; else a checkpoint stops the domain");
  }
  if (emulated && is_older (doctor, 9)) {
    g_autofree char *found =
        g_strconcat (version,
                     " without KVM loses writes of the guest in live migration, which is "
                     "refused (checkpoints are not affected)",
                     NULL);
    find (doctor, "live-migration", DEGRADES, found,
          "QEMU 9.0 or newer, or 'vmckpt migrate --via-store'");
  }
}

static void
check_agent (Doctor *doctor, const GuestSpec *spec)
{
  if (!spec->agent)
    find (
        doctor, "agent", NOTE,
        "it has no port for a guest agent: 'checkpoint --quiesce' is not possible",
        "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>, and "
        "qemu-guest-agent in the guest");
  if (spec->serial_log == NULL) {
    g_autofree char *found = domain_spec_no_log (spec);
    find (doctor, "log", NOTE, found, NULL);
  }
}

/* ---- All of it ---- */

static JsonObject *
conclude (Doctor *doctor, const char *prepared)
{
  JsonObject *result = json_object_new();
  g_autofree char *uuid = domain_xml_text (doctor->domain, "uuid");
  gboolean tracked = g_str_equal (prepared, "yes") && doctor->known->untracked == NULL;

  json_object_set_string_member (result, "domain", doctor->name);
  json_set_string_or_null (result, "uuid", uuid);
  json_object_set_boolean_member (result, "running", doctor->known->running);
  json_object_set_string_member (result, "prepared", prepared);
  json_object_set_string_member (result, "engine",
                                 doctor->blocked ? "none"
                                 : tracked       ? "tracked"
                                                 : "stream");
  json_object_set_boolean_member (result, "possible", !doctor->blocked);
  json_object_set_array_member (result, "contents", json_array_ref (doctor->contents));
  json_object_set_array_member (result, "findings", json_array_ref (doctor->findings));
  return result;
}

static void
examine (Doctor *doctor, const char *xml, const char *prepared)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GuestSpec) spec = domain_spec_from_xml (xml, strlen (xml), NULL, &error);

  if (spec != NULL)
    contain (doctor, "memory", "pc.ram", spec->ram_bytes, TRUE,
             g_str_equal (prepared, "yes") && doctor->known->untracked == NULL
                 ? "after the first checkpoint only what was written"
                 : "read whole each time; only what has changed is stored");
  check_memory (doctor, prepared);
  check_devices (doctor);
  check_cpu (doctor);
  check_qemu (doctor);
  if (spec == NULL) {
    find (doctor, "description", BLOCKS, error->message, NULL);
    return;
  }
  for (guint i = 0; i < spec->disks->len; i++)
    check_disk (doctor, g_ptr_array_index (spec->disks, i));
  check_iothreads (doctor, spec);
  check_agent (doctor, spec);
}

JsonObject *
domain_doctor (const char *xml, const char *inactive, const DomainCircumstances *circumstances,
               GError **error)
{
  g_autoptr (xmlDoc) doc = domain_xml_parse (xml, strlen (xml), error);
  g_autoptr (xmlDoc) next = doc != NULL && inactive != NULL
                                ? domain_xml_parse (inactive, strlen (inactive), error)
                                : NULL;
  g_autoptr (JsonArray) contents = json_array_new();
  g_autoptr (JsonArray) findings = json_array_new();

  if (doc == NULL || (inactive != NULL && next == NULL))
    return NULL;
  Doctor doctor = { .domain = domain_xml_root (doc),
                    .known = circumstances,
                    .contents = contents,
                    .findings = findings };
  g_autofree char *name = doctor.name = domain_xml_text (doctor.domain, "name");
  if (name == NULL)
    name = doctor.name = g_strdup ("?");
  const char *prepared = find_preparation (&doctor, next != NULL ? domain_xml_root (next) : NULL);
  examine (&doctor, xml, prepared);
  return conclude (&doctor, prepared);
}

/* ---- The user ---- */

/* The user of a label as "+0:+0", "64055:103"; names are the other host's business. */
static gboolean
read_label (const char *label, guint *uid)
{
  guint64 number;
  char *end;

  if (label == NULL)
    return FALSE;
  label += *label == '+';
  number = g_ascii_strtoull (label, &end, 10);
  if (end == label || (*end != ':' && *end != '\0') || number > G_MAXUINT32 - 1)
    return FALSE;
  *uid = (guint)number;
  return TRUE;
}

/* <secmodel><model>dac</model>…<baselabel type='kvm'>+64055:+103</baselabel> */
static gboolean
read_default_label (const char *capabilities, guint *uid)
{
  g_autoptr (GRegex) regex = g_regex_new (
      "<model>dac</model>(?:(?!</secmodel>).)*<baselabel[^>]*>([^<]*)<", G_REGEX_DOTALL, 0, NULL);
  g_autoptr (GMatchInfo) match = NULL;
  g_autofree char *label = NULL;

  if (!g_regex_match (regex, capabilities, 0, &match))
    return FALSE;
  label = g_match_info_fetch (match, 1);
  return read_label (label, uid);
}

gboolean
domain_doctor_user (const char *xml, const char *capabilities, guint *uid)
{
  g_autoptr (xmlDoc) doc = domain_xml_parse (xml, strlen (xml), NULL);
  xmlNode *label = doc != NULL ? domain_xml_find (domain_xml_root (doc), "seclabel") : NULL;

  for (; label != NULL; label = domain_xml_next (label)) {
    g_autofree char *text = domain_xml_text (label, "label");
    if (domain_xml_attribute_is (label, "", "model", "dac") && read_label (text, uid))
      return TRUE;
  }
  return capabilities != NULL && read_default_label (capabilities, uid);
}
