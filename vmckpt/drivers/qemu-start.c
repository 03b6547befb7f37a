/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starting, finding again and ending the QEMU of a guest directory. */
#include <vmckpt/drivers/qemu.h>

#include "private-context.h"
#include "tpm.h"

#include <vmckpt/qmp/commands.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/json.h>

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define START_TIMEOUT_MS 20000
#define MONITOR_TIMEOUT_MS 5000
#define QUIT_TIMEOUT_MS 3000  /* for a QEMU that was asked to quit */
#define KILL_TIMEOUT_MS 10000 /* for one that was killed: the kernel gives its memory back */
#define RECORD_TIMEOUT_MS 5000
#define REMNANT_TIMEOUT_MS 10000 /* for a start that its daemon did not live to see end */
#define REMNANT_STEP_US 20000
#define SPEC_MAX_BYTES (4 * 1024 * 1024)
#define SPEC_MAX_DEPTH 8

static const char *const guest_files[] = {
  GUEST_FILE_SPEC,
  GUEST_FILE_MONITOR,
  GUEST_FILE_KEEPER_MONITOR,
  GUEST_FILE_SERIAL,
  GUEST_FILE_KEEPER,
  GUEST_FILE_CONSOLE,
  GUEST_FILE_LOG,
  GUEST_FILE_LOG_OLD,
  GUEST_FILE_STDERR,
  GUEST_FILE_STATE,
  GUEST_FILE_DAEMON,
  GUEST_FILE_TEMPLATE,
  GUEST_FILE_DISKS,
  GUEST_FILE_FILL,
  GUEST_FILE_AGENT,
  GUEST_FILE_TPM,
  GUEST_FILE_TPM_LOG,
  GUEST_FILE_TPM_STATE,
  GUEST_FILE_TPM_LOCK,
  GUEST_FILE_BRIDGE,
  GUEST_FILE_MIGRATION,
  GUEST_FILE_BRIDGE_LOCK,
  GUEST_FILE_BRIDGE_LOG,
  GUEST_FILE_SCHEDULES,
  "arrival.json",
  "incoming.sock",
  "mirror.sock", /* of a guest that comes from another host */
};

void
qemu_guest_clear (QemuGuest *guest)
{
  g_clear_pointer (&guest->monitor, qmp_client_unref);
  g_clear_pointer (&guest->keeper, keeper_free);
}

/* One of ours, or what a killed process left of one that it was replacing (NAME.XXXXXX). */
static gboolean
is_guest_file (const char *name)
{
  for (guint i = 0; i < G_N_ELEMENTS (guest_files); i++) {
    gsize len = strlen (guest_files[i]);
    if (strncmp (name, guest_files[i], len) == 0 && (name[len] == 0 || name[len] == '.'))
      return TRUE;
  }
  return FALSE;
}

void
qemu_remove_directory (const char *directory)
{
  g_autoptr (GDir) files = g_dir_open (directory, 0, NULL);
  const char *name;

  while (files != NULL && (name = g_dir_read_name (files)) != NULL) {
    g_autofree char *path = g_build_filename (directory, name, NULL);
    if (is_guest_file (name))
      unlink (path);
  }
  rmdir (directory);
}

/* ---- guest.json ---- */

gboolean
qemu_write_spec (const GuestSpec *spec, const char *directory, GError **error)
{
  g_autofree char *path = g_build_filename (directory, GUEST_FILE_SPEC, NULL);
  g_autoptr (JsonObject) object = guest_spec_to_json (spec);
  g_autofree char *text = json_to_pretty (object);

  return g_file_set_contents_full (path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, error);
}

GuestSpec *
qemu_read_spec (const char *directory, GError **error)
{
  g_autofree char *path = g_build_filename (directory, GUEST_FILE_SPEC, NULL);
  ERROR_PREFIX (error, "%s", path);
  g_autofree char *text = NULL;
  gsize len;

  if (!g_file_get_contents (path, &text, &len, error))
    return NULL;
  g_autoptr (JsonObject) object =
      json_parse_bounded (text, len, SPEC_MAX_BYTES, SPEC_MAX_DEPTH, error);
  return object != NULL ? guest_spec_from_json (object, error) : NULL;
}

/* ---- Start ---- */

/* The daemon reaches the sockets by their whole names, which the kernel bounds. */
static gboolean
check_directory_length (const char *directory, GError **error)
{
  struct sockaddr_un address;
  gsize room = sizeof address.sun_path - sizeof "/" GUEST_FILE_CONSOLE;

  if (strlen (directory) <= room)
    return TRUE;
  g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_INVALID,
               "the guest's directory '%s' has %zu bytes and socket names allow %zu: choose a "
               "shorter runtime directory",
               directory, strlen (directory), room);
  return FALSE;
}

