/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/drivers/domain-spec.h>

#include <vmckpt/util/error.h>
#include <vmckpt/util/name.h>

#include <string.h>

#define AGENT_PORT "org.qemu.guest_agent.0"
#define PRELOAD_OBJECT "vmckpt-preload.so"

/* QEMU's names of the drives that are the machine's flash memory, on every machine that has it. */
#define FLASH_CODE "/machine/system.flash0"
#define FLASH_VARS "/machine/system.flash1"

static gboolean
invalid (GError **error, const char *problem)
{
  g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_INVALID, "the domain's description %s", problem);
  return FALSE;
}

static gboolean G_GNUC_PRINTF (2, 3) impossible (GError **error, const char *format, ...)
{
  va_list args;

  va_start (args, format);
  if (error != NULL)
    *error = g_error_new_valist (DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE, format, args);
  va_end (args);
  return FALSE;
}

/* Takes @text (nullable) over if it is bounded. */
static gboolean
take_text (char **member, char *text, GError **error)
{
  if (text == NULL)
    return TRUE;
  g_free (*member);
  *member = text;
  return strlen (text) <= GUEST_TEXT_MAX || invalid (error, "has a text that is too long");
}

/* ---- Sizes ---- */

/* A factor of libvirt's scaled integers; KiB where it does not say. 0: not known. */
static guint64
unit_bytes (const char *unit)
{
  static const struct {
    const char *name;
    guint64 bytes;
  } units[] = {
    { "b", 1 },
    { "bytes", 1 },
    { "k", 1 << 10 },
    { "KiB", 1 << 10 },
    { "KB", 1000 },
    { "M", 1 << 20 },
    { "MiB", 1 << 20 },
    { "MB", 1000000 },
    { "G", 1 << 30 },
    { "GiB", 1 << 30 },
    { "GB", 1000000000 },
    { "T", G_GUINT64_CONSTANT (1) << 40 },
    { "TiB", G_GUINT64_CONSTANT (1) << 40 },
    { "TB", G_GUINT64_CONSTANT (1000000000000) },
  };

  for (guint i = 0; unit != NULL && i < G_N_ELEMENTS (units); i++)
    if (g_str_equal (units[i].name, unit))
      return units[i].bytes;
  return unit == NULL ? 1 << 10 : 0;
}

/* The number in the element at @path; FALSE if there is none, or none of these bounds. */
static gboolean
read_number (xmlNode *node, const char *path, guint64 min, guint64 max, guint64 *value)
{
  g_autofree char *text = domain_xml_text (node, path);

  return text != NULL && g_ascii_string_to_unsigned (text, 10, min, max, value, NULL);
}

static gboolean
take_sizes (xmlNode *domain, GuestSpec *spec, GError **error)
{
  g_autofree char *unit = domain_xml_attribute (domain, "memory", "unit");
  g_autofree char *current = domain_xml_attribute (domain, "vcpu", "current");
  guint64 scale = unit_bytes (unit), count, cpus;

  if (scale == 0 || !read_number (domain, "memory", 1, GUEST_RAM_MAX / scale, &count))
    return invalid (error, "has no size of memory up to 8 TiB");
  if (!read_number (domain, "vcpu", 1, GUEST_CPUS_MAX, &cpus) ||
      (current != NULL &&
       !g_ascii_string_to_unsigned (current, 10, 1, GUEST_CPUS_MAX, &cpus, NULL)))
    return invalid (error, "has no number of CPUs up to 255");
  spec->ram_bytes = count * scale;
  spec->cpus = cpus;
  if (spec->ram_bytes >= GUEST_RAM_MIN && spec->ram_bytes % (1 << 20) == 0)
    return TRUE;
  return impossible (error,
                     "the domain has %" G_GUINT64_FORMAT
                     " bytes of memory, which are no multiple of 1 MiB from 16 MiB on",
                     spec->ram_bytes);
}

/* ---- Disks ---- */

/* What a <source> or <backingStore> of @type holds its bytes in. FALSE with @error: nothing that is
 * known here. @path: (out) (nullable): NULL: nothing. */
