/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rescue.h"

#include "drain.h"
#include "unprotect.h"

#include <vmckpt/keeper/keeper.h>
#include <vmckpt/qmp/client.h>
#include <vmckpt/qmp/commands.h>
#include <vmckpt/qmp/migration-settings.h>

#define ASK_TIMEOUT_MS 1000   /* for one answer of QEMU */
#define ASK_INTERVAL_US 20000 /* between questions */
/* How long nothing may move before the protection is taken off by force: shortly when QEMU does not
 * answer or says that it is giving up, long while it says that it is at work. */
#define PATIENCE_SILENT_US (G_USEC_PER_SEC * 8 / 10)
#define PATIENCE_ACTIVE_US (30 * G_USEC_PER_SEC)
/* Taking it off by force so often without effect ends the attempt. */
#define FORCE_MAX 8

typedef struct {
  char *monitor_path;
  ProcessId qemu;
  gboolean resume;
  Drain *drain;
  QmpClient *monitor; /* (nullable): connected when needed */
  RescueReport report;
} Rescue;

typedef enum {
  MIGRATION_OVER,   /* none, or ended well */
  MIGRATION_FAILED, /* ended, and may have left something behind */
  MIGRATION_ACTIVE, /* goes on; @moved tells how far it is */
  MIGRATION_STUCK,  /* "cancelling": on QEMU 7.2 it may never get further */
  MIGRATION_SILENT, /* QEMU does not answer */
} MigrationState;

static void
rescue_free (gpointer data)
{
  Rescue *rescue = data;

  drain_free (rescue->drain);
  g_clear_pointer (&rescue->monitor, qmp_client_unref);
  g_free (rescue->monitor_path);
  g_free (rescue);
}

/* The monitor, connected (again) if it is not; NULL when QEMU does not let us in. */
static QmpClient *
monitor_of (Rescue *rescue)
{
  if (rescue->monitor != NULL && qmp_client_connected (rescue->monitor))
    return rescue->monitor;
  g_clear_pointer (&rescue->monitor, qmp_client_unref);
  rescue->monitor = qmp_client_connect (rescue->monitor_path, ASK_TIMEOUT_MS, NULL);
  return rescue->monitor;
}

static JsonObject *
ask (Rescue *rescue, const char *command, JsonObject *arguments)
{
  QmpClient *monitor = monitor_of (rescue);
  g_autoptr (JsonNode) node = NULL;

  if (monitor == NULL) {
    g_clear_pointer (&arguments, json_object_unref);
    return NULL;
  }
  node = qmp_client_execute (monitor, command, arguments, -1, ASK_TIMEOUT_MS, NULL, NULL);
  if (node == NULL || !JSON_NODE_HOLDS_OBJECT (node))
    return NULL;
  return json_node_dup_object (node);
}

/* @moved: (out): bytes that QEMU says it has sent. */
static MigrationState
ask_migration (Rescue *rescue, guint64 *moved)
{
  g_autoptr (JsonObject) answer = ask (rescue, "query-migrate", NULL);

  *moved = 0;
  if (answer == NULL)
    return MIGRATION_SILENT;

  const char *status = json_object_get_string_member_with_default (answer, "status", "none");
  if (json_object_has_member (answer, "ram")) {
    JsonNode *ram = json_object_get_member (answer, "ram");
    if (JSON_NODE_HOLDS_OBJECT (ram))
      *moved =
          json_object_get_int_member_with_default (json_node_get_object (ram), "transferred", 0);
  }
  if (g_str_equal (status, "none") || g_str_equal (status, "completed"))
    return MIGRATION_OVER;
  if (g_str_equal (status, "failed") || g_str_equal (status, "cancelled"))
    return MIGRATION_FAILED;
  /* A migration to another host waits here for a word of the daemon's, which will not come. */
  g_autoptr (JsonObject) cancelled G_GNUC_UNUSED =
      g_str_equal (status, "pre-switchover") ? ask (rescue, "migrate_cancel", NULL) : NULL;
  return g_str_equal (status, "cancelling") ? MIGRATION_STUCK : MIGRATION_ACTIVE;
}

static void
free_memory (Rescue *rescue)
{
  g_autoptr (GError) error = NULL;
  guint ranges = 0;

  if (!unprotect_memory (rescue->qemu, &ranges, &error))
    g_printerr ("keeper: taking write-protection off the guest's memory: %s\n", error->message);
  rescue->report.ranges += ranges;
}

