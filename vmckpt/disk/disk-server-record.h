/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a disk server serves, where, and which process it is: disk-server.json, for the next daemon.
 */
#pragma once

#include <vmckpt/disk/disk-server.h>

typedef struct {
  char *directory;
  char *store, *checkpoint;
  char *disk;             /* (nullable) */
  char *socket, *address; /* one of them is NULL */
  guint16 port;           /* with an address; never 0 once it listens */
  char *tls, *temporary;  /* (nullable) */
  gboolean exit_last;
  gboolean encrypted; /* it needs a key, which is not recorded */
  ProcessId process;  /* start_ticks 0: none */
} DiskServerRecord;

/* Copies what @options say. */
DiskServerRecord *disk_server_record_new (const DiskServerOptions *options);
void disk_server_record_free (DiskServerRecord *record);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (DiskServerRecord, disk_server_record_free)

gboolean disk_server_record_write (const DiskServerRecord *record, GError **error);

/* G_IO_ERROR_NOT_FOUND if there is none. A process of an earlier boot is none. */
DiskServerRecord *disk_server_record_read (const char *directory, GError **error);

/* Removes the record, and the socket if there is one. */
void disk_server_record_remove (const DiskServerRecord *record);
