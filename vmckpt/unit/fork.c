/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/unit/fork.h>

#include "quiesce.h"

#include <vmckpt/qmp/commands.h>
#include <vmckpt/ram/tracked-restore.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>
#include <vmckpt/util/json.h>

#include <string.h>
#include <unistd.h>

#define SOURCE_MAX_BYTES 65536
#define SOURCE_MAX_DEPTH 4

/* What every step works on. */
typedef struct {
  Store *store;
  const char *store_path;
  const Manifest *manifest;
  TemplateFill *fill;
  ForkedGuest *guests;
  guint count;
  gboolean paused;
  ForkRunFunc before_run;
  gpointer before_run_data;
  const UnitWatcher *watcher;
  GCancellable *loading; /* also cancelled when memory cannot be read */
  gint64 began_us;
  gint ready; /* guests; atomic, for progress */
} Fork;

typedef gboolean (*StepFunc) (Fork *fork, ForkedGuest *guest, GError **error);

void
forked_guest_clear (ForkedGuest *guest)
{
  g_clear_pointer (&guest->lease, keeper_lease_free);
  g_clear_pointer (&guest->ram, guest_ram_unref);
  qemu_guest_clear (&guest->qemu);
  g_clear_error (&guest->error);
}

const ManifestPart *
unit_fork_part (const Manifest *manifest, const GuestSpec *spec, GError **error)
{
  const ManifestPart *part =
      spec->ram_id != NULL ? manifest_find_part (manifest, "ram", spec->ram_id) : NULL;

  if (part != NULL && part->map.length == spec->ram_bytes)
    return part;
  g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE,
               "checkpoint %.12s has no RAM that guests of machine type %s could share in memory",
               manifest->id, spec->machine);
  return NULL;
}

/* ---- What the next daemon must know ---- */

gboolean
fork_source_write (const char *directory, const char *store_path, const char *checkpoint,
                   GError **error)
{
  g_autofree char *path = g_build_filename (directory, GUEST_FILE_TEMPLATE, NULL);
  g_autoptr (JsonObject) object = json_object_new();

  json_object_set_string_member (object, "store", store_path);
  json_object_set_string_member (object, "checkpoint", checkpoint);
  g_autofree char *text = json_to_pretty (object);
  return g_file_set_contents_full (
      path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE, 0600, error);
}

gboolean
fork_source_read (const char *directory, char **store_path, char **checkpoint, GError **error)
{
  g_autofree char *path = g_build_filename (directory, GUEST_FILE_TEMPLATE, NULL);
  g_autofree char *text = NULL;
  gsize len;

  if (!g_file_get_contents (path, &text, &len, error))
    return FALSE;
  g_autoptr (JsonObject) object =
      json_parse_bounded (text, len, SOURCE_MAX_BYTES, SOURCE_MAX_DEPTH, error);
  const char *store = object != NULL ? json_get_string (object, "store", error) : NULL;
  const char *id = store != NULL ? json_get_string (object, "checkpoint", error) : NULL;
  if (id == NULL)
    return FALSE;
  *store_path = g_strdup (store);
  *checkpoint = g_strdup (id);
  return TRUE;
}

void
fork_source_remove (const char *directory)
{
  g_autofree char *path = g_build_filename (directory, GUEST_FILE_TEMPLATE, NULL);
  unlink (path);
}

/* ---- One step for all, at the same time ---- */

typedef struct {
  Fork *fork;
  StepFunc func;
} Step;

static void
run_step (gpointer data, gpointer user_data)
{
  ForkedGuest *guest = data;
  const Step *step = user_data;

  step->func (step->fork, guest, &guest->error);
}

/* As many at a time as there are processors, and one. The first error is everybody's. */
static gboolean
for_all (Fork *fork, StepFunc func, GError **error)
{
  Step step = { fork, func };
  GThreadPool *pool =
      g_thread_pool_new (run_step, &step, (int)g_get_num_processors() + 1, FALSE, NULL);

  for (guint i = 0; i < fork->count; i++)
    g_thread_pool_push (pool, &fork->guests[i], NULL);
  g_thread_pool_free (pool, FALSE, TRUE);
  for (guint i = 0; i < fork->count; i++)
    if (fork->guests[i].error != NULL) {
      g_propagate_error (error, g_steal_pointer (&fork->guests[i].error));
      return FALSE;
    }
  return !g_cancellable_set_error_if_cancelled (fork->watcher->cancellable, error);
}

