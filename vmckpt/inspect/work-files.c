/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ls and files: names and attributes, without content. */
#include "file-list.h"
#include "place.h"
#include "relay.h"
#include "work.h"

#include <vmckpt/inspect/inspector.h>
#include <vmckpt/util/json.h>

#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define BATCH 500 /* files in a frame */

typedef struct {
  Appliance *appliance;
  JsonArray *batch;
  guint64 files, bytes;
  GHashTable *sums; /* (nullable): path below the start → SHA-256 */
} Listing;

static void
listing_clear (Listing *listing)
{
  g_clear_pointer (&listing->batch, json_array_unref);
  g_clear_pointer (&listing->sums, g_hash_table_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Listing, listing_clear)

/* FALSE with @error once nobody reads. */
static gboolean
send_batch (Listing *listing, GError **error)
{
  JsonObject *object = json_object_new();

  json_object_set_array_member (object, "files", listing->batch);
  listing->batch = json_array_new();
  if (reply_object (listing->appliance->reply, "files", object))
    return TRUE;
  g_set_error_literal (error, INSPECT_ERROR, INSPECT_ERROR_FAILED, "nobody reads the answer");
  return FALSE;
}

static const char *
type_name (guint mode)
{
  switch (mode & S_IFMT) {
  case S_IFREG:
    return "file";
  case S_IFDIR:
    return "directory";
  case S_IFLNK:
    return "symlink";
  case S_IFCHR:
    return "character-device";
  case S_IFBLK:
    return "block-device";
  case S_IFIFO:
    return "fifo";
  case S_IFSOCK:
    return "socket";
  default:
    return "unknown";
  }
}

/* @name: as it is told; @sum: (nullable). */
static JsonObject *
describe_file (const char *name, const struct guestfs_statns *st, const char *target,
               const char *sum)
{
  JsonObject *file = json_object_new();

  reply_set_bytes (file, "path", name);
  json_object_set_string_member (file, "kind", type_name (st->st_mode));
  json_object_set_int_member (file, "mode", st->st_mode & 07777);
  json_object_set_int_member (file, "uid", st->st_uid);
  json_object_set_int_member (file, "gid", st->st_gid);
  json_object_set_int_member (file, "bytes", S_ISREG (st->st_mode) ? st->st_size : 0);
  json_object_set_int_member (file, "modified_us",
                              st->st_mtime_sec * G_USEC_PER_SEC + st->st_mtime_nsec / 1000);
  if (target != NULL)
    reply_set_bytes (file, "target", target);
  if (S_ISCHR (st->st_mode) || S_ISBLK (st->st_mode)) {
    g_autofree char *numbers =
        g_strdup_printf ("%u:%u", gnu_dev_major (st->st_rdev), gnu_dev_minor (st->st_rdev));
    json_object_set_string_member (file, "device", numbers);
  }
  if (sum != NULL)
    json_object_set_string_member (file, "sha256", sum);
  return file;
}

static gboolean
add_file (Listing *listing, JsonObject *file, const struct guestfs_statns *st, GError **error)
{
  json_array_add_object_element (listing->batch, file);
  listing->files++;
  if (S_ISREG (st->st_mode))
    listing->bytes += st->st_size;
  return json_array_get_length (listing->batch) < BATCH || send_batch (listing, error);
}

/* Where symbolic links of @names point, "" for what is none; NULL if there are none. */
static char **
read_links (Appliance *appliance, const char *directory, char **names,
            const struct guestfs_statns_list *stats)
{
  for (guint i = 0; i < stats->len; i++)
    if (S_ISLNK (stats->val[i].st_mode))
      return guestfs_readlinklist (appliance->g, directory, names);
  return NULL;
}

/* The files @names of @directory; @prefix comes before their names. */
static gboolean
list_names (Listing *listing, const char *directory, const char *prefix, char **names,
            GError **error)
{
  Appliance *appliance = listing->appliance;
  struct guestfs_statns_list *stats = guestfs_lstatnslist (appliance->g, directory, names);
  gboolean done = TRUE;

  if (stats == NULL)
    return appliance_fail (appliance, error, "%s", directory);
  g_autoptr (GuestfsStrings) links = read_links (appliance, directory, names, stats);
  guint n_links = links != NULL ? g_strv_length (links) : 0;
  for (guint i = 0; done && i < stats->len && names[i] != NULL; i++) {
    const struct guestfs_statns *st = &stats->val[i];
    g_autofree char *path = g_strconcat (prefix, names[i], NULL);
    /* A directory that cannot be read tells names, and nothing else of them. */
    if (st->st_ino < 0) {
      reply_message (appliance->reply, "%s in %s: its attributes cannot be read", names[i],
                     directory);
      continue;
    }
    done = add_file (
        listing,
        describe_file (path, st, S_ISLNK (st->st_mode) && i < n_links ? links[i] : NULL,
                       listing->sums != NULL ? g_hash_table_lookup (listing->sums, path) : NULL),
        st, error);
  }
  guestfs_free_statns_list (stats);
  return done;
}

static JsonObject *
finish (Listing *listing, GError **error)
{
  if (!send_batch (listing, error))
    return NULL;
  JsonObject *result = json_object_new();
  json_object_set_int_member (result, "files", listing->files);
  json_object_set_int_member (result, "bytes", listing->bytes);
  return result;
}

/* ---- ls ---- */

static int
compare_names (const void *a, const void *b)
{
  return strcmp (*(char *const *)a, *(char *const *)b);
}

static gboolean
list_directory (Listing *listing, const char *path, GError **error)
{
  g_autoptr (GuestfsStrings) names = guestfs_ls (listing->appliance->g, path);

  if (names == NULL)
    return appliance_fail (listing->appliance, error, "%s", path);
  qsort (names, g_strv_length (names), sizeof *names, compare_names);
  return names[0] == NULL || list_names (listing, path, "", names, error);
}

JsonObject *
work_ls (Appliance *appliance, const InspectRequest *request, GError **error)
{
  g_auto (Listing) listing = { .appliance = appliance, .batch = json_array_new() };
  struct guestfs_statns *st;
  gboolean done;

  if (!place_mount (appliance, request->volume, error))
    return NULL;
  appliance_set_phase (appliance, "read");
  st = guestfs_lstatns (appliance->g, request->path);
  if (st == NULL) {
    appliance_fail (appliance, error, "%s", request->path);
    return NULL;
  }
  if (S_ISDIR (st->st_mode)) {
    done = list_directory (&listing, request->path, error);
  } else {
    g_autoptr (GuestfsString) target =
        S_ISLNK (st->st_mode) ? guestfs_readlink (appliance->g, request->path) : NULL;
    done = add_file (&listing, describe_file (request->path, st, target, NULL), st, error);
  }
  guestfs_free_statns (st);
  return done ? finish (&listing, error) : NULL;
}

/* ---- files ---- */

static gboolean
on_names (const guint8 *data, gsize len, gpointer user_data)
{
  return file_list_add (user_data, data, len);
}

static FileList *
find_names (Appliance *appliance, const char *path, GError **error)
{
  g_autoptr (FileList) list = file_list_new();
  Relay *relay = relay_begin (on_names, list, error);

  if (relay == NULL)
    return NULL;
  int found = guestfs_find0 (appliance->g, path, relay_name (relay));
  if (!relay_end (relay)) {
    g_set_error (error, INSPECT_ERROR, INSPECT_ERROR_FAILED,
                 "%s: more than %u files, which is more than can be listed; name a directory in it",
                 path, FILE_LIST_NAMES_MAX);
    return NULL;
  }
  if (found < 0) {
    appliance_fail (appliance, error, "%s", path);
    return NULL;
  }
  return g_steal_pointer (&list);
}

typedef struct {
  GHashTable *sums;
  GByteArray *line;
} SumLines;

static gboolean
on_sums (const guint8 *data, gsize len, gpointer user_data)
{
  SumLines *lines = user_data;

  for (gsize i = 0; i < len; i++) {
    guint8 byte = data[i] == '\n' ? '\0' : data[i];
    g_byte_array_append (lines->line, &byte, 1);
    if (byte == '\0') {
      file_list_add_sum (lines->sums, (const char *)lines->line->data);
      g_byte_array_set_size (lines->line, 0);
    }
  }
  return g_hash_table_size (lines->sums) <= FILE_LIST_NAMES_MAX;
}

static GHashTable *
sum_files (Appliance *appliance, const char *path, GError **error)
{
  g_autoptr (GHashTable) sums = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  g_autoptr (GByteArray) line = g_byte_array_new();
  SumLines lines = { sums, line };
  Relay *relay = relay_begin (on_sums, &lines, error);

  if (relay == NULL)
    return NULL;
  appliance_set_phase (appliance, "checksums");
  int done = guestfs_checksums_out (appliance->g, "sha256", path, relay_name (relay));
  relay_end (relay);
  if (done < 0) {
    appliance_fail (appliance, error, "checksums of %s", path);
    return NULL;
  }
  return g_steal_pointer (&sums);
}

static gboolean
list_found (Listing *listing, const FileList *list, const char *path, GError **error)
{
  const char *start = g_str_equal (path, "/") ? "" : path;

  for (guint i = 0; i < list->order->len; i++) {
    const char *directory = list->order->pdata[i];
    GPtrArray *names = g_hash_table_lookup (list->directories, directory);
    g_autofree char *where =
        directory[0] != '\0' ? g_strconcat (start, "/", directory, NULL) : g_strdup (path);
    g_autofree char *prefix =
        directory[0] != '\0' ? g_strconcat (directory, "/", NULL) : g_strdup ("");

    reply_status (listing->appliance->reply, "read", (double)i / list->order->len);
    g_ptr_array_add (names, NULL);
    gboolean done = list_names (listing, where, prefix, (char **)names->pdata, error);
    g_ptr_array_set_size (names, names->len - 1);
    if (!done)
      return FALSE;
  }
  return TRUE;
}

JsonObject *
work_files (Appliance *appliance, const InspectRequest *request, GError **error)
{
  g_auto (Listing) listing = { .appliance = appliance, .batch = json_array_new() };
  g_autoptr (FileList) list = NULL;

  if (!place_mount (appliance, request->volume, error))
    return NULL;
  appliance_set_phase (appliance, "read");
  list = find_names (appliance, request->path, error);
  if (list == NULL)
    return NULL;
  if (request->checksums) {
    listing.sums = sum_files (appliance, request->path, error);
    if (listing.sums == NULL)
      return NULL;
    appliance_set_phase (appliance, "read");
  }
  return list_found (&listing, list, request->path, error) ? finish (&listing, error) : NULL;
}
