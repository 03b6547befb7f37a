/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/util/fault.h>

#include <vmckpt/util/fd.h>

#include <errno.h>
#include <signal.h>
#include <unistd.h>

static const char *const point_names[FAULT_COUNT] = {
  [FAULT_NONE] = "none",
  [FAULT_WRITER_ANNOUNCED] = "writer-announced",
  [FAULT_LEASE_TAKEN] = "lease-taken",
  [FAULT_QUIESCE_FROZEN] = "quiesce-frozen",
  [FAULT_GUEST_STOPPED] = "guest-stopped",
  [FAULT_PAGES_COPIED] = "pages-copied",
  [FAULT_WRITES_COLLECTED] = "writes-collected",
  [FAULT_DEVICES_SAVED] = "devices-saved",
  [FAULT_LOG_TURNED] = "log-turned",
  [FAULT_GUEST_RESUMED] = "guest-resumed",
  [FAULT_BEFORE_WRITE] = "copying-before-write",
  [FAULT_STREAM_BEGUN] = "stream-begun",
  [FAULT_STREAM_MIDDLE] = "stream-middle",
  [FAULT_STREAM_ENDED] = "stream-ended",
  [FAULT_DISK_MIDDLE] = "disk-middle",
  [FAULT_DISK_READ] = "disk-read",
  [FAULT_DISK_BASE] = "disk-base",
  [FAULT_OBJECT_WRITTEN] = "object-written",
  [FAULT_OBJECT_SYNCED] = "object-synced",
  [FAULT_OBJECT_NAMED] = "object-named",
  [FAULT_PACKS_SYNCED] = "packs-synced",
  [FAULT_INDEX_WRITTEN] = "index-written",
  [FAULT_MANIFEST_WRITTEN] = "manifest-written",
  [FAULT_GC_CONDEMNED] = "gc-condemned",
  [FAULT_GC_UNINDEXED] = "gc-unindexed",
  [FAULT_GC_DELETING] = "gc-deleting",
  [FAULT_REPAIR_INDEXED] = "repair-indexed",
  [FAULT_REPAIR_SALVAGED] = "repair-salvaged",
  [FAULT_REPAIR_CONDEMNED] = "repair-condemned",
  [FAULT_RESTORE_STARTED] = "restore-started",
  [FAULT_RESTORE_MIDDLE] = "restore-middle",
  [FAULT_RESTORE_LOADED] = "restore-loaded",
  [FAULT_FILL_REGISTERED] = "fill-registered",
  [FAULT_FILL_RUNNING] = "fill-running",
  [FAULT_FILL_MIDDLE] = "fill-middle",
  [FAULT_FILL_SETTLED] = "fill-settled",
  [FAULT_FORK_REGISTERED] = "fork-registered",
  [FAULT_FORK_RUNNING] = "fork-running",
  [FAULT_KEY_MARKED] = "key-marked",
  [FAULT_KEY_ADDED] = "key-added",
  [FAULT_IMPORT_MIDDLE] = "import-middle",
  [FAULT_IMPORT_READ] = "import-read",
  [FAULT_FILE_WRITTEN] = "file-written",
  [FAULT_FILE_SYNCED] = "file-synced",
  [FAULT_FILE_NAMED] = "file-named",
  [FAULT_SUSPEND_OFF] = "suspend-off",
  [FAULT_SUSPEND_ONE] = "suspend-one",
  [FAULT_SWAP_ADDED] = "swap-added",
  [FAULT_SWAP_REOPENED] = "swap-reopened",
  [FAULT_SWAP_DONE] = "swap-done",
  [FAULT_SERVER_MADE] = "server-made",
  [FAULT_SERVER_RECORDED] = "server-recorded",
  [FAULT_DISK_CREATING] = "disk-creating",
  [FAULT_DISK_PREPARED] = "disk-prepared",
  [FAULT_DISK_POINT] = "disk-point",
  [FAULT_DISK_EXPORTED] = "disk-exported",
  [FAULT_DISK_UNDOING] = "disk-undoing",
  [FAULT_DISK_UNDONE] = "disk-undone",
  [FAULT_MOVE_RECORDED] = "move-recorded",
  [FAULT_MOVE_STREAMING] = "move-streaming",
  [FAULT_MOVE_STOPPED] = "move-stopped",
  [FAULT_MOVE_FLUSHING] = "move-flushing",
  [FAULT_MOVE_SENT] = "move-sent",
  [FAULT_MOVE_GOING] = "move-going",
  [FAULT_MOVE_TOLD] = "move-told",
  [FAULT_MOVE_OVER] = "move-over",
  [FAULT_MOVE_LISTENING] = "move-listening",
  [FAULT_MOVE_ARRIVED] = "move-arrived",
  [FAULT_MOVE_ASKED] = "move-asked",
  [FAULT_MOVE_RELEASED] = "move-released",
  [FAULT_MOVE_DECIDED] = "move-decided",
  [FAULT_MOVE_RUNNING] = "move-running",
};

