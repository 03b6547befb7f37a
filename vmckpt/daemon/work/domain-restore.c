/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "domain-restore.h"

#include "api-error.h"
#include "claims.h"
#include "disk-work.h"
#include "domain-attach.h"
#include "domain-fill.h"
#include "domain-unfinished.h"
#include "domains.h"
#include "filling.h"
#include "guest-clock.h"

#include <vmckpt/drivers/domain-adapt.h>
#include <vmckpt/drivers/domain-spec.h>
#include <vmckpt/exchange/libvirt-save.h>
#include <vmckpt/qmp/commands.h>
#include <vmckpt/unit/fork.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/json.h>
#include <vmckpt/util/name.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIPE_BYTES (1 << 20)

/* One restore. What is not marked as owned is borrowed. */
typedef struct {
  Request *request;
  Store *store;
  const Manifest *manifest;
  const RestoreRequest *wish;
  JsonObject *record; /* the machine's member "libvirt" */
  SavedDomain saved;  /* as recorded */
  DomainChanges changes;
  char *uuid;        /* owned: of a new guest, or NULL */
  char *xml;         /* owned: the description that it is restored from */
  LibvirtLink *link; /* owned */
  GuestSpec *spec;   /* owned */
  DiskWork disks;    /* owned */
  RestoreRequest wish_of_disks;
  DomainFill fill;    /* owned */
  gboolean lazily;    /* its memory may be left out of the image */
  gboolean transient; /* gone when it ends, whatever the original was */
} DomainRestore;

