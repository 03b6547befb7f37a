/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proof.h"

#include "api-error.h"

#include <vmckpt/disk/disk-server.h>
#include <vmckpt/drivers/guest-fork.h>
#include <vmckpt/policy/schedule.h>
#include <vmckpt/qmp/commands.h>
#include <vmckpt/qmp/guest-agent.h>
#include <vmckpt/store/maintain.h>
#include <vmckpt/unit/restore-disks.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/json.h>

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#define DIRECTORY "proofs"
#define GUEST "guest"
#define TIMEOUT_DEFAULT_US (60 * G_USEC_PER_SEC)
#define TIMEOUT_MAX_US (24 * 3600 * (gint64)G_USEC_PER_SEC)
#define POLL_US (G_USEC_PER_SEC / 5)
#define ALIVE_US (3 * G_USEC_PER_SEC) /* so long have CPUs to execute, without anything worse */
#define ANSWER_TIMEOUT_MS 5000
#define LAST_WORDS 300

/* ---- What is asked for ---- */

void
proof_wish_clear (ProofWish *wish)
{
  g_clear_pointer (&wish->command, g_strfreev);
}

static gboolean
parse_command (Request *request, ProofWish *wish, GError **error)
{
  g_autoptr (GStrvBuilder) words = g_strv_builder_new();
  JsonArray *array = json_get_array (request->body, "command", NULL);
  guint count = array != NULL ? json_array_get_length (array) : 0;

  if (!json_object_has_member (request->body, "command") ||
      json_object_get_null_member (request->body, "command"))
    return TRUE;
  for (guint i = 0; i < count; i++) {
    const char *word = json_array_string_or_null (array, i);
    if (word != NULL)
      g_strv_builder_add (words, word);
  }
  wish->command = g_strv_builder_end (words);
  if (count > 0 && count <= GUEST_AGENT_MAX_WORDS && g_strv_length (wish->command) == count)
    return TRUE;
  g_set_error (error, API_ERROR, API_USAGE, "command: an array of 1 to %d strings is wanted",
               GUEST_AGENT_MAX_WORDS);
  return FALSE;
}

gboolean
proof_parse (Request *request, ProofWish *wish, GError **error)
{
  const char *timeout = NULL;
  gint64 timeout_us = TIMEOUT_DEFAULT_US;
  g_autoptr (GError) cause = NULL;

  if (!request_string (request, "timeout", &timeout, error) ||
      !request_string (request, "until", &wish->until, error) ||
      !parse_command (request, wish, error))
    return FALSE;
  if (timeout != NULL && !schedule_parse_time (timeout, &timeout_us, &cause)) {
    g_set_error (error, API_ERROR, API_USAGE, "timeout: %s", cause->message);
    return FALSE;
  }
  wish->timeout_ms = CLAMP (timeout_us, 1000, TIMEOUT_MAX_US) / 1000;
  if (wish->until == NULL || (wish->command == NULL && *wish->until != '\0'))
    return TRUE;
  g_set_error_literal (error, API_ERROR, API_USAGE,
                       "until: some text is wanted, and not together with 'command'");
  return FALSE;
}

/* ---- Its places ---- */

/* Removes a directory of ours and the files in it. */
static void
remove_directory (const char *path)
{
  g_autoptr (GDir) dir = g_dir_open (path, 0, NULL);
  const char *name;

  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL) {
    g_autofree char *file = g_build_filename (path, name, NULL);
    g_unlink (file);
  }
  g_rmdir (path);
}

/* Ends the guest and the server in @place, and removes them. */
static void
clear_place (const char *place)
{
  g_autofree char *guest = g_build_filename (place, GUEST, NULL);

  qemu_end (guest, NULL, NULL);
  qemu_remove_directory (guest);
  disk_server_end_found (place);
  remove_directory (place);
}

static void
for_all_in (const char *parent, void (*func) (const char *path))
{
  g_autofree char *path = g_build_filename (parent, DIRECTORY, NULL);
  g_autoptr (GDir) dir = g_dir_open (path, 0, NULL);
  const char *name;

  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL) {
    g_autofree char *one = g_build_filename (path, name, NULL);
    func (one);
  }
}

void
proof_clean (const Runtime *runtime)
{
  for_all_in (runtime->path, clear_place);
  for_all_in (runtime->disks, remove_directory);
}

/* ---- A throw-away guest ---- */

typedef struct {
  Request *request;
  Store *store;
  const Manifest *manifest;
  const ProofWish *wish;
  char *place, *disks_place, *directory, *socket;
  GuestSpec *spec;
  RestoreDisks *disks;
  DiskServer *server;
  GuestRam *ram;
  QemuGuest qemu;
  KeeperLease *lease; /* if this process dies, its keeper ends it */
  double phase_ms[PHASE_COUNT];
} Proof;

