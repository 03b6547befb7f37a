/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/drivers/domain-adapt.h>

#include <vmckpt/drivers/domain-xml.h>

#include <string.h>

#define MAC_PREFIX "52:54:00" /* QEMU's */

typedef struct {
  const DomainChanges *changes;
  xmlNode *domain;
  char *former_name; /* owned */
  GPtrArray *notes;
} Adapting;

static void
adapting_clear (Adapting *adapting)
{
  g_free (adapting->former_name);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Adapting, adapting_clear)

static void G_GNUC_PRINTF (2, 3) note (Adapting *adapting, const char *format, ...)
{
  va_list args;

  if (adapting->notes == NULL)
    return;
  va_start (args, format);
  g_ptr_array_add (adapting->notes, g_strdup_vprintf (format, args));
  va_end (args);
}

static gboolean impossible (GError **error, const char *format, ...) G_GNUC_PRINTF (2, 3);

static gboolean
impossible (GError **error, const char *format, ...)
{
  va_list args;

  va_start (args, format);
  if (error != NULL)
    *error = g_error_new_valist (DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE, format, args);
  va_end (args);
  return FALSE;
}

/* ---- The tree ---- */

static void
set_attribute (xmlNode *node, const char *name, const char *value)
{
  xmlSetProp (node, (const xmlChar *)name, (const xmlChar *)value);
}

static void
remove_attribute (xmlNode *node, const char *name)
{
  xmlUnsetProp (node, (const xmlChar *)name);
}

static xmlNode *
add_child (xmlNode *node, const char *name)
{
  return xmlNewChild (node, NULL, (const xmlChar *)name, NULL);
}

static void
remove_children (xmlNode *node, const char *name)
{
  xmlNode *child;

  while ((child = domain_xml_find (node, name)) != NULL) {
    xmlUnlinkNode (child);
    xmlFreeNode (child);
  }
}

/* The element, made if it is not there. */
static xmlNode *
need_child (xmlNode *node, const char *name)
{
  xmlNode *child = domain_xml_find (node, name);

  return child != NULL ? child : add_child (node, name);
}

static void
replace_text (xmlNode *node, const char *path, const char *text)
{
  xmlNode *found = domain_xml_find (node, path);

  if (found != NULL && text != NULL)
    domain_xml_set_text (found, text);
}

/* ---- Paths ---- */

/* @path where it is now, newly allocated; NULL: where it was. */
static char *
map_path (GHashTable *paths, const char *path)
{
  GHashTableIter iter;
  gpointer from, to;

  g_hash_table_iter_init (&iter, paths);
  while (g_hash_table_iter_next (&iter, &from, &to)) {
    gsize len = strlen (from);
    while (len > 1 && ((const char *)from)[len - 1] == '/')
      len--;
    if (strncmp (path, from, len) == 0 && (path[len] == 0 || path[len] == '/'))
      return g_strconcat (to, path + len, NULL);
  }
  return NULL;
}

static void
map_attributes (xmlNode *node, GHashTable *paths)
{
  static const char *const names[] = { "file", "dev", "dir", "path", "socket", "template" };

  for (guint i = 0; i < G_N_ELEMENTS (names); i++) {
    g_autofree char *value = domain_xml_attribute (node, "", names[i]);
    g_autofree char *mapped = value != NULL ? map_path (paths, value) : NULL;
    if (mapped != NULL)
      set_attribute (node, names[i], mapped);
  }
}

/* Libvirt's trees are not deep, and the parser bounds them. */
static void
map_paths_below (xmlNode *node, GHashTable *paths)
{
  static const char *const texts[] = { "kernel", "initrd",   "dtb", "loader",
                                       "nvram",  "emulator", NULL };

  for (; node != NULL; node = node->next) {
    if (node->type != XML_ELEMENT_NODE)
      continue;
    map_attributes (node, paths);
    if (g_strv_contains (texts, (const char *)node->name) && xmlChildElementCount (node) == 0) {
      g_autofree char *text = domain_xml_text (node, "");
      g_autofree char *mapped = map_path (paths, text);
      if (mapped != NULL)
        domain_xml_set_text (node, mapped);
    }
    map_paths_below (node->children, paths);
  }
}

/* ---- Disks ---- */

static const GuestDisk *
find_disk (const GPtrArray *disks, const char *name)
{
  for (guint i = 0; name != NULL && i < disks->len; i++) {
    const GuestDisk *disk = disks->pdata[i];
    if (g_str_equal (disk->name, name))
      return disk;
  }
  return NULL;
}

/* TRUE if the element says already what @disk is. */
static gboolean
is_there_already (xmlNode *element, const GuestDisk *disk)
{
  xmlNode *behind = domain_xml_find (element, "backingStore/source");
  g_autofree char *file = domain_xml_attribute (element, "source", "file");
  g_autofree char *device = domain_xml_attribute (element, "source", "dev");

  return g_strcmp0 (file != NULL ? file : device, disk->path) == 0 &&
         domain_xml_attribute_is (element, "driver", "type", disk->format) &&
         (behind == NULL) == (disk->backing->len == 0);
}

