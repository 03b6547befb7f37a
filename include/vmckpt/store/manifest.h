/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Manifests: a checkpoint exists if and only if its manifest does. A manifest is an immutable
 * object named by its content; that name is the checkpoint's id.
 */
#pragma once

#include <json-glib/json-glib.h>

#include <vmckpt/store/page-map.h>

/* One captured piece of the guest. */
typedef struct {
  char *role; /* "ram", "device-state", "configuration", "kernel", "initrd", later "disk", … */
  char *name; /* of a RAM block or disk; "" where the role says all */
  PageMap map;
} ManifestPart;

/* A guest at an instant. All strings are owned. */
typedef struct {
  char *id;     /* set by store_writer_commit() and manifest_load(), 64 hexadecimal digits */
  char *parent; /* (nullable): id of the guest's checkpoint before this one; a hint, never needed */
  char *guest;  /* the guest's name */
  char *guest_uuid;  /* its identity: the same for all its checkpoints and restores */
  char *host;        /* where it was taken */
  char *engine;      /* "stream", "tracked" */
  char *mode;        /* "live", "stop" or "suspend" */
  char *tag;         /* (nullable): tag given at once */
  char *note;        /* (nullable) */
  gint64 created_us; /* the instant, microseconds since 1970 */
  /* Of a copy (both or neither): the store in which the checkpoint was made, and its id there. */
  char *origin_store;
  char *origin_id;
  JsonObject
      *machine;       /* how to build the guest again: the driver's document, opaque to the store */
  JsonObject *report; /* (nullable): timing and counts, as `checkpoint --json` prints them */
  GPtrArray *parts;   /* of ManifestPart */
} Manifest;

/* Without parts, and all else 0 or NULL; the caller fills in newly allocated texts. */
Manifest *manifest_new (void);
/* Frees @manifest. */
void manifest_free (Manifest *manifest);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Manifest, manifest_free)

/* Appends a part; copies the strings. */
void manifest_add_part (Manifest *manifest, const char *role, const char *name, const PageMap *map);

/* The first part of @role (and @name, if not NULL), borrowed, or NULL. */
const ManifestPart *manifest_find_part (const Manifest *manifest, const char *role,
                                        const char *name);

/* What it describes: the sum of its parts' lengths. */
guint64 manifest_described_bytes (const Manifest *manifest);

/* Which checkpoint this is, whatever store it lies in: "STORE/ID" of where it was made. Copies have
 * the identity of what they were copied from. Newly allocated. */
char *manifest_identity (const Manifest *manifest, Store *store);

/* The object's bytes, and back, with everything bounded and checked. */
GBytes *manifest_to_bytes (const Manifest *manifest);
Manifest *manifest_from_bytes (GBytes *bytes, GError **error);

/* ---- In a store ---- */

/* Loads and verifies the manifest with the full @id. STORE_ERROR_NOT_FOUND, _DAMAGED. */
Manifest *store_manifest_load (Store *store, const char *id, GError **error);

/**
 * store_manifest_find:
 * @reference: a full id, a unique prefix of at least 4 digits, NAME (that guest's newest
 * checkpoint) or NAME@TAG (its newest with that tag). An exact guest name wins over an id prefix.
 *
 * Returns: (transfer full): the manifest; STORE_ERROR_NOT_FOUND, _AMBIGUOUS (naming the
 * candidates).
 */
Manifest *store_manifest_find (Store *store, const char *reference, GError **error);

/**
 * store_manifest_roots:
 *
 * The names of the maps of all checkpoints that exist now; damaged manifests name none. Manifests
 * that were read before are listed, but not read again: they never change.
 *
 * Returns: (transfer full): set of ChunkName.
 */
GHashTable *store_manifest_roots (Store *store, GError **error);

/**
 * store_manifest_list:
 * @guest: (nullable): only of this guest
 * @damaged: (out) (optional): ids whose manifest cannot be read
 *
 * Returns: (transfer full) (element-type Manifest): all checkpoints, oldest first.
 */
GPtrArray *store_manifest_list (Store *store, const char *guest, GPtrArray **damaged,
                                GError **error);

/* Removes the manifest: the checkpoint is gone, its space goes with the next gc. */
gboolean store_manifest_remove (Store *store, const char *id, GError **error);

/* Tags, also those given later; a checkpoint may have several. Newly allocated, sorted. */
GStrv store_tags (Store *store, const Manifest *manifest, GError **error);

/**
 * store_tags_all:
 * @damaged: (out): how many tags cannot be read; gc removes them
 *
 * Returns: (transfer full) (element-type char* GPtrArray): the tags given later, lists of char* by
 * the id of the checkpoint. A manifest's own tag is not among them.
 */
GHashTable *store_tags_all (Store *store, guint *damaged, GError **error);

/* Gives a checkpoint one more tag, durable. */
gboolean store_tag_add (Store *store, const char *id, const char *tag, GError **error);