static void
proof_clear (Proof *proof)
{
  if (proof->directory != NULL)
    qemu_end (proof->directory, proof->qemu.monitor, NULL);
  g_clear_pointer (&proof->lease, keeper_lease_free);
  qemu_guest_clear (&proof->qemu);
  g_clear_pointer (&proof->ram, guest_ram_unref);
  if (proof->server != NULL)
    disk_server_end (proof->server, 0);
  if (proof->place != NULL)
    clear_place (proof->place);
  if (proof->disks_place != NULL)
    remove_directory (proof->disks_place);
  restore_disks_free (proof->disks);
  guest_spec_free (proof->spec);
  g_free (proof->place);
  g_free (proof->disks_place);
  g_free (proof->directory);
  g_free (proof->socket);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Proof, proof_clear)

static char *
make_place (const char *parent, GError **error)
{
  g_autofree char *all = g_build_filename (parent, DIRECTORY, NULL);
  g_autofree char *place = g_build_filename (all, "XXXXXX", NULL);

  if (g_mkdir_with_parents (all, 0700) < 0 || g_mkdtemp (place) == NULL) {
    fd_set_errno_error (error, "making a directory in %s", all);
    return NULL;
  }
  return g_steal_pointer (&place);
}

static gboolean
make_places (Proof *proof, GError **error)
{
  const Runtime *runtime = proof->request->daemon->runtime;

  proof->place = make_place (runtime->path, error);
  if (proof->place == NULL)
    return FALSE;
  proof->disks_place = make_place (runtime->disks, error);
  if (proof->disks_place == NULL)
    return FALSE;
  proof->directory = g_build_filename (proof->place, GUEST, NULL);
  proof->socket = g_build_filename (proof->place, DISK_SERVER_FILE_SOCKET, NULL);
  return TRUE;
}

/* A disk whose content does not matter gets another content: its own is the original's to write. */
static gboolean
replace_excluded (const Proof *proof, GuestDisk *disk, GError **error)
{
  g_autofree char *file = g_strconcat (disk->name, ".raw", NULL);
  g_autofree char *path = g_build_filename (proof->disks_place, file, NULL);
  g_auto (AutoFd) fd = open (path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  guint64 size = disk->virtual_size != 0 ? disk->virtual_size : disk->size;

  if (fd < 0 || ftruncate (fd, size) < 0)
    return fd_set_errno_error (error, "making %s", path);
  g_free (disk->path);
  g_free (disk->format);
  disk->path = g_steal_pointer (&path);
  disk->format = g_strdup ("raw");
  disk->storage = DISK_STORAGE_FILE;
  g_ptr_array_set_size (disk->backing, 0);
  return TRUE;
}

/* Every disk that it can write to is its own. */
static gboolean
replace_disks (const Proof *proof, GError **error)
{
  for (guint i = 0; i < proof->spec->disks->len; i++) {
    GuestDisk *disk = proof->spec->disks->pdata[i];
    if (disk->mode == DISK_EXCLUDE && disk->path != NULL && !replace_excluded (proof, disk, error))
      return FALSE;
    if (disk->mode == DISK_SHARED) {
      g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE,
                   "disk %s is on shared storage, not in the checkpoint: a second run would write "
                   "to it",
                   disk->name);
      return FALSE;
    }
  }
  return TRUE;
}

static gboolean
prepare_disks (Proof *proof, GError **error)
{
  const DiskServerOptions server = { .directory = proof->place,
                                     .store = request_query (proof->request, "store"),
                                     .checkpoint = proof->manifest->id,
                                     .key = proof->request->key };

  if (proof->disks == NULL || proof->disks->disks->len == 0)
    return TRUE;
  if (restore_disks_has_any (proof->manifest) &&
      (proof->server = disk_server_start (&server, NULL, error)) == NULL)
    return FALSE;
  return restore_disks_write (proof->disks, proof->store, &proof->request->watcher, error);
}

