/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fsck: every file system, as its guest would find it after the power had gone: mounted once, so
 * that its journal is replayed, then checked by its own program. All of it on the layer above the
 * disk.
 */
#include "place.h"
#include "work.h"

#include <vmckpt/inspect/inspector.h>
#include <vmckpt/util/json.h>

#include <stdlib.h>
#include <string.h>

#define DETAIL_MAX 4000

typedef enum {
  STATE_CLEAN,    /* nothing to complain about, but for what the journal put right */
  STATE_REPAIRED, /* its own program put right what it does without asking, as at boot */
  STATE_BROKEN,
  STATE_NOT_CHECKED,
} State;

static const char *const state_names[] = {
  [STATE_CLEAN] = "clean",
  [STATE_REPAIRED] = "repaired",
  [STATE_BROKEN] = "broken",
  [STATE_NOT_CHECKED] = "not-checked",
};

typedef struct {
  State state;
  char *detail; /* (nullable) */
} Verdict;

static Verdict
verdict (State state, const char *detail)
{
  char *text = detail != NULL ? reply_text (detail, DETAIL_MAX) : NULL;
  return (Verdict){ state, text != NULL ? g_strstrip (text) : NULL };
}

/* ---- Running a checker ---- */

/* What each type is checked with, without changing anything, and what its system's boot would put
 * right by itself. Both end with 0 if all is well; a repair also with 1. */
static const struct {
  const char *type, *check, *repair;
} checkers[] = {
  { "ext2", "e2fsck -f -n", "e2fsck -f -p" },          { "ext3", "e2fsck -f -n", "e2fsck -f -p" },
  { "ext4", "e2fsck -f -n", "e2fsck -f -p" },          { "xfs", "xfs_repair -n", NULL },
  { "btrfs", "btrfs check --readonly --force", NULL }, { "vfat", "fsck.vfat -n", "fsck.vfat -a" },
};

#define STATUS "\nstatus "
#define NO_PROGRAM 126 /* and 127: what a shell says of it */

/* Runs @command on the file system in the appliance, not in the guest's tree. libguestfs has no
 * call for checkers that only look, nor one that tells what they said. */
static gboolean
run_checker (Appliance *appliance, const char *command, const FileSystem *fs, char **said,
             int *status)
{
  g_autofree char *device = appliance_device (appliance, fs->device);

  *said = NULL;
  if (device == NULL)
    return FALSE;
  g_autofree char *line =
      g_strdup_printf ("{ %s %s </dev/null; printf '\\nstatus %%d\\n' $?; } 2>&1 | tail -c %d",
                       command, device, DETAIL_MAX);
  char *args[] = { line, NULL };
  g_autoptr (GuestfsString) output = guestfs_debug (appliance->g, "sh", args);
  char *last = output != NULL ? g_strrstr (output, STATUS) : NULL;
  if (last == NULL)
    return FALSE;
  *last = '\0';
  *status = atoi (last + strlen (STATUS));
  *said = reply_text (output, DETAIL_MAX);
  g_strstrip (*said);
  return *status != NO_PROGRAM && *status != NO_PROGRAM + 1;
}

/* As the guest's kernel does it at boot. */
static gboolean
replay_journal (Appliance *appliance, const FileSystem *fs)
{
  if (guestfs_mount (appliance->g, fs->device, "/") < 0)
    return FALSE;
  return guestfs_umount_all (appliance->g) == 0;
}

static Verdict
run_checks (Appliance *appliance, const FileSystem *fs, const char *look, const char *repair)
{
  g_autofree char *why = NULL;
  g_autofree char *said = NULL;
  g_autofree char *more = NULL;
  int status;

  if (!replay_journal (appliance, fs))
    why = g_strdup_printf ("it cannot be mounted: %s", guestfs_last_error (appliance->g));
  guestfs_umount_all (appliance->g);
  if (!run_checker (appliance, look, fs, &said, &status))
    return verdict (why != NULL ? STATE_BROKEN : STATE_NOT_CHECKED,
                    why != NULL ? why : "its checker does not run in the appliance");
  if (status == 0)
    return verdict (why != NULL ? STATE_BROKEN : STATE_CLEAN, why);
  if (repair == NULL || !run_checker (appliance, repair, fs, &more, &status) || status > 1)
    return verdict (STATE_BROKEN, said);
  g_clear_pointer (&more, g_free);
  return verdict (run_checker (appliance, look, fs, &more, &status) && status == 0 &&
                          replay_journal (appliance, fs)
                      ? STATE_REPAIRED
                      : STATE_BROKEN,
                  said);
}

static Verdict
check (Appliance *appliance, const FileSystem *fs)
{
  for (guint i = 0; i < G_N_ELEMENTS (checkers); i++)
    if (g_str_equal (fs->type, checkers[i].type))
      return run_checks (appliance, fs, checkers[i].check, checkers[i].repair);
  if (g_str_equal (fs->type, "crypto_LUKS") || g_str_equal (fs->type, "BitLocker"))
    return verdict (STATE_NOT_CHECKED, "it is encrypted by the guest");
  if (g_str_equal (fs->type, "swap"))
    return verdict (STATE_NOT_CHECKED, "swap space has nothing to check");
  if (g_str_equal (fs->type, "unknown"))
    return verdict (STATE_NOT_CHECKED, "there is no file system that is known here");
  return verdict (STATE_NOT_CHECKED, "there is no check for this type");
}

/* A subvolume is checked with the file system that it is in. */
static gboolean
is_part_of_another (const FileSystem *fs)
{
  return g_str_has_prefix (fs->device, "btrfsvol:");
}

static JsonObject *
describe (const FileSystem *fs, const Verdict *found)
{
  JsonObject *object = json_object_new();

  json_object_set_string_member (object, "volume", fs->volume);
  json_object_set_string_member (object, "fs", fs->type);
  json_object_set_string_member (object, "state", state_names[found->state]);
  json_set_string_or_null (object, "detail", found->detail);
  return object;
}

JsonObject *
work_fsck (Appliance *appliance, const InspectRequest *request, GError **error)
{
  g_autoptr (GPtrArray) all = NULL;
  guint counts[G_N_ELEMENTS (state_names)] = { 0 };

  if (!place_unmount (appliance, error))
    return NULL;
  appliance_set_phase (appliance, "check");
  all = place_list (appliance, error);
  if (all == NULL)
    return NULL;
  JsonObject *result = json_object_new();
  JsonArray *array = json_array_new();
  appliance->dirtied = TRUE;
  for (guint i = 0; i < all->len; i++) {
    const FileSystem *fs = all->pdata[i];
    if (is_part_of_another (fs))
      continue;
    reply_status (appliance->reply, "check", (double)i / all->len);
    Verdict found = check (appliance, fs);
    guestfs_umount_all (appliance->g);
    counts[found.state]++;
    json_array_add_object_element (array, describe (fs, &found));
    g_free (found.detail);
  }
  json_object_set_array_member (result, "filesystems", array);
  json_object_set_int_member (result, "broken", counts[STATE_BROKEN]);
  json_object_set_int_member (result, "checked",
                              counts[STATE_CLEAN] + counts[STATE_REPAIRED] + counts[STATE_BROKEN]);
  return result;
}