/* A file or device of its own. Where nothing is said of what is behind it, libvirt would look into
 * it, and its guest writes there. */
static void
place_disk (xmlNode *element, const GuestDisk *disk)
{
  const gboolean device = disk->storage == DISK_STORAGE_BLOCK;
  xmlNode *driver = need_child (element, "driver");

  if (is_there_already (element, disk))
    return;
  remove_children (element, "source");
  remove_children (element, "backingStore");
  remove_children (element, "mirror");
  set_attribute (element, "type", device ? "block" : "file");
  set_attribute (driver, "name", "qemu");
  set_attribute (driver, "type", disk->format);
  set_attribute (add_child (element, "source"), device ? "dev" : "file", disk->path);
  add_child (element, "backingStore");
}

static void
place_flash (xmlNode *domain, const char *path, const GuestDisk *disk)
{
  xmlNode *element = domain_xml_find (domain, path);
  xmlNode *source = element != NULL ? domain_xml_find (element, "source") : NULL;

  if (element == NULL || disk == NULL || disk->path == NULL)
    return;
  if (source != NULL)
    set_attribute (source, "file", disk->path);
  else
    domain_xml_set_text (element, disk->path);
}

static void
place_disks (xmlNode *domain, const GPtrArray *disks)
{
  xmlNode *element = domain_xml_find (domain, "devices/disk");

  for (; element != NULL; element = domain_xml_next (element)) {
    g_autofree char *name = domain_xml_attribute (element, "target", "dev");
    const GuestDisk *disk = find_disk (disks, name);
    if (disk != NULL && disk->path != NULL && disk->storage != DISK_STORAGE_NBD)
      place_disk (element, disk);
  }
  place_flash (domain, "os/loader", find_disk (disks, DISK_NAME_FIRMWARE));
  place_flash (domain, "os/nvram", find_disk (disks, DISK_NAME_NVRAM));
}

/* ---- Another guest ---- */

/* Bytes that @uuid and @salt decide. */
static void
derive (const char *uuid, const char *salt, guint8 digest[32])
{
  g_autoptr (GChecksum) checksum = g_checksum_new (G_CHECKSUM_SHA256);
  gsize len = 32;

  g_checksum_update (checksum, (const guchar *)uuid, -1);
  g_checksum_update (checksum, (const guchar *)salt, -1);
  g_checksum_get_digest (checksum, digest, &len);
}

static void
renew_generation (xmlNode *domain, const char *uuid)
{
  g_autofree char *text = NULL;
  guint8 d[32];

  derive (uuid, "genid", d);
  text = g_strdup_printf ("%02x%02x%02x%02x-%02x%02x-4%x%02x-8%x%02x-%02x%02x%02x%02x%02x%02x",
                          d[0], d[1], d[2], d[3], d[4], d[5], d[6] & 15, d[7], d[8] & 15, d[9],
                          d[10], d[11], d[12], d[13], d[14], d[15]);
  replace_text (domain, "genid", text);
}

static void
renew_address (xmlNode *interface, const char *uuid)
{
  g_autofree char *former = domain_xml_attribute (interface, "mac", "address");
  g_autofree char *text = NULL;
  guint8 d[32];

  derive (uuid, former != NULL ? former : "", d);
  text = g_strdup_printf (MAC_PREFIX ":%02x:%02x:%02x", d[0], d[1], d[2]);
  set_attribute (need_child (interface, "mac"), "address", text);
}

/* The SMBIOS tables say the UUID too; libvirt wants them to agree. */
static void
renew_sysinfo (xmlNode *domain, const char *uuid)
{
  xmlNode *entry = domain_xml_find (domain, "sysinfo/system/entry");

  for (; entry != NULL; entry = domain_xml_next (entry))
    if (domain_xml_attribute_is (entry, "", "name", "uuid"))
      domain_xml_set_text (entry, uuid);
}

/* "/dir/g1.log" becomes "/dir/g2.log"; where the name is not in it, it is added behind. */
static char *
own_path (const char *path, const char *former, const char *name)
{
  const char *file = strrchr (path, '/') != NULL ? strrchr (path, '/') + 1 : path;
  const char *at = former != NULL && *former != 0 ? strstr (file, former) : NULL;
  const char *rest = at != NULL ? at + strlen (former) : NULL;

  if (at == NULL || g_ascii_isalnum (*rest) || (at > file && g_ascii_isalnum (at[-1])))
    return g_strconcat (path, ".", name, NULL);
  g_autofree char *before = g_strndup (path, at - path);
  return g_strconcat (before, name, rest, NULL);
}