/* Restored, paused, with a lease that ends it should this process die. */
static gboolean
bring_up (Proof *proof, GError **error)
{
  const Runtime *runtime = proof->request->daemon->runtime;
  g_autofree char *name = g_strdup_printf ("proof-%.12s", proof->manifest->id);
  const RestoreDisksOptions disks = { .way = RESTORE_DISKS_AT_ONCE,
                                      .format = DISK_FILE_RAW,
                                      .directory = proof->disks_place,
                                      .socket = proof->socket };
  RestoreOptions options = { .name = name,
                             .directory = proof->directory,
                             .files = runtime->files,
                             .paused = TRUE,
                             .accept_changed_disks = TRUE,
                             .facts = runtime->facts,
                             .disks = &disks,
                             .planned = &proof->disks };

  proof->spec = unit_restore_spec (proof->store, proof->manifest, &options, error);
  if (proof->spec == NULL || !guest_spec_isolate (proof->spec, error) ||
      !replace_disks (proof, error) || !prepare_disks (proof, error) ||
      !unit_restore (proof->store, proof->manifest, proof->spec, &options, &proof->request->watcher,
                     &proof->ram, &proof->qemu, proof->phase_ms, error))
    return FALSE;
  proof->lease = keeper_lease_restore (proof->qemu.keeper, error);
  return proof->lease != NULL && qmp_cont (proof->qemu.monitor, error);
}

/* ---- Does it live? ---- */

/* FALSE with @error if it does not run, or cannot be waited for any longer. */
static gboolean
check_running (const Proof *proof, gint64 deadline, const char *awaited, GError **error)
{
  g_autoptr (GError) cause = NULL;
  g_autofree char *status = qmp_query_status (proof->qemu.monitor, &cause);

  if (g_cancellable_set_error_if_cancelled (proof->request->cancellable, error))
    return FALSE;
  if (status == NULL)
    g_set_error (error, API_ERROR, API_FAILED, "its QEMU has ended: %s", cause->message);
  else if (!g_str_equal (status, "running"))
    g_set_error (error, API_ERROR, API_FAILED, "it does not run any more, but is '%s'", status);
  else if (g_get_monotonic_time() >= deadline)
    g_set_error (error, API_ERROR, API_FAILED, "within %d s %s", proof->wish->timeout_ms / 1000,
                 awaited);
  else
    return TRUE;
  return FALSE;
}

static char *
read_log (const Proof *proof, gsize *len)
{
  g_autofree char *path = g_build_filename (proof->directory, GUEST_FILE_LOG, NULL);
  char *text = NULL;

  if (!g_file_get_contents (path, &text, len, NULL))
    *len = 0;
  return text;
}

static gboolean
wait_for_text (const Proof *proof, gint64 deadline, GError **error)
{
  const char *until = proof->wish->until;

  for (;;) {
    gsize len;
    g_autofree char *log = read_log (proof, &len);
    if (log != NULL && memmem (log, len, until, strlen (until)) != NULL)
      return TRUE;
    if (!check_running (proof, deadline, "it has not printed that text", error))
      return FALSE;
    g_usleep (POLL_US);
  }
}

/* Its agent, as soon as it answers: the guest may have been saved frozen, and be thawed first. */
static GuestAgent *
wait_for_agent (const Proof *proof, gint64 deadline, GError **error)
{
  g_autofree char *path = g_build_filename (proof->directory, GUEST_FILE_AGENT, NULL);

  for (;;) {
    GuestAgent *agent =
        guest_agent_connect (path, ANSWER_TIMEOUT_MS, proof->request->cancellable, NULL);
    if (agent != NULL)
      return agent;
    if (!check_running (proof, deadline, "its guest agent has not answered", error))
      return NULL;
    g_usleep (POLL_US);
  }
}

static void
add_output (JsonObject *result, const char *member, GBytes *bytes)
{
  g_autofree char *text =
      g_utf8_make_valid (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes));

  json_object_set_string_member (result, member, text);
}

static gboolean
run_command (const Proof *proof, gint64 deadline, JsonObject *result, GError **error)
{
  const char *const *argv = (const char *const *)proof->wish->command;
  g_auto (GuestAgentResult) command = { 0 };
  g_autoptr (GuestAgent) agent = wait_for_agent (proof, deadline, error);

  if (agent == NULL ||
      !guest_agent_run (agent, argv, MAX ((deadline - g_get_monotonic_time()) / 1000, 1), &command,
                        error))
    return FALSE;
  json_object_set_int_member (result, "status", command.status);
  add_output (result, "output", command.out);
  if (command.exited && command.status == 0)
    return TRUE;
  g_autofree char *said = g_utf8_make_valid (g_bytes_get_data (command.err, NULL),
                                             MIN (g_bytes_get_size (command.err), LAST_WORDS));
  g_set_error (error, API_ERROR, API_FAILED, "'%s' %s %d in it: %s", argv[0],
               command.exited ? "ended with status" : "was ended by signal", command.status, said);
  return FALSE;
}

