/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A disk of a guest: what `run` was told about it, and what was found out when it was started. */
#pragma once

#include <gio/gio.h>
#include <json-glib/json-glib.h>

typedef enum {
  DISK_CAPTURE,  /* writable; its content belongs to each checkpoint */
  DISK_SHARED,   /* writable, on storage that every host reaches; not captured, but marked */
  DISK_READONLY, /* never written; must be there, unchanged, on restore */
  DISK_EXCLUDE,  /* writable, its content does not matter */
} DiskMode;

/* Where the guest finds it. */
typedef enum {
  DISK_BUS_VIRTIO, /* virtio-blk */
  DISK_BUS_SCSI,   /* on a virtio-scsi controller */
  DISK_BUS_IDE,    /* the machine's own controller: AHCI on q35 */
  DISK_BUS_NVME,   /* QEMU does not save such a device: no checkpoints */
  DISK_BUS_PFLASH, /* flash memory of the machine: "firmware" and "nvram" */
} DiskBus;

typedef enum {
  DISK_MEDIA_DISK,
  DISK_MEDIA_CDROM, /* removable, never written */
} DiskMedia;

/* What holds its bytes. */
typedef enum {
  DISK_STORAGE_FILE,
  DISK_STORAGE_BLOCK, /* a block device of the host */
  DISK_STORAGE_NBD,   /* path is nbd://HOST[:PORT][/EXPORT] or nbd+unix:///[EXPORT]?socket=PATH */
} DiskStorage;

/* An image that another one is the overlay of. */
typedef struct {
  char *path;
  char *format; /* "raw" or "qcow2" */
  DiskStorage storage;
} DiskLayer;

typedef struct {
  char *name;   /* "disk0", "disk1", … by position, "cdrom0", …, or given; "firmware", "nvram".
                   QEMU's node, its device and the part of a checkpoint have this name; of a
                   domain it is the target, "vda" */
  char *device; /* (nullable) QEMU's id of the device or its path in QOM, where that is not the
                   name: libvirt's alias */
  char *path; /* (nullable): absolute, or a URL (see DiskStorage); NULL: an empty removable drive */
  DiskMode mode;
  DiskBus bus;
  DiskMedia media;
  DiskStorage storage;    /* as found at start */
  gboolean iothread;      /* served by a thread of its own; virtio and scsi only */
  gboolean stop_on_error; /* any I/O error stops the guest (rerror, werror): for a disk that is
                             still being filled. Otherwise only a full host does, and the guest sees
                             the rest, which are QEMU's defaults */
  char *format;         /* "raw" or "qcow2"; NULL until completed. Recorded, never guessed again: a
                           guest could write the header of another format into its raw disk */
  GPtrArray *backing;   /* of DiskLayer, nearest first; never NULL. Recorded for the same reason */
  guint64 size;         /* of the file or device, in bytes, as found at start */
  guint64 virtual_size; /* bytes that the guest sees, likewise; 0: not known */
  gint64 mtime_us;      /* last change, as found at start */
} GuestDisk;

/* The names of those on DISK_BUS_PFLASH. */
#define DISK_NAME_FIRMWARE "firmware"
#define DISK_NAME_NVRAM "nvram"

#define GUEST_DISK_NAME_MAX 20   /* bytes; it is the disk's serial number too */
#define GUEST_DISK_LAYERS_MAX 16 /* images behind a disk */

/**
 * guest_disk_parse:
 * @text: "F[,OPTION]…" of --disk: capture, shared, readonly, exclude, bus=virtio|scsi|ide|nvme,
 *   format=raw|qcow2, name=N, cdrom, iothread, each at most once and in any order
 *
 * Options are taken off the end; what is none belongs to the path, which may have commas.
 * A disk is captured and on the virtio bus unless said otherwise; a cdrom is readonly and on ide.
 *
 * Returns: name may be NULL: guest_spec_from_json() numbers the disks. DRIVER_ERROR_INVALID.
 */
GuestDisk *guest_disk_parse (const char *text, GError **error);
/* A disk with no options at @path (nullable), and nothing known of it. */
GuestDisk *guest_disk_new (const char *path);
/* With all that is known of it; newly allocated. */
GuestDisk *guest_disk_copy (const GuestDisk *disk);
/* Frees @disk. */
void guest_disk_free (GuestDisk *disk);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (GuestDisk, guest_disk_free)

/* The same disk is at @path here: absolute, or a URL. What is behind it is looked for anew when it
 * is needed (qemu_preflight()). */
void guest_disk_move (GuestDisk *disk, const char *path);

/* "capture", "shared", "readonly" or "exclude". */
const char *disk_mode_name (DiskMode mode);

/* @format: of the image, copied. */
DiskLayer *disk_layer_new (const char *path, const char *format, DiskStorage storage);
/* Frees @layer. */
void disk_layer_free (DiskLayer *layer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (DiskLayer, disk_layer_free)

/* TRUE if @text is the URL of an NBD export rather than a path. */
gboolean disk_path_is_nbd (const char *text);

/**
 * guest_disk_from_json:
 * @node: text as for guest_disk_parse(), or an object as guest_disk_to_json() makes it, of which
 * all members may be absent; a disk without a path is an empty removable drive
 *
 * DRIVER_ERROR_INVALID names what is wrong.
 */
GuestDisk *guest_disk_from_json (JsonNode *node, GError **error);
/* Newly allocated. */
JsonObject *guest_disk_to_json (const GuestDisk *disk);

/* Gives each disk of @disks (of GuestDisk) that has none its name. FALSE with DRIVER_ERROR_INVALID
 * if two have the same. */
gboolean guest_disks_name (GPtrArray *disks, GError **error);