/* ---- The steps ---- */

static gboolean
start (Fork *fork, ForkedGuest *guest, GError **error)
{
  int memfd = template_memfd (template_fill_template (fork->fill));

  if (g_cancellable_set_error_if_cancelled (fork->watcher->cancellable, error))
    return FALSE;
  guest->ram = guest_ram_new_template (guest->spec->ram_id, memfd, error);
  if (guest->ram == NULL ||
      !unit_start (guest->spec, guest->directory, TRUE, &guest->ram, &guest->qemu, error))
    return FALSE;
  guest->lease = keeper_lease_restore (guest->qemu.keeper, error);
  return guest->lease != NULL;
}

/* Until all are registered nobody may touch the memory: what is missing would be zeros. */
static gboolean
register_all (Fork *fork, GError **error)
{
  Template *template = template_fill_template (fork->fill);
  const char *reason = NULL;

  for (guint i = 0; i < fork->count && reason == NULL; i++)
    reason = guest_ram_untracked_reason (fork->guests[i].ram);
  if (!template_is_untouched (template)) {
    g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE,
                 "QEMU writes to guest memory before it has loaded a checkpoint; something among "
                 "its arguments makes it do so");
    return FALSE;
  }
  if (reason != NULL) {
    g_autofree char *text =
        g_strdup_printf ("all memory is read before the guests run: %s", reason);
    if (fork->watcher->message != NULL)
      fork->watcher->message (text, fork->watcher->user_data);
    return template_fill_start (fork->fill, error) &&
           template_fill_wait (fork->fill, fork->watcher->cancellable, error);
  }
  for (guint i = 0; i < fork->count; i++) {
    const ForkedGuest *guest = &fork->guests[i];
    if (!template_add (template, guest->spec->name, guest_ram_uffd_sync (guest->ram),
                       guest_ram_address (guest->ram), error))
      return FALSE;
  }
  return fault_visit (FAULT_FORK_REGISTERED, error) && template_fill_start (fork->fill, error);
}

static gboolean
load (Fork *fork, ForkedGuest *guest, GError **error)
{
  ERROR_PREFIX (error, "guest %s", guest->spec->name);
  const TrackedRestore restore = { .monitor = guest->qemu.monitor,
                                   .ram = guest->ram,
                                   .store = fork->store,
                                   .manifest = fork->manifest,
                                   .cancellable = fork->loading };

  if (g_cancellable_set_error_if_cancelled (fork->loading, error) ||
      !fork_source_write (guest->directory, fork->store_path, fork->manifest->id, error) ||
      !tracked_restore_load (&restore, error))
    return FALSE;
  guint64 ready = g_atomic_int_add (&fork->ready, 1) + 1;
  progress_report (fork->watcher->progress, PHASE_REBUILD, ready * guest->spec->ram_bytes,
                   fork->count * guest->spec->ram_bytes);
  return TRUE;
}

/* Only when all are loaded: if one cannot be, none has run. */
static gboolean
resume (Fork *fork, ForkedGuest *guest, GError **error)
{
  ERROR_PREFIX (error, "guest %s", guest->spec->name);

  g_autoptr (KeeperFreeze) freeze = NULL; /* its end has the keeper thaw the guest */

  if (!quiesce_take_over (fork->manifest, guest->spec, guest->directory, &freeze, error) ||
      (!fork->paused && !qmp_cont (guest->qemu.monitor, error)))
    return FALSE;
  guest->ms = (g_get_monotonic_time() - fork->began_us) / 1000.0;
  return TRUE;
}

static void
cancel_loading (GCancellable *cancellable G_GNUC_UNUSED, gpointer loading)
{
  g_cancellable_cancel (loading);
}

