/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "boot-files.h"

#include <vmckpt/util/bytes.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/json.h>

#include <glib/gstdio.h>
#include <string.h>

/* More than any kernel or initrd has; read into memory whole. */
#define MAX_FILE (2048ull << 20)

/* The recorded { "sha256", "size" } of "kernel" or "initrd" in a machine record, or NULL. */
static const char *
recorded_hash (const Manifest *manifest, const char *role)
{
  JsonObject *file = json_get_object (manifest->machine, role, NULL);
  return file != NULL ? json_get_string_or (file, "sha256", NULL) : NULL;
}

static GMappedFile *
map_file (const char *path, GError **error)
{
  g_autoptr (GMappedFile) file = g_mapped_file_new (path, FALSE, error);

  if (file != NULL && g_mapped_file_get_length (file) > MAX_FILE) {
    g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_INVALID, "%s is larger than 2 GiB", path);
    return NULL;
  }
  return g_steal_pointer (&file);
}

static gboolean
store_one (StoreWriter *writer, const char *role, const char *path, const Manifest *parent,
           Manifest *manifest, GError **error)
{
  const ManifestPart *former = parent != NULL ? manifest_find_part (parent, role, NULL) : NULL;
  PageMap map;

  if (path == NULL)
    return TRUE;
  if (former != NULL &&
      g_strcmp0 (recorded_hash (parent, role), recorded_hash (manifest, role)) == 0) {
    /* A map with nothing put is its base, which the store now keeps for this writer. */
    g_autoptr (PageMapWriter) same =
        page_map_writer_new (writer, former->map.length, &former->map, error);
    if (same == NULL || !page_map_writer_finish (same, &map, NULL, error))
      return FALSE;
    manifest_add_part (manifest, role, "", &map);
    return TRUE;
  }
  g_autoptr (GMappedFile) file = map_file (path, error);
  if (file == NULL || !store_writer_put_data (writer, (guint8 *)g_mapped_file_get_contents (file),
                                              g_mapped_file_get_length (file), &map, error))
    return FALSE;
  manifest_add_part (manifest, role, "", &map);
  return TRUE;
}

gboolean
boot_files_store (StoreWriter *writer, const GuestSpec *spec, const Manifest *parent,
                  Manifest *manifest, GError **error)
{
  ERROR_PREFIX (error, "storing boot files");

  return store_one (writer, "kernel", spec->kernel, parent, manifest, error) &&
         store_one (writer, "initrd", spec->initrd, parent, manifest, error);
}

/* TRUE if @path holds what was recorded. */
static gboolean
holds (FileHashes *hashes, const char *path, const char *sha256)
{
  g_autofree char *hash = sha256 != NULL ? file_hashes_get (hashes, path, NULL, NULL) : NULL;

  return hash != NULL && g_str_equal (hash, sha256);
}

static gboolean
provide_one (Store *store, const Manifest *manifest, const char *role, const char *directory,
             FileHashes *hashes, char **path, GError **error)
{
  const ManifestPart *part = manifest_find_part (manifest, role, NULL);
  const char *sha256 = recorded_hash (manifest, role);

  if (*path == NULL || part == NULL || holds (hashes, *path, sha256))
    return TRUE;
  g_autofree char *name = bytes_to_hex (part->map.root.bytes, CHUNK_NAME_BYTES);
  g_autofree char *own = g_build_filename (directory, name, NULL);
  if (!holds (hashes, own, sha256)) {
    g_autoptr (GBytes) bytes = store_read_data (store, &part->map, MAX_FILE, error);
    gsize len;
    if (bytes == NULL)
      return FALSE;
    const char *data = g_bytes_get_data (bytes, &len);
    g_mkdir_with_parents (directory, 0700);
    if (!g_file_set_contents_full (own, data, len, G_FILE_SET_CONTENTS_CONSISTENT, 0600, error))
      return FALSE;
  }
  g_free (*path);
  *path = g_steal_pointer (&own);
  return TRUE;
}

gboolean
boot_files_provide (Store *store, const Manifest *manifest, const char *directory,
                    FileHashes *hashes, GuestSpec *spec, GError **error)
{
  ERROR_PREFIX (error, "providing boot files");

  return provide_one (store, manifest, "kernel", directory, hashes, &spec->kernel, error) &&
         provide_one (store, manifest, "initrd", directory, hashes, &spec->initrd, error);
}