static void
domain_restore_clear (DomainRestore *restore)
{
  domain_fill_clear (&restore->fill);
  disk_work_clear (&restore->disks);
  g_free (restore->uuid);
  g_free (restore->xml);
  g_clear_pointer (&restore->link, libvirt_link_unref);
  g_clear_pointer (&restore->spec, guest_spec_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (DomainRestore, domain_restore_clear)

static const char *
recorded_driver (const Manifest *manifest)
{
  return json_get_string_or (manifest->machine, "driver", "qemu");
}

gboolean
domain_restore_is_wanted (const Manifest *manifest, const RestoreRequest *wish)
{
  return g_str_equal (wish->driver != NULL ? wish->driver : recorded_driver (manifest), "libvirt");
}

static void
tell (const DomainRestore *restore, const char *text)
{
  const UnitWatcher *watcher = &restore->request->watcher;

  if (watcher->message != NULL)
    watcher->message (text, watcher->user_data);
}

/* ---- What it will be ---- */

static gboolean
check_wish (const RestoreRequest *wish, GError **error)
{
  const char *problem = NULL;
  ApiKind kind = API_NOT_POSSIBLE;

  if (wish->landing != NULL)
    problem = "a libvirt domain does not move through a store yet: suspend it here, and resume it "
              "there";
  else if (wish->accel != NULL)
    problem = "how a domain is accelerated is a part of its description (--accel is of guests of "
              "vmckpt's own)";
  else if (wish->as != NULL && wish->disks == RESTORE_DISKS_IN_PLACE) {
    problem = "a new guest gets disks of its own: --as goes without --in-place";
    kind = API_USAGE;
  }
  if (problem != NULL)
    g_set_error_literal (error, API_ERROR, kind, problem);
  return problem == NULL;
}

/* The connection, the record and who the guest will be. */
static gboolean
begin (DomainRestore *restore, GError **error)
{
  Domains *domains = restore->request->daemon->domains;
  const RestoreRequest *wish = restore->wish;

  if (!check_wish (wish, error) || !saved_domain_of (restore->manifest, &restore->saved, error))
    return FALSE;
  restore->record = json_get_object (restore->manifest->machine, "libvirt", NULL);
  if (domains_uri (domains) == NULL) {
    g_set_error (
        error, API_ERROR, API_NOT_POSSIBLE,
        "its guest is a domain of libvirt, and this daemon has no connection to one: start "
        "vmckptd with --libvirt URI");
    return FALSE;
  }
  restore->link = domains_link (domains, domains_uri (domains), error);
  restore->changes = (DomainChanges){ .emulator = wish->qemu, .paths = wish->paths };
  if (wish->as != NULL) {
    restore->uuid = g_uuid_string_random();
    restore->changes.new_uuid = restore->uuid;
    restore->changes.name = wish->as;
    if (!name_check (wish->as, "guest name", error))
      return FALSE;
  }
  return restore->link != NULL;
}

/* The description so far, and the guest that it is of. */
static gboolean
adapt (DomainRestore *restore, gboolean tell_changes, GError **error)
{
  g_autoptr (GPtrArray) notes = g_ptr_array_new_with_free_func (g_free);
  const char *uri = libvirt_link_uri (restore->link);

  g_free (restore->xml);
  restore->xml = domain_adapt (restore->saved.xml, &restore->changes, notes, error);
  if (restore->xml == NULL)
    return FALSE;
  for (guint i = 0; tell_changes && i < notes->len; i++)
    tell (restore, notes->pdata[i]);
  if (restore->spec == NULL)
    restore->spec = domain_spec_from_xml (restore->xml, strlen (restore->xml), uri, error);
  return restore->spec != NULL;
}

/* What was imported has no disks: libvirt does not save them either. */
static gboolean
has_disks (const Manifest *manifest)
{
  return g_str_equal (recorded_driver (manifest), "libvirt") ||
         manifest_find_part (manifest, "disk", NULL) != NULL;
}

/* Disks that are where somebody says. */
static void
move_disks (DomainRestore *restore)
{
  GHashTableIter iter;
  gpointer name, path;

  if (restore->wish->disk_paths == NULL)
    return;
  g_hash_table_iter_init (&iter, restore->wish->disk_paths);
  while (g_hash_table_iter_next (&iter, &name, &path)) {
    GuestDisk *disk = guest_spec_find_disk (restore->spec, name);
    if (disk != NULL)
      guest_disk_move (disk, path);
  }
}

/* Names in @directory are not for others, but the way through it is. */
static gboolean
let_pass (const char *directory, GError **error)
{
  struct stat info;

  if (stat (directory, &info) == 0 &&
      ((info.st_mode & 0011) == 0011 || chmod (directory, (info.st_mode & 07777) | 0011) == 0))
    return TRUE;
  return fd_set_errno_error (error, "letting QEMU through %s", directory);
}

/* QEMU may be another user, who is given files below @home. */
static gboolean
let_pass_to (const Runtime *runtime, const char *home, GError **error)
{
  g_autofree char *state = g_path_get_dirname (runtime->disks);

  if (g_str_equal (state, RUNTIME_STATE_DIRECTORY) && !let_pass (state, error))
    return FALSE;
  return let_pass (runtime->disks, error) && let_pass (home, error);
}

/* Where its disks will be. Files are written first: libvirt does not know of content to come. */
static gboolean
plan_disks (DomainRestore *restore, GError **error)
{
  Daemon *daemon = restore->request->daemon;
  RestoreRequest *wish = &restore->wish_of_disks;
  DiskWork *disks = &restore->disks;

  *wish = *restore->wish;
  disks->runtime = daemon->runtime;
  disks->uuid = restore->spec->uuid;
  if (!has_disks (restore->manifest)) {
    if (restore->spec->disks->len > 0)
      tell (restore, "disks are not in this checkpoint: the domain uses what is at their paths");
    move_disks (restore);
    return TRUE;
  }
  if (wish->disks == RESTORE_DISKS_AT_ONCE) {
    wish->disks = RESTORE_DISKS_EAGER;
    if (restore_disks_has_any (restore->manifest))
      tell (restore, "all of its disks is written before it runs: libvirt takes whole files");
  }
  if (!disk_work_choose (disks, daemon, restore->manifest, wish, restore->spec->name, error))
    return FALSE;
  if (disks->home != NULL && !let_pass_to (daemon->runtime, disks->home, error))
    return FALSE;
  disks->planned = restore_disks_plan (restore->manifest, restore->spec, &disks->options, error);
  return disks->planned != NULL;
}

static gboolean
check_not_here (const DomainRestore *restore, GError **error)
{
  const char *uuid = restore->spec->uuid;
  g_autoptr (Guest) rival = registry_find_uuid (restore->request->daemon->registry, uuid);
  g_autoptr (GError) cause = NULL;
  g_autoptr (LibvirtDescription) running = NULL;

  if (rival == NULL)
    running = libvirt_link_describe (restore->link, uuid, restore->request->cancellable, &cause);
  if (rival != NULL || running != NULL) {
    g_set_error (error, API_ERROR, API_CONFLICT,
                 "checkpoint %.12s: its guest is here already, as %s: kill that one first, or "
                 "restore it --as another guest",
                 restore->manifest->id, rival != NULL ? guest_name (rival) : running->domain->name);
    return FALSE;
  }
  if (g_error_matches (cause, LIBVIRT_ERROR, LIBVIRT_ERROR_NOT_FOUND))
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&cause));
  return FALSE;
}

