/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/drivers/qemu-disk.h>

#include <vmckpt/util/json.h>

#include <string.h>

#define IDE_PORTS_AHCI 6
#define IDE_PORTS_PIIX 4
#define NBD_PORT "10809"

/* ---- Nodes ---- */

static JsonObject *
new_node (const char *driver, const char *name, gboolean readonly)
{
  JsonObject *node = json_object_new();

  json_object_set_string_member (node, "driver", driver);
  json_object_set_string_member (node, "node-name", name);
  json_object_set_boolean_member (node, "read-only", readonly);
  if (!readonly)
    json_object_set_string_member (node, "discard", "unmap");
  return node;
}

/* The value of @key in the query of @uri; newly allocated, NULL if it is not there. */
static char *
query_value (GUri *uri, const char *key)
{
  const char *query = g_uri_get_query (uri);
  g_autoptr (GHashTable) values =
      query != NULL ? g_uri_parse_params (query, -1, "&", G_URI_PARAMS_NONE, NULL) : NULL;

  return values != NULL ? g_strdup (g_hash_table_lookup (values, key)) : NULL;
}

static JsonObject *
nbd_server (GUri *uri)
{
  JsonObject *server = json_object_new();
  g_autofree char *socket = query_value (uri, "socket");
  g_autofree char *port =
      g_uri_get_port (uri) > 0 ? g_strdup_printf ("%d", g_uri_get_port (uri)) : g_strdup (NBD_PORT);

  if (socket != NULL) {
    json_object_set_string_member (server, "type", "unix");
    json_object_set_string_member (server, "path", socket);
  } else {
    json_object_set_string_member (server, "type", "inet");
    json_object_set_string_member (server, "host", g_uri_get_host (uri));
    json_object_set_string_member (server, "port", port);
  }
  return server;
}

static JsonObject *
nbd_node (const char *name, const char *url, gboolean readonly)
{
  g_autoptr (GUri) uri = g_uri_parse (url, G_URI_FLAGS_ENCODED_QUERY, NULL);
  JsonObject *node = new_node ("nbd", name, readonly);
  const char *export = uri != NULL ? g_uri_get_path (uri) : "";

  if (uri != NULL)
    json_object_set_object_member (node, "server", nbd_server (uri));
  json_object_set_string_member (node, "export", export[0] == '/' ? export + 1 : export);
  json_object_set_int_member (node, "reconnect-delay", QEMU_DISK_RECONNECT);
  return node;
}

/* What holds the bytes. */
static JsonObject *
storage_node (const char *name, const char *path, DiskStorage storage, gboolean readonly)
{
  if (storage == DISK_STORAGE_NBD)
    return nbd_node (name, path, readonly);
  JsonObject *node =
      new_node (storage == DISK_STORAGE_BLOCK ? "host_device" : "file", name, readonly);
  json_object_set_string_member (node, "filename", path);
  return node;
}

/* Adds a format's node with that of its file. @backing: (nullable): a node's name; none is said
 * aloud, or QEMU would open what the image's header names, and guess its format. */
static void
add_image (JsonArray *nodes, const char *name, const DiskLayer *image, gboolean readonly,
           const char *backing)
{
  g_autofree char *file = g_strconcat (name, "-file", NULL);
  JsonObject *node = new_node (image->format, name, readonly);

  json_object_set_string_member (node, "file", file);
  if (backing != NULL)
    json_object_set_string_member (node, "backing", backing);
  else if (g_str_equal (image->format, "qcow2"))
    json_object_set_null_member (node, "backing");
  json_array_add_object_element (nodes, storage_node (file, image->path, image->storage, readonly));
  json_array_add_object_element (nodes, node);
}

static char *
layer_name (const GuestDisk *disk, guint index)
{
  const DiskLayer *layer = disk->backing->pdata[index];

  if (layer->storage == DISK_STORAGE_NBD)
    return g_strconcat (disk->name, "-export", NULL);
  return g_strdup_printf ("%s-backing%u", disk->name, index + 1);
}