static void
renew_path (Adapting *adapting, xmlNode *node, const char *attribute, const char *what)
{
  g_autofree char *path = node != NULL ? domain_xml_attribute (node, "", attribute) : NULL;
  g_autofree char *own = NULL;

  if (path == NULL || adapting->changes->name == NULL)
    return;
  own = own_path (path, adapting->former_name, adapting->changes->name);
  set_attribute (node, attribute, own);
  note (adapting, "its %s is %s", what, own);
}

static gboolean
renew_port (Adapting *adapting, xmlNode *port, GError **error)
{
  const char *what = (const char *)port->name;
  const gboolean bound = domain_xml_attribute_is (port, "source", "mode", "bind");

  if (domain_xml_attribute_is (port, "", "type", "file") ||
      (domain_xml_attribute_is (port, "", "type", "unix") && bound))
    renew_path (adapting, domain_xml_find (port, "source"), "path", what);
  else if (domain_xml_attribute_is (port, "", "type", "dev") ||
           (domain_xml_attribute_is (port, "", "type", "tcp") && bound))
    return impossible (
        error,
        "its %s is a device or a listening port of the host, which two guests cannot "
        "both have",
        what);
  renew_path (adapting, domain_xml_find (port, "log"), "file", "log");
  return TRUE;
}

static gboolean
renew_ports (Adapting *adapting, GError **error)
{
  static const char *const kinds[] = { "devices/serial", "devices/parallel", "devices/channel",
                                       "devices/console" };

  for (guint i = 0; i < G_N_ELEMENTS (kinds); i++) {
    xmlNode *port = domain_xml_find (adapting->domain, kinds[i]);
    /* A console that stands for the first serial port is the same again. */
    gboolean same = port != NULL && g_str_has_suffix (kinds[i], "console") &&
                    domain_xml_attribute_is (port, "target", "type", "serial") &&
                    domain_xml_find (adapting->domain, "devices/serial") != NULL;
    if (same) {
      xmlNode *serial = domain_xml_find (adapting->domain, "devices/serial");
      g_autofree char *path = domain_xml_attribute (serial, "source", "path");
      xmlNode *source = domain_xml_find (port, "source");
      if (path != NULL && source != NULL)
        set_attribute (source, "path", path);
      port = domain_xml_next (port);
    }
    for (; port != NULL; port = domain_xml_next (port))
      if (!renew_port (adapting, port, error))
        return FALSE;
  }
  return TRUE;
}

/* The host chooses the ports of its screens, and its number on the host's bus. */
static void
renew_numbers (Adapting *adapting)
{
  xmlNode *screen = domain_xml_find (adapting->domain, "devices/graphics");
  xmlNode *cid = domain_xml_find (adapting->domain, "devices/vsock/cid");

  for (; screen != NULL; screen = domain_xml_next (screen)) {
    remove_attribute (screen, "port");
    remove_attribute (screen, "tlsPort");
    remove_attribute (screen, "websocket");
    set_attribute (screen, "autoport", "yes");
    renew_path (adapting, screen, "socket", "screen's socket");
  }
  if (cid == NULL)
    return;
  remove_attribute (cid, "address");
  set_attribute (cid, "auto", "yes");
}

static gboolean
renew_identity (Adapting *adapting, GError **error)
{
  const char *uuid = adapting->changes->new_uuid;
  xmlNode *domain = adapting->domain;
  xmlNode *interface = domain_xml_find (domain, "devices/interface");

  if (domain_xml_find (domain, "devices/hostdev") != NULL)
    return impossible (error, "it has a device of the host, which two guests cannot both have");
  for (; interface != NULL; interface = domain_xml_next (interface)) {
    if (domain_xml_attribute_is (interface, "", "type", "hostdev"))
      return impossible (error, "it has a network card of the host, which two guests cannot both "
                                "have");
    renew_address (interface, uuid);
  }
  domain_xml_set_text (need_child (domain, "uuid"), uuid);
  renew_generation (domain, uuid);
  renew_sysinfo (domain, uuid);
  renew_numbers (adapting);
  return renew_ports (adapting, error);
}

char *
domain_adapt (const char *xml, const DomainChanges *changes, GPtrArray *notes, GError **error)
{
  g_autoptr (xmlDoc) doc = domain_xml_parse (xml, strlen (xml), error);
  g_auto (Adapting) adapting = { .changes = changes, .notes = notes };

  if (doc == NULL)
    return NULL;
  adapting.domain = domain_xml_root (doc);
  adapting.former_name = domain_xml_text (adapting.domain, "name");
  if (changes->paths != NULL)
    map_paths_below (adapting.domain->children, changes->paths);
  if (changes->disks != NULL)
    place_disks (adapting.domain, changes->disks);
  replace_text (adapting.domain, "name", changes->name);
  replace_text (adapting.domain, "devices/emulator", changes->emulator);
  if (changes->new_uuid != NULL && !renew_identity (&adapting, error))
    return NULL;
  return domain_xml_to_text (doc);
}