typedef enum { ACTION_KILL, ACTION_ENOSPC, ACTION_EIO, ACTION_STALL, ACTION_COUNT } FaultAction;

static const char *const action_names[ACTION_COUNT] = { "kill", "enospc", "eio", "stall" };

typedef struct {
  FaultPoint point;
  FaultAction action;
  int visit; /* which visit counts */
} FaultPlan;

const char *
fault_point_name (FaultPoint point)
{
  g_return_val_if_fail (point < FAULT_COUNT, "?");
  return point_names[point];
}

/* Reads VMCKPT_FAULT into @plan; an unset one leaves FAULT_NONE. */
static gboolean
parse_plan (const char *text, FaultPlan *plan, GError **error)
{
  *plan = (FaultPlan){ .visit = 1 };
  if (text == NULL || *text == 0)
    return TRUE;
  g_auto (GStrv) part = g_strsplit (text, ":", 3);
  guint parts = g_strv_length (part), action = ACTION_KILL;

  for (int i = 1; i < FAULT_COUNT; i++)
    if (g_str_equal (part[0], point_names[i]))
      plan->point = i;
  if (parts > 1)
    for (action = 0; action < ACTION_COUNT && !g_str_equal (part[1], action_names[action]);)
      action++;
  plan->action = action;
  if (parts > 2)
    plan->visit = atoi (part[2]);
  if (plan->point == FAULT_NONE || action == ACTION_COUNT || plan->visit < 1) {
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                 "VMCKPT_FAULT=%s: not POINT[:kill|enospc|eio|stall[:N]] with a known POINT", text);
    return FALSE;
  }
  return TRUE;
}

gboolean
fault_check_environment (GError **error)
{
  FaultPlan plan;
  return parse_plan (g_getenv ("VMCKPT_FAULT"), &plan, error);
}

gboolean
fault_visit (FaultPoint point, GError **error)
{
  /* The one piece of process-wide state in the program: a test's plan for this very process. */
  static gsize parsed = 0;
  static FaultPlan plan;
  static int visits = 0;

  if (g_once_init_enter (&parsed)) {
    parse_plan (g_getenv ("VMCKPT_FAULT"), &plan, NULL);
    g_once_init_leave (&parsed, 1);
  }
  if (plan.point != point || point == FAULT_NONE || g_atomic_int_add (&visits, 1) + 1 != plan.visit)
    return TRUE;
  switch (plan.action) {
  case ACTION_KILL:
    kill (getpid(), SIGKILL);
    break;
  case ACTION_STALL:
    kill (getpid(), SIGSTOP);
    return TRUE;
  case ACTION_ENOSPC:
    errno = ENOSPC;
    return fd_set_errno_error (error, "fault point %s", point_names[point]);
  default:
    break;
  }
  errno = EIO;
  return fd_set_errno_error (error, "fault point %s", point_names[point]);
}