/* ---- Its CPU ---- */

/* What libvirt is asked; NULL if the description names no model that could be compared. */
static JsonObject *
cpu_question (const DomainRestore *restore)
{
  g_autoptr (xmlDoc) doc = domain_xml_parse (restore->xml, strlen (restore->xml), NULL);
  xmlNode *domain = doc != NULL ? domain_xml_root (doc) : NULL;
  g_autofree char *cpu = domain != NULL ? domain_xml_element_text (domain, "cpu") : NULL;
  const char *const parts[][3] = { { "arch", "os/type", "arch" },
                                   { "machine", "os/type", "machine" },
                                   { "type", "", "type" } };
  JsonObject *question;

  if (cpu == NULL || !domain_xml_attribute_is (domain, "cpu", "mode", "custom"))
    return NULL;
  question = json_object_new();
  json_object_set_string_member (question, "cpu", cpu);
  for (guint i = 0; i < G_N_ELEMENTS (parts); i++) {
    g_autofree char *value = domain_xml_attribute (domain, parts[i][1], parts[i][2]);
    json_set_string_or_null (question, parts[i][0], value);
  }
  g_autofree char *emulator = domain_xml_text (domain, "devices/emulator");
  json_set_string_or_null (question, "emulator", emulator);
  return question;
}

/* Before anything is defined or written. */
static gboolean
check_cpu (const DomainRestore *restore, GError **error)
{
  g_autoptr (JsonObject) question = cpu_question (restore);
  g_autoptr (JsonObject) answer = NULL;

  if (question == NULL)
    return TRUE;
  answer = libvirt_link_ask (restore->link, "compare-cpu", question, -1, 0, NULL, NULL,
                             restore->request->cancellable, error);
  if (answer == NULL)
    return FALSE;
  /* Null is no answer: libvirt cannot tell, and QEMU will. */
  if (json_object_get_null_member (answer, "compatible") ||
      json_get_bool_or (answer, "compatible", FALSE))
    return TRUE;
  const char *reason = json_get_string_or (answer, "reason", NULL);
  g_set_error (error, API_ERROR, API_NOT_POSSIBLE,
               "this host's CPU lacks what the domain's has: %s", reason != NULL ? reason : "");
  return FALSE;
}

/* ---- The image, on its way ---- */

typedef struct {
  DomainRestore *restore;
  AutoFd fd; /* the write end; closed at the end, whatever it was */
  GError *error;
} Feed;

static gboolean
feed_write (gconstpointer data, gsize len, gpointer user_data, GError **error)
{
  const Feed *feed = user_data;

  return fd_write_full (feed->fd, data, len, error);
}

static gboolean
feed_zeros (guint64 len, gpointer user_data, GError **error)
{
  static const guint8 zeros[4096];

  for (; len > 0; len -= MIN (len, sizeof zeros))
    if (!feed_write (zeros, MIN (len, sizeof zeros), user_data, error))
      return FALSE;
  return TRUE;
}

static gboolean
feed_progress (guint64 done, guint64 total, gpointer user_data, GError **error)
{
  const Feed *feed = user_data;

  progress_report (feed->restore->request->watcher.progress, PHASE_REBUILD, done, total);
  return TRUE;
}