/* A QEMU that needs a page which cannot be read does not get on: all end then. */
static gboolean
load_and_resume (Fork *fork, GError **error)
{
  g_autoptr (GCancellable) loading = g_cancellable_new();
  gulong handler = g_cancellable_connect (fork->watcher->cancellable, G_CALLBACK (cancel_loading),
                                          g_object_ref (loading), g_object_unref);
  g_autoptr (GError) cause = NULL;
  g_auto (LazyFillStatus) status = { 0 };

  fork->loading = loading;
  template_fill_guard (fork->fill, loading);
  gboolean good = for_all (fork, load, &cause) &&
                  (fork->before_run == NULL || fork->before_run (fork->before_run_data, &cause)) &&
                  for_all (fork, resume, &cause);
  template_fill_guard (fork->fill, NULL);
  g_cancellable_disconnect (fork->watcher->cancellable, handler);
  if (good)
    return TRUE;
  template_fill_status (fork->fill, &status);
  /* What could not be read is the better reason. */
  if (!status.stuck || template_fill_wait (fork->fill, NULL, error))
    g_propagate_error (error, g_steal_pointer (&cause));
  return FALSE;
}

void
unit_fork_undo (TemplateFill *fill, ForkedGuest *guests, guint count)
{
  Template *template = template_fill_template (fill);

  for (guint i = 0; i < count; i++) {
    ForkedGuest *guest = &guests[i];
    /* unit_start() leaves nothing behind if it fails. */
    if (guest->qemu.keeper != NULL) {
      qemu_end (guest->directory, guest->qemu.monitor, NULL);
      qemu_remove_directory (guest->directory);
    }
    template_remove (template, guest->spec->name);
    forked_guest_clear (guest);
  }
}

gboolean
unit_fork (Store *store, const char *store_path, const Manifest *manifest, TemplateFill *fill,
           ForkedGuest *guests, guint count, gboolean paused, ForkRunFunc before_run,
           gpointer user_data, const UnitWatcher *watcher, GError **error)
{
  ERROR_PREFIX (error, "forking checkpoint %.12s of guest %s", manifest->id, manifest->guest);
  Fork fork = { .store = store,
                .store_path = store_path,
                .manifest = manifest,
                .fill = fill,
                .guests = guests,
                .count = count,
                .paused = paused,
                .before_run = before_run,
                .before_run_data = user_data,
                .watcher = watcher,
                .began_us = g_get_monotonic_time() };

  progress_report (watcher->progress, PHASE_REBUILD, 0, 0);
  gboolean good = for_all (&fork, start, error) && register_all (&fork, error) &&
                  load_and_resume (&fork, error);
  for (guint i = 0; good && i < count; i++)
    good = keeper_lease_end (guests[i].lease, error);
  good = good && fault_visit (FAULT_FORK_RUNNING, error);
  if (!good)
    unit_fork_undo (fill, guests, count);
  return good;
}

/* ---- Memory ---- */

/* "Pss:    1234 kB" */
static gboolean
take_line (const char *line, const char *name, guint64 *bytes)
{
  gsize len = strlen (name);

  if (strncmp (line, name, len) != 0 || line[len] != ':')
    return FALSE;
  *bytes += g_ascii_strtoull (line + len + 1, NULL, 10) * 1024;
  return TRUE;
}

gboolean
fork_memory_of (pid_t pid, ForkMemory *memory)
{
  g_autofree char *path = g_strdup_printf ("/proc/%d/smaps_rollup", (int)pid);
  g_autofree char *text = NULL;

  *memory = (ForkMemory){ 0 };
  if (!g_file_get_contents (path, &text, NULL, NULL))
    return FALSE;
  g_auto (GStrv) lines = g_strsplit (text, "\n", -1);
  for (guint i = 0; lines[i] != NULL; i++) {
    take_line (lines[i], "Rss", &memory->resident);
    take_line (lines[i], "Pss", &memory->proportional);
    take_line (lines[i], "Private_Clean", &memory->own);
    take_line (lines[i], "Private_Dirty", &memory->own);
  }
  return TRUE;
}
