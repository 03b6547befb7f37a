/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What vmckpt-inspect is asked: a line of JSON, bounded and checked. */
#pragma once

#include <gio/gio.h>

#define REQUEST_LINE_MAX (64 * 1024)
#define REQUEST_PATH_MAX 4096

typedef enum {
  COMMAND_INSPECT, /* systems, disks, file systems */
  COMMAND_LS,      /* a directory, or a file */
  COMMAND_FILES,   /* all below a directory */
  COMMAND_COPY,    /* a file's data, or a directory as a tar stream */
  COMMAND_FSCK,    /* every file system */
} InspectCommand;

typedef struct {
  InspectCommand command;
  char *path;         /* absolute, bytes as the guest has them */
  char *volume;       /* (nullable): a disk or file system; NULL: the system's root */
  gboolean checksums; /* files: SHA-256 of each regular file */
  gboolean file_only; /* copy: a directory is an error */
} InspectRequest;

/* Parses @line. INSPECT_ERROR_USAGE. */
InspectRequest *inspect_request_parse (const char *line, gsize len, GError **error);
void inspect_request_free (InspectRequest *request);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (InspectRequest, inspect_request_free)