static gpointer
feed_thread (gpointer data)
{
  Feed *feed = data;
  DomainRestore *restore = feed->restore;
  const ExportSink sink = { .write = feed_write,
                            .zeros = feed_zeros,
                            .progress = feed_progress,
                            .user_data = feed,
                            .cancellable = restore->request->cancellable };
  const SavedDomain domain = { restore->xml, restore->saved.cookie, FALSE };
  const StreamOmission omission = { restore->spec->ram_id, domain_fill_decide, &restore->fill };

  if (fault_visit (FAULT_RESTORE_STARTED, &feed->error))
    libvirt_save_write (restore->store, restore->manifest, &domain,
                        restore->lazily ? &omission : NULL, &sink, &feed->error);
  fd_close (&feed->fd);
  return NULL;
}

/* Why it was not loaded: what could not be read, else what libvirt says, unless that is only that
 * nothing more came. */
static void
explain (const DomainRestore *restore, GError *unwritten, GError *refused, GError **error)
{
  if (restore->fill.fill != NULL &&
      !lazy_fill_check_served (guest_fill_lazy (restore->fill.fill), error))
    return;
  if (unwritten != NULL &&
      (refused == NULL || !g_error_matches (unwritten, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE)))
    g_propagate_error (error, g_error_copy (unwritten));
  else
    g_propagate_error (error, g_error_copy (refused));
}

/* Has libvirt load the domain, which is stopped then. */
static gboolean
load (DomainRestore *restore, GError **error)
{
  g_autoptr (JsonObject) arguments = json_object_new();
  g_autoptr (GError) refused = NULL;
  g_auto (AutoFd) read_end = -1;
  Feed feed = { .restore = restore };
  int ends[2];

  if (pipe2 (ends, O_CLOEXEC) < 0)
    return fd_set_errno_error (error, "making a pipe");
  read_end = ends[0];
  restore->fill.pipe = feed.fd = ends[1];
  fcntl (feed.fd, F_SETPIPE_SZ, PIPE_BYTES);
  json_object_set_boolean_member (arguments, "paused", TRUE);
  GThread *thread = g_thread_new ("restore-domain", feed_thread, &feed);
  g_autoptr (JsonObject) answer =
      libvirt_link_ask (restore->link, "restore", arguments, read_end, -1, NULL, NULL,
                        restore->request->cancellable, &refused);
  fd_close (&read_end); /* who still writes is told that nobody reads */
  g_thread_join (thread);
  g_autoptr (GError) unwritten = feed.error;
  if (answer != NULL && unwritten == NULL)
    return TRUE;
  explain (restore, unwritten, refused, error);
  return FALSE;
}

/* ---- Into service ---- */

/* It is loaded, and stopped. From the lease to its end, this process' death ends the domain. */
static gboolean
let_run (DomainRestore *restore, const GuestSpec *spec, QemuGuest *qemu, GError **error)
{
  g_autoptr (KeeperLease) lease = keeper_lease_restore (qemu->keeper, error);
  const gboolean paused = restore->wish->paused || !restore->saved.was_running;

  return lease != NULL &&
         (restore->disks.planned == NULL || unit_track_disks (qemu->monitor, spec, error)) &&
         disk_work_note_run (&restore->disks, error) &&
         (paused || qmp_cont (qemu->monitor, error)) && keeper_lease_end (lease, error);
}

/* What could not be read while it was loaded was an error of the restore; from now on it is
 * trouble of the guest. */
static gboolean
hand_over_fill (DomainRestore *restore, Guest *guest, QmpClient *monitor, GError **error)
{
  if (restore->fill.fill == NULL)
    return TRUE;
  if (!domain_fill_check_loaded (monitor, error))
    return FALSE;
  g_clear_pointer (&restore->fill.tracking, guest_tracking_free);
  guest_fill_set_func (restore->fill.fill, filling_watch, guest);
  return TRUE;
}