JsonArray *
qemu_disk_nodes (const GuestDisk *disk)
{
  JsonArray *nodes = json_array_new();
  g_autofree char *below = NULL;

  if (disk->path == NULL)
    return nodes;
  for (guint i = disk->backing->len; i-- > 0;) {
    const DiskLayer *layer = disk->backing->pdata[i];
    char *name = layer_name (disk, i);
    if (layer->storage == DISK_STORAGE_NBD)
      json_array_add_object_element (nodes, nbd_node (name, layer->path, TRUE));
    else
      add_image (nodes, name, layer, TRUE, below);
    g_free (below);
    below = name;
  }
  const DiskLayer top = { .path = disk->path,
                          .format = disk->format != NULL ? disk->format : (char *)"raw",
                          .storage = disk->storage };
  add_image (nodes, disk->name, &top, disk->mode == DISK_READONLY, below);
  return nodes;
}

/* ---- Devices ---- */

/* An argument that is being put together. */
typedef struct {
  GPtrArray *args;
  guint ide, scsi;            /* disks so far */
  gboolean bus, bus_iothread; /* SCSI controllers that are there */
} Devices;

static void G_GNUC_PRINTF (3, 4) add (GPtrArray *args, const char *option, const char *format, ...)
{
  va_list values;

  g_ptr_array_add (args, g_strdup (option));
  va_start (values, format);
  g_ptr_array_add (args, g_strdup_vprintf (format, values));
  va_end (values);
}

/* The SCSI controller for @disk; there is one for all whose disks have no thread of their own, and
 * one for all others, since it is the controller that has the thread. */
static const char *
scsi_bus (Devices *devices, const GuestDisk *disk)
{
  gboolean *there = disk->iothread ? &devices->bus_iothread : &devices->bus;

  if (!*there && disk->iothread) {
    add (devices->args, "-object", "iothread,id=scsi-iothread");
    add (devices->args, "-device", "virtio-scsi-pci,id=scsi-threaded,iothread=scsi-iothread");
  } else if (!*there) {
    add (devices->args, "-device", "virtio-scsi-pci,id=scsi-bus");
  }
  *there = TRUE;
  return disk->iothread ? "scsi-threaded.0" : "scsi-bus.0";
}

/* "drive=N" unless it is empty, and what to do on errors. */
static char *
drive_options (const GuestDisk *disk)
{
  g_autofree char *drive =
      disk->path != NULL ? g_strdup_printf (",drive=%s", disk->name) : g_strdup ("");

  return g_strconcat (drive, disk->stop_on_error ? ",rerror=stop,werror=stop" : "", NULL);
}

static void
add_ide (Devices *devices, const GuestSpec *spec, const GuestDisk *disk, const char *options)
{
  const char *kind = disk->media == DISK_MEDIA_CDROM ? "ide-cd" : "ide-hd";
  guint port = devices->ide++;

  if (qemu_disk_ide_ports (spec->machine) == IDE_PORTS_AHCI)
    add (devices->args, "-device", "%s,id=%s,bus=ide.%u,serial=%s%s", kind, disk->name, port,
         disk->name, options);
  else
    add (devices->args, "-device", "%s,id=%s,bus=ide.%u,unit=%u,serial=%s%s", kind, disk->name,
         port / 2, port % 2, disk->name, options);
}