static gboolean
read_nbd (xmlNode *source, char **path, const char *target, GError **error)
{
  g_autofree char *protocol = domain_xml_attribute (source, "", "protocol");
  g_autofree char *name = domain_xml_attribute (source, "", "name");
  g_autofree char *transport = domain_xml_attribute (source, "host", "transport");
  g_autofree char *host = domain_xml_attribute (source, "host", "name");
  g_autofree char *port = domain_xml_attribute (source, "host", "port");
  g_autofree char *socket = domain_xml_attribute (source, "host", "socket");

  if (g_strcmp0 (protocol, "nbd") != 0)
    return impossible (error,
                       "disk %s is reached by %s, whose content vmckpt does not capture: only "
                       "files, block devices and NBD",
                       target, protocol != NULL ? protocol : "something unknown");
  g_autofree char *export_name =
      g_uri_escape_string (name != NULL ? name : "", G_URI_RESERVED_CHARS_ALLOWED_IN_PATH, FALSE);
  if (g_strcmp0 (transport, "unix") == 0 && socket != NULL)
    *path = g_strdup_printf ("nbd+unix:///%s?socket=%s", export_name, socket);
  else if (host != NULL)
    *path = g_strdup_printf ("nbd://%s%s%s/%s", host, port != NULL ? ":" : "",
                             port != NULL ? port : "", export_name);
  return *path != NULL || impossible (error, "disk %s has an NBD server of no address", target);
}

static gboolean
read_source (xmlNode *source, const char *type, const char *target, char **path,
             DiskStorage *storage, GError **error)
{
  *path = NULL;
  *storage = DISK_STORAGE_FILE;
  if (source == NULL)
    return TRUE;
  if (g_strcmp0 (type, "file") == 0) {
    *path = domain_xml_attribute (source, "", "file");
  } else if (g_strcmp0 (type, "block") == 0) {
    *path = domain_xml_attribute (source, "", "dev");
    *storage = DISK_STORAGE_BLOCK;
  } else if (g_strcmp0 (type, "network") == 0) {
    *storage = DISK_STORAGE_NBD;
    return read_nbd (source, path, target, error);
  } else {
    return impossible (error, "disk %s is of type '%s', whose content vmckpt does not capture",
                       target, type != NULL ? type : "");
  }
  if (*path == NULL || (g_path_is_absolute (*path) && strlen (*path) <= GUEST_TEXT_MAX))
    return TRUE;
  return impossible (error, "disk %s has a path that is not absolute", target);
}

static gboolean
check_format (const char *format, const char *target, GError **error)
{
  if (g_strcmp0 (format, "raw") == 0 || g_strcmp0 (format, "qcow2") == 0)
    return TRUE;
  return impossible (error,
                     "disk %s has an image of format %s: QEMU saves guests with images of raw and "
                     "qcow2 only; qemu-img convert makes one of it",
                     target, format != NULL ? format : "(none)");
}

/* What is behind, nearest first. */
static gboolean
take_backing (xmlNode *element, GuestDisk *disk, GError **error)
{
  xmlNode *store = domain_xml_find (element, "backingStore");

  for (; store != NULL; store = domain_xml_find (store, "backingStore")) {
    g_autofree char *type = domain_xml_attribute (store, "", "type");
    g_autofree char *format = domain_xml_attribute (store, "format", "type");
    g_autofree char *path = NULL;
    DiskStorage storage;

    if (type == NULL)
      return TRUE; /* an empty element is the end */
    if (disk->backing->len == GUEST_DISK_LAYERS_MAX)
      return impossible (error, "disk %s has more than %u images behind it", disk->name,
                         GUEST_DISK_LAYERS_MAX);
    if (!read_source (domain_xml_find (store, "source"), type, disk->name, &path, &storage,
                      error) ||
        !check_format (format, disk->name, error))
      return FALSE;
    if (path != NULL)
      g_ptr_array_add (disk->backing, disk_layer_new (path, format, storage));
  }
  return TRUE;
}

/* How it would be built by us; a bus that we do not build counts as the machine's own. */
static DiskBus
read_bus (xmlNode *element)
{
  if (domain_xml_attribute_is (element, "target", "bus", "virtio"))
    return DISK_BUS_VIRTIO;
  if (domain_xml_attribute_is (element, "target", "bus", "scsi"))
    return DISK_BUS_SCSI;
  return DISK_BUS_IDE;
}

static DiskMode
read_mode (xmlNode *element)
{
  if (domain_xml_find (element, "readonly") != NULL)
    return DISK_READONLY;
  if (domain_xml_find (element, "shareable") != NULL)
    return DISK_SHARED;
  return domain_xml_find (element, "transient") != NULL ? DISK_EXCLUDE : DISK_CAPTURE;
}

/* Names become parts of a checkpoint and NBD exports. */
static gboolean
check_target (const char *target, GError **error)
{
  gboolean ok =
      target != NULL && g_ascii_isalpha (*target) && strlen (target) <= GUEST_DISK_NAME_MAX;

  for (const char *c = target; ok && *c != 0; c++)
    ok = g_ascii_isalnum (*c);
  return ok || invalid (error, "has a disk without a target such as vda");
}