/* How long all its CPUs have executed, nanoseconds. */
static guint64
executed_ns (const Proof *proof)
{
  g_autoptr (JsonNode) answer = qmp_client_execute (proof->qemu.monitor, "query-cpus-fast", NULL,
                                                    -1, ANSWER_TIMEOUT_MS, NULL, NULL);
  JsonArray *cpus =
      answer != NULL && JSON_NODE_HOLDS_ARRAY (answer) ? json_node_get_array (answer) : NULL;
  pid_t pid = keeper_qemu (proof->qemu.keeper).pid;
  guint64 sum = 0;

  for (guint i = 0; cpus != NULL && i < json_array_get_length (cpus); i++) {
    JsonNode *cpu = json_array_get_element (cpus, i);
    guint64 thread = JSON_NODE_HOLDS_OBJECT (cpu)
                         ? json_get_uint64_or (json_node_get_object (cpu), "thread-id", 0)
                         : 0;
    g_autofree char *path =
        g_strdup_printf ("/proc/%d/task/%" G_GUINT64_FORMAT "/schedstat", (int)pid, thread);
    g_autofree char *text = NULL;
    if (g_file_get_contents (path, &text, NULL, NULL))
      sum += g_ascii_strtoull (text, NULL, 10);
  }
  return sum;
}

/* Nothing in the guest can be asked: its CPUs have executed for a while, and not into a reset, a
 * panic or the end of QEMU. */
static gboolean
wait_for_cpus (const Proof *proof, gint64 deadline, GError **error)
{
  gint64 enough = MIN (g_get_monotonic_time() + ALIVE_US, deadline - 1);
  guint64 before = executed_ns (proof);

  while (g_get_monotonic_time() < enough) {
    if (!check_running (proof, deadline, "", error))
      return FALSE;
    g_usleep (POLL_US);
  }
  if (executed_ns (proof) > before)
    return TRUE;
  g_set_error_literal (error, API_ERROR, API_FAILED, "its CPUs do not execute anything");
  return FALSE;
}

static gboolean
wait_for_life (const Proof *proof, JsonObject *result, GError **error)
{
  gint64 deadline = g_get_monotonic_time() + proof->wish->timeout_ms * G_TIME_SPAN_MILLISECOND;
  const char *how = "cpus";
  gboolean lives;

  if (proof->wish->until != NULL) {
    how = "until";
    lives = wait_for_text (proof, deadline, error);
  } else if (proof->wish->command != NULL) {
    how = "command";
    lives = run_command (proof, deadline, result, error);
  } else if (proof->spec->agent) {
    how = "agent";
    g_autoptr (GuestAgent) agent = wait_for_agent (proof, deadline, error);
    lives = agent != NULL;
  } else {
    lives = wait_for_cpus (proof, deadline, error);
  }
  json_object_set_string_member (result, "how", how);
  return lives;
}

/* What it printed last, for whoever wants to know why. */
static void
add_last_words (const Proof *proof, GError **error)
{
  gsize len;
  g_autofree char *log = read_log (proof, &len);

  if (error == NULL || *error == NULL || (*error)->domain != API_ERROR || log == NULL || len == 0)
    return;
  gsize from = len > LAST_WORDS ? len - LAST_WORDS : 0;
  g_autofree char *words = g_utf8_make_valid (log + from, len - from);
  g_autofree char *message =
      g_strdup_printf ("%s; it printed last: %s", (*error)->message, g_strstrip (words));
  g_free ((*error)->message);
  (*error)->message = g_steal_pointer (&message);
}

JsonObject *
proof_boot (Request *request, Store *store, const Manifest *manifest, const ProofWish *wish,
            GError **error)
{
  ERROR_PREFIX (error, "proving that checkpoint %.12s can be restored", manifest->id);
  g_auto (Proof) proof = { .request = request, .store = store, .manifest = manifest, .wish = wish };
  g_autoptr (JsonObject) result = json_object_new();

  json_object_set_string_member (result, "id", manifest->id);
  if (!store_verify (store, manifest, &request->progress, request->cancellable, error))
    return NULL;
  gint64 began_us = g_get_monotonic_time();
  if (!make_places (&proof, error) || !bring_up (&proof, error))
    return NULL;
  gint64 running_us = g_get_monotonic_time();
  if (wish->command != NULL && !proof.spec->agent) {
    g_set_error_literal (error, DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE,
                         "its guest has no port for a guest agent, which would run the command");
    return NULL;
  }
  if (!wait_for_life (&proof, result, error)) {
    add_last_words (&proof, error);
    return NULL;
  }
  json_object_set_double_member (result, "restore_ms", (running_us - began_us) / 1000.0);
  json_object_set_double_member (result, "answer_ms",
                                 (g_get_monotonic_time() - running_us) / 1000.0);
  return g_steal_pointer (&result);
}