/* The definition stays when it ends, as that of the original did. One that is here is left. */
static void
define (const DomainRestore *restore, const LibvirtDescription *description)
{
  const char *inactive = json_get_string_or (restore->record, "inactive_xml", NULL);
  g_autoptr (GError) error = NULL;
  g_autofree char *xml = NULL;

  if (inactive == NULL || restore->transient || description->domain->persistent)
    return;
  xml = domain_adapt (inactive, &restore->changes, NULL, &error);
  if (xml != NULL) {
    g_autoptr (JsonObject) arguments = json_object_new();
    json_object_set_string_member (arguments, "xml", xml);
    json_object_set_boolean_member (arguments, "autostart",
                                    json_get_bool_or (restore->record, "autostart", FALSE));
    g_autoptr (JsonObject) answer =
        libvirt_link_ask (restore->link, "define", arguments, -1, 0, NULL, NULL, NULL, &error);
    if (answer != NULL)
      return;
  }
  g_autofree char *text = g_strdup_printf ("it runs, but is not defined: %s", error->message);
  tell (restore, text);
}

/* From the loaded domain to the guest. */
static gboolean
take_into_service (DomainRestore *restore, Guest *guest, double *phase_ms, GError **error)
{
  gint64 began_us = g_get_monotonic_time();
  g_autoptr (LibvirtDescription) description =
      fault_visit (FAULT_RESTORE_LOADED, error)
          ? libvirt_link_describe (restore->link, restore->spec->uuid, NULL, error)
          : NULL;
  g_autoptr (GuestSpec) spec =
      description != NULL
          ? domain_spec_from_xml (description->live_xml, strlen (description->live_xml),
                                  libvirt_link_uri (restore->link), error)
          : NULL;
  g_auto (QemuGuest) qemu = { 0 };
  g_autoptr (GuestRam) ram = NULL;

  progress_report (restore->request->watcher.progress, PHASE_RESUME, 0, 0);
  if (spec == NULL || !domain_attach (spec, guest_directory (guest), &ram, &qemu, error) ||
      !guest_set_spec (guest, spec, error) ||
      !hand_over_fill (restore, guest, qemu.monitor, error) ||
      !let_run (restore, spec, &qemu, error) || !fault_visit (FAULT_FILL_RUNNING, error) ||
      !guest_connect (guest, &qemu, &ram, error) ||
      !restore_note_disk_base (guest, restore->store, restore->manifest, error))
    return FALSE;
  restore_begin_filling (guest, g_steal_pointer (&restore->fill.fill), restore->wish->held);
  define (restore, description);
  phase_ms[PHASE_RESUME] = (g_get_monotonic_time() - began_us) / 1000.0;
  return TRUE;
}

static gboolean
bring_up (DomainRestore *restore, Guest *guest, double *phase_ms, GError **error)
{
  Request *request = restore->request;
  Daemon *daemon = request->daemon;
  const char *store_path = request_query (request, "store");
  gint64 began_us = g_get_monotonic_time();

  restore->fill.directory = guest_directory (guest);
  if (!claims_take (guest, daemon->runtime, restore->store, store_path, restore->wish->take_over,
                    error) ||
      (restore->disks.planned != NULL &&
       !disk_work_write (&restore->disks, request, guest, restore->store, restore->manifest,
                         error)) ||
      !domain_unfinished_note (daemon->runtime, restore->spec->uri, restore->spec->uuid, error) ||
      !load (restore, error))
    return FALSE;
  phase_ms[PHASE_REBUILD] = (g_get_monotonic_time() - began_us) / 1000.0;
  if (!take_into_service (restore, guest, phase_ms, error)) {
    domain_end (restore->spec, guest_directory (guest), NULL);
    domain_detach (guest_directory (guest));
    domain_fill_clear (&restore->fill);
    return FALSE;
  }
  guest_set_checkpoint (guest, restore->manifest->id);
  /* The claim was this daemon's so far; now it names the QEMU that runs the guest. */
  return claims_take (guest, daemon->runtime, restore->store, store_path, FALSE, error);
}

