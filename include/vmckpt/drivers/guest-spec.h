/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How a guest is built: what `run` was told, completed so that the same guest can be built again.
 */
#pragma once

#include <vmckpt/drivers/guest-disk.h>

#define DRIVER_ERROR (driver_error_quark())
GQuark driver_error_quark (void);

typedef enum {
  DRIVER_ERROR_INVALID,    /* a bad argument: name, size, count, disk mode */
  DRIVER_ERROR_NOT_FOUND,  /* a file named in the spec is not there (QEMU, kernel, initrd, disk) */
  DRIVER_ERROR_IMPOSSIBLE, /* this host cannot do it; the message says what differs or lacks */
  DRIVER_ERROR_FAILED,     /* QEMU did not do what it should */
} DriverError;

/* How QEMU has the guest's RAM. */
typedef enum {
  MEMORY_SHARED,  /* a memfd that the daemon can read, and whose writes it can track */
  MEMORY_PRIVATE, /* QEMU's own: checkpoints by the migration stream alone */
} MemoryKind;

/* Who runs the guest's QEMU. */
typedef enum {
  GUEST_DRIVER_QEMU,    /* we do: a keeper is its parent */
  GUEST_DRIVER_LIBVIRT, /* libvirt does: it is a domain of the connection `uri` */
} GuestDriver;

typedef struct {
  GuestDriver driver;
  char *uri;         /* of the libvirt connection; NULL for GUEST_DRIVER_QEMU */
  char *serial_log;  /* (nullable) file that libvirt's side writes what the guest prints to */
  char *name;        /* of a domain whose name is none of ours (name_check()): its UUID */
  char *uuid;        /* made by guest_spec_complete() where absent */
  char *genid;       /* vmgenid; likewise */
  guint64 ram_bytes; /* a multiple of 1 MiB */
  MemoryKind memory;
  char *ram_id; /* (nullable) name of the RAM block that MEMORY_SHARED makes: the one that the
                   machine type would give it. Completed; absent where a machine has none */
  guint cpus;
  char *kernel;         /* (nullable) path */
  char *initrd;         /* (nullable) path */
  char *append;         /* (nullable) kernel command line */
  gboolean tpm;         /* it has a TPM 2.0: swtpm, which lives as long as its QEMU */
  gboolean agent;       /* it has a port for a guest agent, GUEST_FILE_AGENT */
  gboolean balloon;     /* of a domain: it can give memory back; of guests of ours `extra` tells */
  guint priority;       /* of several guests, who is saved and started first: the greater */
  guint start_delay_ms; /* so long after the guest before it is it started, of several */
  GPtrArray *disks;     /* of GuestDisk */
  char *qemu;           /* program; absolute once completed */
  char *accel;          /* "auto", "kvm" or "tcg"; never "auto" once completed */
  char *machine;        /* "q35"; the versioned name once completed */
  char *cpu;            /* (nullable) QEMU's CPU model; named once completed */
  GStrv extra;          /* QEMU arguments after "--", as given; may be empty, never NULL */
} GuestSpec;

/* "qemu" or "libvirt". */
const char *guest_driver_name (GuestDriver driver);

/* "shared" or "private". */
const char *memory_kind_name (MemoryKind kind);

/* A guest of this name, copied, with no disks and otherwise what `run` takes by default; or a copy
 * of one with all that it has. Newly allocated. */
GuestSpec *guest_spec_new (const char *name);
GuestSpec *guest_spec_copy (const GuestSpec *spec);
/* Frees @spec. */
void guest_spec_free (GuestSpec *spec);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (GuestSpec, guest_spec_free)

/* The disk called @name; borrowed, NULL if there is none. */
GuestDisk *guest_spec_find_disk (const GuestSpec *spec, const char *name);

/**
 * guest_spec_from_json:
 * @object: as the API's POST /v1/guests takes it (docs/api.md); absent members get their defaults
 *   (ram 2 GiB, 2 CPUs, qemu-system-x86_64, accel auto, machine q35)
 *
 * Everything is bounded: DRIVER_ERROR_INVALID names the member.
 */
GuestSpec *guest_spec_from_json (JsonObject *object, GError **error);

/* The bounds of a spec: RAM, CPUs, text. Paths must be absolute; `qemu` may be a name for PATH. */
#define GUEST_RAM_MIN (G_GUINT64_CONSTANT (16) << 20)
#define GUEST_RAM_MAX (G_GUINT64_CONSTANT (8) << 40)
#define GUEST_CPUS_MAX 255
#define GUEST_TEXT_MAX 4096 /* bytes of any string */
#define GUEST_DISKS_MAX 24
#define GUEST_EXTRA_MAX 256
#define GUEST_PRIORITY_MAX 1000
#define GUEST_PRIORITY_DEFAULT 100
#define GUEST_START_DELAY_MAX_MS 3600000

/* The same document back, newly allocated; guest_spec_from_json() of it is an equal spec. */
JsonObject *guest_spec_to_json (const GuestSpec *spec);