static void
add_device (Devices *devices, const GuestSpec *spec, const GuestDisk *disk)
{
  g_autofree char *options = drive_options (disk);
  const char *name = disk->name;

  switch (disk->bus) {
  case DISK_BUS_VIRTIO:
    if (disk->iothread) {
      add (devices->args, "-object", "iothread,id=%s-iothread", name);
      add (devices->args, "-device", "virtio-blk-pci,id=%s,serial=%s,iothread=%s-iothread%s", name,
           name, name, options);
    } else {
      add (devices->args, "-device", "virtio-blk-pci,id=%s,serial=%s%s", name, name, options);
    }
    break;
  case DISK_BUS_SCSI: {
    const char *bus = scsi_bus (devices, disk);
    add (devices->args, "-device", "%s,id=%s,bus=%s,scsi-id=%u,serial=%s%s",
         disk->media == DISK_MEDIA_CDROM ? "scsi-cd" : "scsi-hd", name, bus, devices->scsi++, name,
         options);
    break;
  }
  case DISK_BUS_IDE:
    add_ide (devices, spec, disk, options);
    break;
  case DISK_BUS_NVME:
    add (devices->args, "-device", "nvme,id=%s,serial=%s%s", name, name, options);
    break;
  case DISK_BUS_PFLASH:
    break;
  }
}

void
qemu_disk_arguments (const GuestSpec *spec, GPtrArray *args)
{
  Devices devices = { .args = args };

  for (guint i = 0; i < spec->disks->len; i++) {
    const GuestDisk *disk = spec->disks->pdata[i];
    g_autoptr (JsonArray) nodes = qemu_disk_nodes (disk);
    for (guint j = 0; j < json_array_get_length (nodes); j++) {
      g_autofree char *text = json_to_line (json_array_get_object_element (nodes, j));
      add (args, "-blockdev", "%s", text);
    }
    add_device (&devices, spec, disk);
  }
}

char *
qemu_disk_machine_options (const GuestSpec *spec)
{
  GString *options = g_string_new (NULL);

  if (guest_spec_find_disk (spec, DISK_NAME_FIRMWARE) != NULL)
    g_string_append (options, ",pflash0=" DISK_NAME_FIRMWARE);
  if (guest_spec_find_disk (spec, DISK_NAME_NVRAM) != NULL)
    g_string_append (options, ",pflash1=" DISK_NAME_NVRAM);
  return g_string_free (options, FALSE);
}

/* ---- What cannot be ---- */

guint
qemu_disk_ide_ports (const char *machine)
{
  if (g_str_has_prefix (machine, "pc-q35"))
    return IDE_PORTS_AHCI;
  return g_str_has_prefix (machine, "pc-i440fx") ? IDE_PORTS_PIIX : 0;
}

static gboolean
set_invalid (GError **error, const GuestDisk *disk, const char *problem)
{
  g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_INVALID, "disk %s ('%s'): %s", disk->name,
               disk->path != NULL ? disk->path : "", problem);
  return FALSE;
}

gboolean
qemu_disk_check (const GuestSpec *spec, GError **error)
{
  guint ports = qemu_disk_ide_ports (spec->machine);
  guint ide = 0;

  for (guint i = 0; i < spec->disks->len; i++) {
    const GuestDisk *disk = spec->disks->pdata[i];
    if (disk->bus == DISK_BUS_IDE && ide++ == ports) {
      g_autofree char *problem =
          g_strdup_printf ("machine type %s has room for %u disks on bus=ide: give it another bus",
                           spec->machine, ports);
      return set_invalid (error, disk, problem);
    }
    if (disk->bus == DISK_BUS_IDE && disk->media == DISK_MEDIA_DISK && disk->mode == DISK_READONLY)
      return set_invalid (error, disk,
                          "bus=ide has no readonly disks: write bus=virtio or bus=scsi, or cdrom");
    if (disk->bus == DISK_BUS_PFLASH && !g_str_has_prefix (spec->machine, "pc-"))
      return set_invalid (error, disk, "this machine type takes no such firmware");
  }
  if (guest_spec_find_disk (spec, DISK_NAME_NVRAM) != NULL &&
      guest_spec_find_disk (spec, DISK_NAME_FIRMWARE) == NULL)
    return set_invalid (error, guest_spec_find_disk (spec, DISK_NAME_NVRAM),
                        "a variable store needs the firmware that it belongs to (--firmware)");
  return TRUE;
}