/* Connects the daemon's monitor. */
static gboolean
connect_monitor (const char *directory, QemuGuest *guest, GError **error)
{
  g_autofree char *path = g_build_filename (directory, GUEST_FILE_MONITOR, NULL);
  g_autoptr (GError) cause = NULL;

  guest->monitor = qmp_client_connect (path, MONITOR_TIMEOUT_MS, &cause);
  if (guest->monitor != NULL)
    return TRUE;
  g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_FAILED,
               "QEMU does not answer on its monitor (%s); the guest was not touched",
               cause->message);
  return FALSE;
}

/* What @start does, without undoing anything. */
static gboolean
start_in (const GuestSpec *spec, const char *directory, const QemuLaunch *launch, QemuGuest *guest,
          GError **error)
{
  g_auto (GStrv) argv = qemu_command_line (spec, directory, launch);
  KeeperLaunch start = { .argv = (const char *const *)argv,
                         .preload = launch->preload,
                         .n_fds = launch->n_fds,
                         .incoming = launch->incoming,
                         .timeout_ms = START_TIMEOUT_MS };
  g_autoptr (GError) cause = NULL;

  if (!qemu_write_spec (spec, directory, error) || (spec->tpm && !tpm_start (directory, error)))
    return FALSE;
  memcpy (start.fds, launch->fds, sizeof start.fds);
  guest->keeper = keeper_start (directory, &start, &cause);
  if (guest->keeper == NULL) {
    g_set_error_literal (error, DRIVER_ERROR, DRIVER_ERROR_FAILED, cause->message);
    return FALSE;
  }
  return connect_monitor (directory, guest, error);
}

/* TRUE if a process of a guest works there. */
static gboolean
is_in_use (const char *directory)
{
  KeeperState state;

  return keeper_read_state (directory, &state, NULL) &&
         (process_id_alive (state.qemu) || process_id_alive (state.keeper));
}

/* The name is the caller's, so what is there under it is what a killed daemon has left of a start,
 * which its keeper may be about to end, making files until then. */
static gboolean
make_directory (const char *directory, GError **error)
{
  gint64 deadline = g_get_monotonic_time() + REMNANT_TIMEOUT_MS * G_TIME_SPAN_MILLISECOND;
  int result;

  while ((result = mkdir (directory, 0700)) < 0 && errno == EEXIST) {
    if (g_get_monotonic_time() > deadline) {
      errno = EEXIST;
      break;
    }
    if (!is_in_use (directory))
      qemu_remove_directory (directory);
    g_usleep (REMNANT_STEP_US);
  }
  if (result == 0)
    return TRUE;
  g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_FAILED, "making %s: %s", directory,
               g_strerror (errno));
  return FALSE;
}

gboolean
qemu_start (const GuestSpec *spec, const char *directory, const QemuLaunch *launch,
            QemuGuest *guest, GError **error)
{
  ERROR_PREFIX (error, "starting guest %s", spec->name);

  *guest = (QemuGuest){ 0 };
  if (!check_directory_length (directory, error) || !make_directory (directory, error))
    return FALSE;
  if (start_in (spec, directory, launch, guest, error))
    return TRUE;
  qemu_guest_clear (guest);
  qemu_end (directory, NULL, NULL);
  qemu_remove_directory (directory);
  return FALSE;
}

/* ---- Attach ---- */

/* Replaces a keeper that was killed. If it held no lease, a guest that is stopped was stopped on
 * purpose. */
static Keeper *
replace_keeper (const char *directory, GuestDriver driver, const KeeperState *state, GError **error)
{
  KeeperAdopt how = driver == GUEST_DRIVER_QEMU ? 0 : KEEPER_ADOPT_FOREIGN;

  if (!state->leased) {
    g_autofree char *path = g_build_filename (directory, GUEST_FILE_MONITOR, NULL);
    g_auto (PrivateContext) home = private_context_push();
    g_autoptr (QmpClient) monitor = qmp_client_connect (path, MONITOR_TIMEOUT_MS, NULL);
    g_autofree char *status = monitor != NULL ? qmp_query_status (monitor, NULL) : NULL;
    if (status == NULL) {
      /* Whether it is stopped on purpose cannot be known: better no keeper yet than a wrong one. */
      g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_FAILED, "QEMU does not answer on its monitor");
      return NULL;
    }
    if (!g_str_equal (status, "running"))
      how |= KEEPER_ADOPT_PAUSED;
  }
  return keeper_adopt (directory, state->qemu, how, error);
}

