/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* "ID[:VOLUME]:/PATH": a file in a checkpoint. */
#pragma once

#include <gio/gio.h>
#include <json-glib/json-glib.h>

typedef struct {
  char *ref;    /* the checkpoint */
  char *volume; /* (nullable): disk0, disk0p1, VG/LV */
  char *path;   /* absolute; any bytes */
} GuestPath;

/**
 * guest_path_parse:
 * @need_path: a path must be given; else it is "/" if none is
 *
 * Returns: CLI_ERROR_USAGE says what is wrong.
 */
GuestPath *guest_path_parse (const char *text, gboolean need_path, GError **error);
void guest_path_free (GuestPath *path);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (GuestPath, guest_path_free)

/* Sets what a call's body says of it: volume, path and, if that is no text, path_bytes. */
void guest_path_add_to_body (const GuestPath *path, JsonObject *body);

/* The same for a call's query. */
void guest_path_add_to_query (const GuestPath *path, GString *query);

/* The name that a copy gets: the path's last part; "root" of "/". Newly allocated. */
char *guest_path_base_name (const GuestPath *path);