static GuestDisk *
disk_from_element (xmlNode *element, GError **error)
{
  g_autoptr (GuestDisk) disk = guest_disk_new (NULL);
  g_autofree char *kind = domain_xml_attribute (element, "", "device");
  g_autofree char *type = domain_xml_attribute (element, "", "type");

  disk->name = domain_xml_attribute (element, "target", "dev");
  if (!check_target (disk->name, error) ||
      !take_text (&disk->device, domain_xml_attribute (element, "alias", "name"), error))
    return NULL;
  if (g_strcmp0 (kind, "lun") == 0) {
    impossible (error,
                "disk %s is a SCSI device that is passed through: its content cannot be "
                "captured",
                disk->name);
    return NULL;
  }
  if (g_strcmp0 (kind, "cdrom") == 0 || g_strcmp0 (kind, "floppy") == 0)
    disk->media = DISK_MEDIA_CDROM;
  disk->mode = disk->media == DISK_MEDIA_CDROM ? DISK_READONLY : read_mode (element);
  disk->bus = read_bus (element);
  if (!read_source (domain_xml_find (element, "source"), type, disk->name, &disk->path,
                    &disk->storage, error))
    return NULL;
  if (disk->path == NULL && disk->media == DISK_MEDIA_DISK) {
    invalid (error, "has a disk without a source");
    return NULL;
  }
  if (disk->media == DISK_MEDIA_CDROM && disk->bus == DISK_BUS_VIRTIO)
    disk->bus = DISK_BUS_IDE;
  disk->format = domain_xml_attribute (element, "driver", "type");
  if (disk->format == NULL)
    disk->format = g_strdup ("raw");
  if (!check_format (disk->format, disk->name, error) || !take_backing (element, disk, error))
    return NULL;
  return g_steal_pointer (&disk);
}

/* Firmware (type pflash) and its variables. */
static gboolean
take_flash (xmlNode *domain, const char *path, const char *name, DiskMode mode, const char *device,
            GuestSpec *spec, GError **error)
{
  g_autofree char *file = domain_xml_text (domain, path);
  g_autofree char *format = domain_xml_attribute (domain, path, "format");

  if (file == NULL || *file == 0)
    return TRUE;
  if (!g_path_is_absolute (file) || strlen (file) > GUEST_TEXT_MAX)
    return impossible (error, "the domain's %s has no path", name);
  GuestDisk *disk = guest_disk_new (file);
  g_ptr_array_add (spec->disks, disk);
  disk->name = g_strdup (name);
  disk->device = g_strdup (device);
  disk->bus = DISK_BUS_PFLASH;
  disk->mode = mode;
  disk->format = g_strdup (format != NULL ? format : "raw");
  return check_format (disk->format, name, error);
}

/* @lenient: without those that cannot be captured. */
static gboolean
take_disks (xmlNode *domain, GuestSpec *spec, gboolean lenient, GError **error)
{
  xmlNode *element = domain_xml_find (domain, "devices/disk");

  for (; element != NULL; element = domain_xml_next (element)) {
    g_autoptr (GError) cause = NULL;
    GuestDisk *disk = NULL;
    if (spec->disks->len == GUEST_DISKS_MAX)
      impossible (&cause, "the domain has more than %u disks", GUEST_DISKS_MAX);
    else
      disk = disk_from_element (element, &cause);
    if (disk != NULL) {
      g_ptr_array_add (spec->disks, disk);
    } else if (!lenient || !g_error_matches (cause, DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE)) {
      g_propagate_error (error, g_steal_pointer (&cause));
      return FALSE;
    }
  }
  if (domain_xml_attribute_is (domain, "os/loader", "type", "pflash") &&
      (!take_flash (domain, "os/loader", DISK_NAME_FIRMWARE, DISK_READONLY, FLASH_CODE, spec,
                    error) ||
       !take_flash (domain, "os/nvram", DISK_NAME_NVRAM, DISK_CAPTURE, FLASH_VARS, spec, error)))
    return FALSE;
  return guest_disks_name (spec->disks, error);
}

/* ---- The rest ---- */

static gboolean
take_identity (xmlNode *domain, GuestSpec *spec, GError **error)
{
  g_autofree char *name = domain_xml_text (domain, "name");

  spec->uuid = domain_xml_text (domain, "uuid");
  if (spec->uuid == NULL || !g_uuid_string_is_valid (spec->uuid))
    return invalid (error, "has no UUID");
  if (name == NULL || *name == 0)
    return invalid (error, "has no name");
  spec->name = g_strdup (name_check (name, "guest name", NULL) ? name : spec->uuid);
  spec->genid = domain_xml_text (domain, "genid");
  if (spec->genid != NULL && !g_uuid_string_is_valid (spec->genid))
    g_clear_pointer (&spec->genid, g_free);
  return TRUE;
}

