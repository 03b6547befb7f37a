/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "state.h"

#include <vmckpt/util/error.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/json.h>
#include <vmckpt/util/process-json.h>

#include <string.h>
#include <sys/wait.h>

#define STATE_VERSION 1
#define STATE_MAX_BYTES 4096
#define STATE_MAX_DEPTH 3

static const char *const lease_names[] = {
  [LEASE_NONE] = "none",
  [LEASE_CHECKPOINT] = "checkpoint",
  [LEASE_CHECKPOINT_RESUME] = "checkpoint-resume",
  [LEASE_RESTORE] = "restore",
};

gboolean
keeper_record_write (const char *directory, const KeeperRecord *record, GError **error)
{
  g_autoptr (JsonObject) object = json_object_new();
  g_autofree char *path = g_build_filename (directory, GUEST_FILE_STATE, NULL);
  g_autofree char *boot = process_boot_id();
  const KeeperState *state = &record->public;

  json_object_set_int_member (object, "version", STATE_VERSION);
  json_object_set_string_member (object, "boot", boot);
  process_json_add (object, "keeper", state->keeper);
  process_json_add (object, "qemu", state->qemu);
  json_object_set_string_member (object, "lease", lease_names[record->lease]);
  if (record->guard.start_ticks != 0)
    process_json_add (object, "guard", record->guard);
  if (record->frozen)
    json_object_set_boolean_member (object, "frozen", TRUE);
  json_object_set_boolean_member (object, "exited", state->exited);
  json_object_set_int_member (object, "wait_status", state->wait_status);
  json_object_set_int_member (object, "exited_us", state->exited_us);

  g_autofree char *text = json_to_pretty (object);
  return fd_replace_file (path, text, strlen (text), error);
}

static LeaseKind
lease_from_name (const char *name)
{
  for (guint i = 0; i < G_N_ELEMENTS (lease_names); i++)
    if (g_str_equal (name, lease_names[i]))
      return i;
  return LEASE_NONE;
}

/* Wait status and time; both may be -1, which no unsigned reader takes. */
static gint64
get_int (JsonObject *object, const char *member)
{
  return json_object_get_int_member_with_default (object, member, -1);
}

gboolean
keeper_record_read (const char *directory, KeeperRecord *record, GError **error)
{
  g_autofree char *path = g_build_filename (directory, GUEST_FILE_STATE, NULL);
  ERROR_PREFIX (error, "%s", path);
  g_autofree char *text = NULL;
  g_autofree char *boot = process_boot_id();
  g_autoptr (JsonObject) object = NULL;
  KeeperState *state = &record->public;
  guint64 version;
  gsize len;

  *record = (KeeperRecord){ .public.wait_status = -1 };
  if (!g_file_get_contents (path, &text, &len, error))
    return FALSE;
  object = json_parse_bounded (text, len, STATE_MAX_BYTES, STATE_MAX_DEPTH, error);
  if (object == NULL || !json_get_uint64 (object, "version", &version, error))
    return FALSE;
  if (version != STATE_VERSION) {
    g_set_error (error, KEEPER_ERROR, KEEPER_ERROR_PROTOCOL,
                 "it has version %" G_GUINT64_FORMAT "; version %d is understood here", version,
                 STATE_VERSION);
    return FALSE;
  }
  if (!process_json_get (object, "keeper", &state->keeper, error) ||
      !process_json_get (object, "qemu", &state->qemu, error))
    return FALSE;
  if (json_object_has_member (object, "guard") &&
      !process_json_get (object, "guard", &record->guard, error))
    return FALSE;
  record->frozen = json_get_bool_or (object, "frozen", FALSE);
  record->lease = lease_from_name (json_get_string_or (object, "lease", ""));
  state->leased = record->lease != LEASE_NONE;
  state->exited = json_get_bool_or (object, "exited", FALSE);
  state->wait_status = get_int (object, "wait_status");
  state->exited_us = MAX (get_int (object, "exited_us"), 0);
  if (!g_str_equal (json_get_string_or (object, "boot", ""), boot)) {
    /* The machine was started anew: those pids mean nothing now. */
    state->keeper.start_ticks = 0;
    state->qemu.start_ticks = 0;
    record->guard.start_ticks = 0;
    state->exited = TRUE;
  }
  return TRUE;
}

gboolean
keeper_read_state (const char *directory, KeeperState *state, GError **error)
{
  KeeperRecord record;

  if (!keeper_record_read (directory, &record, error))
    return FALSE;
  *state = record.public;
  return TRUE;
}

char *
keeper_state_describe (const KeeperState *state)
{
  if (!state->exited)
    return g_strdup (process_id_alive (state->qemu) ? "running" : "gone, no one saw how it ended");
  if (state->wait_status == -1)
    return g_strdup ("gone, no one saw how it ended");
  if (WIFSIGNALED (state->wait_status))
    return g_strdup_printf ("killed by signal %d", WTERMSIG (state->wait_status));
  if (WEXITSTATUS (state->wait_status) != 0)
    return g_strdup_printf ("failed with status %d", WEXITSTATUS (state->wait_status));
  return g_strdup ("powered off");
}