static Keeper *
find_keeper (const char *directory, GuestDriver driver, const KeeperState *state, GError **error)
{
  g_autoptr (GError) cause = NULL;
  Keeper *keeper = NULL;

  if (process_id_alive (state->keeper))
    keeper = keeper_attach (directory, &cause);
  else
    keeper = replace_keeper (directory, driver, state, &cause);
  if (keeper == NULL)
    g_set_error_literal (error, DRIVER_ERROR, DRIVER_ERROR_FAILED, cause->message);
  return keeper;
}

gboolean
qemu_adopt (const GuestSpec *spec, const char *directory, ProcessId qemu, QemuGuest *guest,
            GError **error)
{
  g_autoptr (GError) cause = NULL;

  *guest = (QemuGuest){ 0 };
  if (!qemu_write_spec (spec, directory, error))
    return FALSE;
  guest->keeper = keeper_adopt (directory, qemu, KEEPER_ADOPT_FOREIGN, &cause);
  if (guest->keeper == NULL)
    g_set_error_literal (error, DRIVER_ERROR, DRIVER_ERROR_FAILED, cause->message);
  else if (connect_monitor (directory, guest, error))
    return TRUE;
  qemu_guest_clear (guest);
  return FALSE;
}

gboolean
qemu_attach (const char *directory, GuestDriver driver, QemuGuest *guest, GError **error)
{
  ERROR_PREFIX (error, "guest in %s", directory);
  g_autoptr (GError) cause = NULL;
  KeeperState state;

  *guest = (QemuGuest){ 0 };
  if (!keeper_read_state (directory, &state, &cause)) {
    g_set_error_literal (error, DRIVER_ERROR, DRIVER_ERROR_NOT_FOUND, cause->message);
    return FALSE;
  }
  if (!process_id_alive (state.qemu)) {
    /* Its keeper may be about to write down how it ended. */
    process_id_wait_gone (state.keeper, RECORD_TIMEOUT_MS);
    keeper_read_state (directory, &state, NULL);
    g_autofree char *how = keeper_state_describe (&state);
    g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_NOT_FOUND, "its QEMU is gone (%s)", how);
    return FALSE;
  }
  guest->keeper = find_keeper (directory, driver, &state, error);
  if (guest->keeper != NULL && connect_monitor (directory, guest, error))
    return TRUE;
  qemu_guest_clear (guest);
  return FALSE;
}

/* ---- End ---- */

/* qemu_end() but for what other processes than QEMU's and its keeper's are left. */
static gboolean
end_qemu (const char *directory, QmpClient *monitor, GError **error)
{
  g_autoptr (GError) cause = NULL;
  KeeperState state;

  if (!keeper_read_state (directory, &state, &cause)) {
    if (g_error_matches (cause, G_FILE_ERROR, G_FILE_ERROR_NOENT))
      return TRUE;
    g_propagate_error (error, g_steal_pointer (&cause));
    return FALSE;
  }
  if (process_id_alive (state.qemu)) {
    g_autoptr (JsonNode) done = NULL;
    gint64 begun = g_get_monotonic_time();
    if (monitor != NULL)
      done = qmp_client_execute (monitor, "quit", NULL, -1, QUIT_TIMEOUT_MS, NULL, NULL);
    gint64 left = QUIT_TIMEOUT_MS - (g_get_monotonic_time() - begun) / 1000;
    if (done == NULL || !process_id_wait_gone (state.qemu, MAX (left, 1)))
      process_id_signal (state.qemu, SIGKILL);
  }
  if (!process_id_wait_gone (state.qemu, KILL_TIMEOUT_MS)) {
    g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_FAILED, "process %d survives SIGKILL",
                 (int)state.qemu.pid);
    return FALSE;
  }
  if (!process_id_wait_gone (state.keeper, RECORD_TIMEOUT_MS)) {
    g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_FAILED, "its keeper (process %d) does not end",
                 (int)state.keeper.pid);
    return FALSE;
  }
  return TRUE;
}

gboolean
qemu_end (const char *directory, QmpClient *monitor, GError **error)
{
  ERROR_PREFIX (error, "ending the guest in %s", directory);

  if (!end_qemu (directory, monitor, error))
    return FALSE;
  tpm_abandon (directory);
  return TRUE;
}