static gboolean
take_machine (xmlNode *domain, GuestSpec *spec, GError **error)
{
  g_free (spec->accel);
  spec->accel = g_strdup (domain_xml_attribute_is (domain, "", "type", "kvm") ? "kvm" : "tcg");
  if (!take_text (&spec->machine, domain_xml_attribute (domain, "os/type", "machine"), error) ||
      !take_text (&spec->qemu, domain_xml_text (domain, "devices/emulator"), error) ||
      !take_text (&spec->cpu, domain_xml_text (domain, "cpu/model"), error) ||
      !take_text (&spec->kernel, domain_xml_text (domain, "os/kernel"), error) ||
      !take_text (&spec->initrd, domain_xml_text (domain, "os/initrd"), error) ||
      !take_text (&spec->append, domain_xml_text (domain, "os/cmdline"), error))
    return FALSE;
  if (spec->kernel == NULL) {
    g_clear_pointer (&spec->initrd, g_free);
    g_clear_pointer (&spec->append, g_free);
  }
  spec->tpm = domain_xml_find (domain, "devices/tpm") != NULL;
  return TRUE;
}

static gboolean
has_agent (xmlNode *domain)
{
  xmlNode *channel = domain_xml_find (domain, "devices/channel");

  for (; channel != NULL; channel = domain_xml_next (channel))
    if (domain_xml_attribute_is (channel, "target", "name", AGENT_PORT))
      return TRUE;
  return FALSE;
}

/* The file of the first serial port: its own, or the log that virtlogd writes beside. */
static char *
find_log (xmlNode *domain)
{
  xmlNode *serial = domain_xml_find (domain, "devices/serial");
  g_autofree char *file = NULL;

  if (serial != NULL && domain_xml_attribute_is (serial, "", "type", "file"))
    file = domain_xml_attribute (serial, "source", "path");
  else if (serial != NULL)
    file = domain_xml_attribute (serial, "log", "file");
  if (file == NULL || !g_path_is_absolute (file) || strlen (file) > GUEST_TEXT_MAX)
    return NULL;
  return g_steal_pointer (&file);
}

gboolean
domain_is_prepared (xmlNode *domain)
{
  xmlNode *env = domain_xml_find (domain, "commandline/env");

  for (; env != NULL; env = domain_xml_next (env)) {
    g_autofree char *value = domain_xml_attribute (env, "", "value");
    if (domain_xml_attribute_is (env, "", "name", "LD_PRELOAD") && value != NULL &&
        g_str_has_suffix (value, PRELOAD_OBJECT))
      return domain_xml_attribute_is (domain, "memoryBacking/access", "mode", "shared");
  }
  return FALSE;
}

static GuestSpec *
read_spec (const char *xml, gsize len, const char *uri, gboolean lenient, GError **error)
{
  g_autoptr (xmlDoc) doc = domain_xml_parse (xml, len, error);
  g_autoptr (GuestSpec) spec = NULL;

  if (doc == NULL)
    return NULL;
  xmlNode *domain = domain_xml_root (doc);
  spec = guest_spec_new (NULL);
  spec->driver = GUEST_DRIVER_LIBVIRT;
  spec->uri = g_strdup (uri);
  if (!take_identity (domain, spec, error))
    return NULL;
  ERROR_PREFIX (error, "domain %s", spec->name);
  if (!take_sizes (domain, spec, error) || !take_machine (domain, spec, error) ||
      !take_disks (domain, spec, lenient, error))
    return NULL;
  spec->agent = has_agent (domain);
  /* libvirt itself adds one where nothing is said. */
  spec->balloon = !domain_xml_attribute_is (domain, "devices/memballoon", "model", "none");
  spec->serial_log = find_log (domain);
  spec->memory = domain_is_prepared (domain) ? MEMORY_SHARED : MEMORY_PRIVATE;
  /* libvirt's alias of it, and so QEMU's name, on the machines that can be prepared. */
  if (spec->memory == MEMORY_SHARED)
    spec->ram_id = g_strdup ("pc.ram");
  return g_steal_pointer (&spec);
}

GuestSpec *
domain_spec_from_xml (const char *xml, gsize len, const char *uri, GError **error)
{
  return read_spec (xml, len, uri, FALSE, error);
}

GuestSpec *
domain_spec_lenient (const char *xml, gsize len, const char *uri, GError **error)
{
  return read_spec (xml, len, uri, TRUE, error);
}

char *
domain_spec_no_log (const GuestSpec *spec)
{
  return g_strdup_printf (
      "libvirt keeps no log of what domain %s prints: give its serial port one ('virsh edit %s': "
      "<log file='/var/log/libvirt/qemu/%s-serial0.log'/> in <serial>), effective at its next "
      "start",
      spec->name, spec->name, spec->name);
}