/* Waits until QEMU says twice in a row that no migration is going on: a `migrate` that the daemon
 * sent with its last breath may still be on its way in when it is first asked. */
static void
settle (Rescue *rescue)
{
  gint64 last_move = g_get_monotonic_time();
  guint64 seen = 0;
  guint over = 0, forced = 0;

  while (over < 2 && forced < FORCE_MAX && process_id_alive (rescue->qemu)) {
    guint64 moved;
    MigrationState state = ask_migration (rescue, &moved);
    gint64 now = g_get_monotonic_time();

    moved += drain_bytes (rescue->drain);
    if (moved != seen)
      last_move = now;
    seen = moved;
    over = state <= MIGRATION_FAILED ? over + 1 : 0;
    if (over == 2 && state == MIGRATION_FAILED)
      free_memory (rescue);

    gint64 patience = state == MIGRATION_ACTIVE ? PATIENCE_ACTIVE_US : PATIENCE_SILENT_US;
    if (over == 0 && now - last_move > patience) {
      free_memory (rescue);
      last_move = now;
      forced++;
    }
    if (over < 2)
      g_usleep (ASK_INTERVAL_US);
  }
  rescue->report.settled = over == 2;
}

/* Run states that `cont` brings a guest out of and that a checkpoint can have left it in. */
static gboolean
is_left_stopped (const char *status)
{
  static const char *const stopped[] = { "paused", "postmigrate", "finish-migrate", "save-vm" };

  for (guint i = 0; i < G_N_ELEMENTS (stopped); i++)
    if (g_str_equal (status, stopped[i]))
      return TRUE;
  return FALSE;
}

static void
restore_run_state (Rescue *rescue)
{
  g_autoptr (JsonObject) answer = ask (rescue, "query-status", NULL);
  g_autoptr (JsonObject) done = NULL;

  if (answer == NULL)
    return;

  const char *status = json_object_get_string_member_with_default (answer, "status", "");
  if (rescue->resume && is_left_stopped (status)) {
    done = ask (rescue, "cont", NULL);
    rescue->report.resumed = done != NULL;
  } else if (!rescue->resume && g_str_equal (status, "running")) {
    /* A background snapshot resumes a guest that was paused before it. */
    done = ask (rescue, "stop", NULL);
  }
}

static void
put_right (Rescue *rescue)
{
  gint64 begun = g_get_monotonic_time();

  settle (rescue);
  if (rescue->report.settled) {
    QmpClient *monitor = monitor_of (rescue);
    if (monitor != NULL) {
      qmp_migrate_set_capability (monitor, "background-snapshot", FALSE, NULL);
      qmp_migrate_set_capability (monitor, "x-ignore-shared", FALSE, NULL);
      qmp_migration_put_back (monitor, GUEST_FILE_MIGRATION, NULL);
    }
    restore_run_state (rescue);
  }
  rescue->report.drained = drain_bytes (rescue->drain);
  rescue->report.elapsed_us = g_get_monotonic_time() - begun;
}

static void
rescue_thread (GTask *task, gpointer source, gpointer task_data, GCancellable *cancellable)
{
  Rescue *rescue = task_data;
  g_autoptr (GMainContext) home = g_main_context_new();

  g_main_context_push_thread_default (home);
  put_right (rescue);
  g_clear_pointer (&rescue->monitor, qmp_client_unref);
  g_main_context_pop_thread_default (home);
  g_task_return_boolean (task, TRUE);
}

void
rescue_async (const char *monitor_path, ProcessId qemu, int stream, gboolean resume,
              GAsyncReadyCallback callback, gpointer user_data)
{
  g_autoptr (GTask) task = g_task_new (NULL, NULL, callback, user_data);
  Rescue *rescue = g_new0 (Rescue, 1);

  rescue->monitor_path = g_strdup (monitor_path);
  rescue->qemu = qemu;
  rescue->resume = resume;
  rescue->drain = drain_new (stream);
  g_task_set_task_data (task, rescue, rescue_free);
  g_task_run_in_thread (task, rescue_thread);
}

void
rescue_finish (GAsyncResult *result, RescueReport *report)
{
  Rescue *rescue = g_task_get_task_data (G_TASK (result));

  *report = rescue->report;
}