/* Whether its memory may come while it runs. */
static gboolean
plan_memory (DomainRestore *restore, GError **error)
{
  restore->fill = (DomainFill){ .store = restore->store,
                                .store_path = request_query (restore->request, "store"),
                                .manifest = restore->manifest,
                                .spec = restore->spec,
                                .link = restore->link,
                                .reading = restore->wish->reading,
                                .watcher = &restore->request->watcher };
  return domain_fill_wanted (&restore->fill, restore->xml, &restore->lazily, error);
}

static Guest *
land (DomainRestore *restore, double *phase_ms, GError **error)
{
  Daemon *daemon = restore->request->daemon;
  g_autoptr (Guest) guest = NULL;

  if (!begin (restore, error) || !adapt (restore, FALSE, error) ||
      !check_not_here (restore, error) || !check_cpu (restore, error) ||
      !plan_memory (restore, error))
    return NULL;
  registry_wait_for_unfinished (daemon->registry, restore->spec->name);
  if (!plan_disks (restore, error))
    return NULL;
  restore->changes.disks = restore->spec->disks;
  if (!adapt (restore, TRUE, error))
    return NULL;
  guest = registry_add (daemon->registry, restore->spec, GUEST_RESTORING, error);
  if (guest == NULL)
    return NULL;
  g_autoptr (GuestWork) work = guest_begin_work (guest, "its restore", NULL);
  gboolean up = bring_up (restore, guest, phase_ms, error);
  domain_unfinished_forget (daemon->runtime, restore->spec->uuid);
  if (up) {
    if (restore->disks.hydration != NULL)
      hydration_run (g_steal_pointer (&restore->disks.hydration));
    return g_steal_pointer (&guest);
  }
  claims_release (guest, daemon->runtime, daemon->stores);
  registry_remove (daemon->registry, guest);
  return NULL;
}

JsonObject *
domain_restore (Request *request, Store *store, const Manifest *manifest,
                const RestoreRequest *wish, GError **error)
{
  ERROR_PREFIX (error, "restoring checkpoint %.12s of guest %s into libvirt", manifest->id,
                manifest->guest);
  g_auto (DomainRestore)
      restore = { .request = request, .store = store, .manifest = manifest, .wish = wish };
  gint64 began_us = g_get_monotonic_time();
  double phase_ms[PHASE_COUNT] = { 0 };

  g_autoptr (Guest) guest = land (&restore, phase_ms, error);
  if (guest == NULL)
    return NULL;
  JsonObject *result = restore_describe (guest, manifest, phase_ms, began_us);
  if (wish->sync_time)
    json_object_set_object_member (result, "clock",
                                   guest_clock_sync (guest, TRUE, request->cancellable));
  return result;
}

/* ---- Forks: several new guests, one after another ---- */

typedef struct {
  Request *request;
  const Manifest *manifest;
  const ForkRequest *wish;
  GPtrArray *guests; /* of Guest */
  JsonArray *described;
  guint number; /* the last one tried */
} DomainForks;

static void
domain_forks_clear (DomainForks *forks)
{
  g_ptr_array_unref (forks->guests);
  json_array_unref (forks->described);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (DomainForks, domain_forks_clear)

/* PREFIX-NUMBER that is no guest's, newly allocated. libvirt knows of more, and will say so. */
static char *
next_name (DomainForks *forks)
{
  const char *prefix = forks->wish->prefix != NULL ? forks->wish->prefix : forks->manifest->guest;

  for (;;) {
    g_autofree char *name = g_strdup_printf ("%s-%u", prefix, ++forks->number);
    g_autoptr (Guest) there = registry_get (forks->request->daemon->registry, name, NULL);
    if (there == NULL)
      return g_steal_pointer (&name);
  }
}

static gboolean
fork_one (DomainForks *forks, Store *store, GError **error)
{
  g_autofree char *name = next_name (forks);
  const RestoreRequest wish = { .as = name,
                                .qemu = forks->wish->qemu,
                                .paused = forks->wish->paused,
                                .disks = RESTORE_DISKS_EAGER,
                                .disk_format = DISK_FILE_QCOW2 };
  g_auto (DomainRestore) restore = { .request = forks->request,
                                     .store = store,
                                     .manifest = forks->manifest,
                                     .wish = &wish,
                                     .transient = TRUE };
  gint64 began_us = g_get_monotonic_time();
  double phase_ms[PHASE_COUNT] = { 0 };
  Guest *guest = land (&restore, phase_ms, error);

  if (guest == NULL)
    return FALSE;
  g_ptr_array_add (forks->guests, guest);
  JsonObject *object = guest_to_json (guest);
  json_object_set_double_member (object, "ms", (g_get_monotonic_time() - began_us) / 1000.0);
  json_array_add_object_element (forks->described, object);
  return TRUE;
}

/* All or none. */
static void
take_forks_back (DomainForks *forks)
{
  Daemon *daemon = forks->request->daemon;

  for (guint i = 0; i < forks->guests->len; i++) {
    Guest *guest = forks->guests->pdata[i];
    guest_kill (guest, NULL);
    claims_release (guest, daemon->runtime, daemon->stores);
    registry_remove (daemon->registry, guest);
  }
}

/* They run, whatever becomes of the wait. */
static gboolean
wait_for_memory (const DomainForks *forks, GError **error)
{
  const Request *request = forks->request;

  for (guint i = 0; i < forks->guests->len; i++)
    if (!filling_wait (forks->guests->pdata[i], request->watcher.progress, request->cancellable,
                       error))
      return FALSE;
  return TRUE;
}

static gboolean
is_complete (Guest *guest)
{
  g_autoptr (GuestFill) fill = guest_get_fill (guest);
  g_auto (LazyFillStatus) status = { .complete = TRUE };

  if (fill != NULL)
    lazy_fill_status (guest_fill_lazy (fill), &status);
  return status.complete;
}

/* Their memory is each one's own. */
static JsonObject *
describe_memory (const DomainForks *forks)
{
  JsonObject *object = json_object_new();
  guint64 own = 0, proportional = 0;
  gboolean complete = TRUE;

  for (guint i = 0; i < forks->guests->len; i++) {
    ForkMemory memory;
    complete = is_complete (forks->guests->pdata[i]) && complete;
    if (fork_memory_of (guest_process (forks->guests->pdata[i]).pid, &memory)) {
      own += memory.own;
      proportional += memory.proportional;
    }
  }
  json_object_set_int_member (object, "template_bytes", 0);
  json_object_set_int_member (object, "own_bytes", (gint64)own);
  json_object_set_int_member (object, "pss_bytes", (gint64)proportional);
  json_object_set_int_member (object, "total_bytes", (gint64)own);
  json_object_set_int_member (object, "one_bytes", (gint64)(own / forks->guests->len));
  json_object_set_boolean_member (object, "complete", complete);
  return object;
}

JsonObject *
domain_fork (Request *request, Store *store, const Manifest *manifest, const ForkRequest *wish,
             GError **error)
{
  ERROR_PREFIX (error, "forking checkpoint %.12s of guest %s into libvirt", manifest->id,
                manifest->guest);
  g_auto (DomainForks)
      forks = { .request = request,
                .manifest = manifest,
                .wish = wish,
                .guests = g_ptr_array_new_with_free_func ((GDestroyNotify)guest_unref),
                .described = json_array_new() };
  gint64 began_us = g_get_monotonic_time();

  for (guint i = 0; i < wish->count; i++)
    if (!fork_one (&forks, store, error)) {
      take_forks_back (&forks);
      return NULL;
    }
  if (wish->wait && !wait_for_memory (&forks, error))
    return NULL;
  JsonObject *result = json_object_new();
  json_object_set_string_member (result, "id", manifest->id);
  json_object_set_array_member (result, "guests", json_array_ref (forks.described));
  json_object_set_double_member (result, "wall_ms", (g_get_monotonic_time() - began_us) / 1000.0);
  json_object_set_int_member (result, "ram_bytes",
                              (gint64)guest_spec (forks.guests->pdata[0])->ram_bytes);
  json_object_set_object_member (result, "memory", describe_memory (&forks));
  return result;
}
