/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "arrivals.h"

#include "api-error.h"

#include <vmckpt/qmp/commands.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/json.h>

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_FILE 65536
#define MAX_DEPTH 4
#define MAX_FROM 255
#define RECORDS_NAME "records" /* in DISKS/migrations */
#define MAX_KNOWN 256
#define END_WAIT_US (20 * G_USEC_PER_SEC)
#define SILENCE_CHECK_SECONDS 5
#define CHECK_US (200 * G_TIME_SPAN_MILLISECOND)

struct _Arrival {
  gatomicrefcount refs;
  Arrivals *arrivals; /* borrowed */
  char *id, *guest, *from;
  GCancellable *cancellable;
  /* Guarded by the table's lock. */
  ArrivalState state;
  gboolean deciding;           /* somebody works on the decision, without the lock */
  const ArrivedGuest *arrived; /* (nullable): of whoever waits in arrival_wait_decided() */
  gint64 heard_us;             /* when the source was heard of last */
  char *told;                  /* (nullable) by arrivals_tell() */
  gint64 told_us, read_us;     /* when that was, and when it had been read; 0: not yet */
  GError *reason;              /* why it ended */
};

struct _Arrivals {
  const Runtime *runtime;
  char *directory; /* DISKS/migrations */
  GMutex lock;
  GCond changed;
  GHashTable *table; /* id → Arrival */
};

#define LOCK(arrivals)                                                                             \
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&(arrivals)->lock)

static const char *const state_names[] = {
  [ARRIVAL_UNKNOWN] = "unknown", [ARRIVAL_RECEIVING] = "receiving", [ARRIVAL_ARRIVED] = "arrived",
  [ARRIVAL_RUNNING] = "running", [ARRIVAL_ENDING] = "ending",       [ARRIVAL_ENDED] = "ended",
};

const char *
arrival_state_name (ArrivalState state)
{
  return state_names[state];
}

ArrivalState
arrival_state_parse (const char *name)
{
  for (guint i = 0; i < G_N_ELEMENTS (state_names); i++)
    if (g_strcmp0 (name, state_names[i]) == 0)
      return i;
  return ARRIVAL_UNKNOWN;
}

/* With the lock held. */
static gboolean
is_silent (const Arrival *arrival)
{
  return g_get_monotonic_time() - arrival->heard_us >
         MIGRATION_SILENCE_SECONDS * (gint64)G_USEC_PER_SEC;
}

static gboolean
check_silence (gpointer user_data)
{
  Arrivals *arrivals = user_data;
  GHashTableIter iter;
  Arrival *arrival;
  LOCK (arrivals);

  g_hash_table_iter_init (&iter, arrivals->table);
  while (g_hash_table_iter_next (&iter, NULL, (gpointer *)&arrival))
    if (arrival->state == ARRIVAL_RECEIVING && is_silent (arrival))
      g_cancellable_cancel (arrival->cancellable);
  return G_SOURCE_CONTINUE;
}

Arrivals *
arrivals_new (const Runtime *runtime)
{
  Arrivals *arrivals = g_new0 (Arrivals, 1);

  arrivals->runtime = runtime;
  arrivals->directory = g_build_filename (runtime->disks, "migrations", NULL);
  g_mutex_init (&arrivals->lock);
  g_cond_init (&arrivals->changed);
  arrivals->table =
      g_hash_table_new_full (g_str_hash, g_str_equal, NULL, (GDestroyNotify)arrival_unref);
  g_timeout_add_seconds (SILENCE_CHECK_SECONDS, check_silence, arrivals);
  return arrivals;
}

Arrival *
arrival_ref (Arrival *arrival)
{
  g_atomic_ref_count_inc (&arrival->refs);
  return arrival;
}

void
arrival_unref (Arrival *arrival)
{
  if (!g_atomic_ref_count_dec (&arrival->refs))
    return;
  g_free (arrival->id);
  g_free (arrival->guest);
  g_free (arrival->from);
  g_free (arrival->told);
  g_object_unref (arrival->cancellable);
  g_clear_error (&arrival->reason);
  g_free (arrival);
}

const char *
arrival_id (Arrival *arrival)
{
  return arrival->id;
}

GCancellable *
arrival_cancellable (Arrival *arrival)
{
  return arrival->cancellable;
}

/* ---- The record of a decision: it outlives a boot, as the guest's disks do ---- */

static char *
record_path (Arrivals *arrivals, const char *id)
{
  g_autofree char *file = g_strconcat (id, ".json", NULL);

  return g_build_filename (arrivals->directory, file, NULL);
}

/* What a file says, or NULL. */
static JsonObject *
read_object (const char *path)
{
  g_autofree char *text = NULL;
  gsize len;

  return g_file_get_contents (path, &text, &len, NULL)
             ? json_parse_bounded (text, len, MAX_FILE, MAX_DEPTH, NULL)
             : NULL;
}

static gboolean
sync_directory (const char *path, GError **error)
{
  g_auto (AutoFd) fd = open (path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

  return (fd >= 0 && fsync (fd) == 0) || fd_set_errno_error (error, "syncing %s", path);
}

/* @text is in the directory of records, whatever dies, when this returns TRUE. */
static gboolean
write_durably (Arrivals *arrivals, const char *path, const char *text, GError **error)
{
  if (g_mkdir_with_parents (arrivals->directory, 0700) < 0)
    return fd_set_errno_error (error, "making %s", arrivals->directory);
  return g_file_set_contents_full (path, text, (gssize)strlen (text),
                                   G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE,
                                   0600, error) &&
         sync_directory (arrivals->directory, error);
}

char *
arrivals_records (Arrivals *arrivals, GError **error)
{
  g_autofree char *path = g_build_filename (arrivals->directory, RECORDS_NAME, NULL);
  g_autofree char *text = NULL;

  if (!g_file_get_contents (path, &text, NULL, error))
    return NULL;
  g_strchomp (text);
  if (g_uuid_string_is_valid (text))
    return g_steal_pointer (&text);
  g_set_error (error, API_ERROR, API_FAILED, "%s: not the name of these records", path);
  return NULL;
}

/* With the lock held. */
static gboolean
make_records (Arrivals *arrivals, GError **error)
{
  g_autofree char *path = g_build_filename (arrivals->directory, RECORDS_NAME, NULL);
  g_autofree char *name = g_uuid_string_random();
  g_autofree char *text = g_strconcat (name, "\n", NULL);

  return g_file_test (path, G_FILE_TEST_EXISTS) || write_durably (arrivals, path, text, error);
}

static gboolean
write_record (Arrival *arrival, gboolean paused, GError **error)
{
  Arrivals *arrivals = arrival->arrivals;
  g_autofree char *path = record_path (arrivals, arrival->id);
  g_autoptr (JsonObject) object = json_object_new();

  json_object_set_string_member (object, "id", arrival->id);
  json_object_set_string_member (object, "guest", arrival->guest);
  json_object_set_string_member (object, "from", arrival->from);
  json_object_set_boolean_member (object, "paused", paused);
  json_object_set_int_member (object, "decided_us", g_get_real_time());
  g_autofree char *text = json_to_pretty (object);
  return write_durably (arrivals, path, text, error);
}

static gboolean
has_record (Arrivals *arrivals, const char *id, gboolean *paused)
{
  g_autofree char *path = record_path (arrivals, id);
  g_autoptr (JsonObject) object = NULL;

  if (!g_file_test (path, G_FILE_TEST_EXISTS))
    return FALSE;
  object = read_object (path);
  *paused = object != NULL && json_get_bool_or (object, "paused", FALSE);
  return TRUE;
}

/* ---- Marks in guests' directories ---- */

gboolean
arrival_mark (Arrival *arrival, const char *directory, GError **error)
{
  g_autofree char *path = g_build_filename (directory, GUEST_FILE_ARRIVAL, NULL);
  g_autoptr (JsonObject) object = json_object_new();

  json_object_set_string_member (object, "id", arrival->id);
  json_object_set_string_member (object, "from", arrival->from);
  g_autofree char *text = json_to_pretty (object);
  return fd_replace_file (path, text, strlen (text), error);
}

void
arrival_unmark (const char *directory)
{
  g_autofree char *path = g_build_filename (directory, GUEST_FILE_ARRIVAL, NULL);

  g_unlink (path);
}

gboolean
arrivals_find_left (Arrivals *arrivals, const char *directory, gboolean *runs, gboolean *paused)
{
  g_autofree char *path = g_build_filename (directory, GUEST_FILE_ARRIVAL, NULL);
  g_autoptr (JsonObject) object = NULL;

  if (!g_file_test (path, G_FILE_TEST_EXISTS))
    return FALSE;
  *runs = *paused = FALSE;
  object = read_object (path);
  const char *id = object != NULL ? json_get_string_or (object, "id", NULL) : NULL;
  if (id != NULL && g_uuid_string_is_valid (id))
    *runs = has_record (arrivals, id, paused);
  return TRUE;
}

/* ---- One that comes ---- */

static gboolean
has_ended (gpointer id G_GNUC_UNUSED, gpointer arrival, gpointer user_data G_GNUC_UNUSED)
{
  return ((Arrival *)arrival)->state == ARRIVAL_ENDED;
}

/* With the lock held. One that has ended is unknown afterwards, which says the same; of one that
 * runs there is the record. */
static void
forget_some (Arrivals *arrivals)
{
  if (g_hash_table_size (arrivals->table) >= MAX_KNOWN)
    g_hash_table_foreach_remove (arrivals->table, has_ended, NULL);
}

Arrival *
arrivals_add (Arrivals *arrivals, const char *id, const char *guest, const char *from,
              GError **error)
{
  gboolean paused;

  if (!g_uuid_string_is_valid (id)) {
    g_set_error_literal (error, API_ERROR, API_USAGE, "id: a uuid is wanted");
    return NULL;
  }
  if (*from == 0 || strlen (from) > MAX_FROM) {
    g_set_error (error, API_ERROR, API_USAGE, "from: a host's name of at most %d bytes is wanted",
                 MAX_FROM);
    return NULL;
  }
  LOCK (arrivals);
  forget_some (arrivals);
  if (g_hash_table_contains (arrivals->table, id) || has_record (arrivals, id, &paused)) {
    g_set_error (error, API_ERROR, API_CONFLICT, "there was a migration %s already", id);
    return NULL;
  }
  if (!make_records (arrivals, error))
    return NULL;
  Arrival *arrival = g_new0 (Arrival, 1);
  g_atomic_ref_count_init (&arrival->refs);
  arrival->arrivals = arrivals;
  arrival->id = g_strdup (id);
  arrival->guest = g_strdup (guest);
  arrival->from = g_strdup (from);
  arrival->cancellable = g_cancellable_new();
  arrival->state = ARRIVAL_RECEIVING;
  arrival->heard_us = g_get_monotonic_time();
  g_hash_table_insert (arrivals->table, arrival->id, arrival_ref (arrival));
  return arrival;
}

/* With the lock held: why it is given up, if nobody has said so yet. */
static void
give_up (Arrival *arrival, const GError *reason)
{
  if (arrival->reason == NULL && reason != NULL)
    arrival->reason = g_error_copy (reason);
}

/* With the lock held: nobody can decide any more that it runs. */
static void
begin_end (Arrival *arrival)
{
  if (arrival->state == ARRIVAL_RECEIVING || arrival->state == ARRIVAL_ARRIVED)
    arrival->state = ARRIVAL_ENDING;
  g_cond_broadcast (&arrival->arrivals->changed);
}

/* With the lock held. */
static gboolean
tell_reason (Arrival *arrival, GError **error)
{
  if (arrival->reason != NULL)
    g_propagate_error (error, g_error_copy (arrival->reason));
  else
    g_set_error (error, API_ERROR, API_INTERRUPTED, "host %s has given the migration up",
                 arrival->from);
  return FALSE;
}

/* With the lock held; of one that is not being decided: whether the source is still to be waited
 * for. */
static gboolean
is_worth_waiting (Arrival *arrival, GError **error)
{
  if (g_cancellable_set_error_if_cancelled (arrival->cancellable, error))
    return FALSE;
  if (!is_silent (arrival))
    return TRUE;
  g_set_error (error, API_ERROR, API_FAILED, "host %s has said nothing for %d seconds",
               arrival->from, MIGRATION_SILENCE_SECONDS);
  return FALSE;
}

char *
arrival_wait_told (Arrival *arrival, GError **error)
{
  Arrivals *arrivals = arrival->arrivals;
  g_autoptr (GError) reason = NULL;
  LOCK (arrivals);

  while (arrival->state == ARRIVAL_RECEIVING && arrival->told == NULL &&
         is_worth_waiting (arrival, &reason))
    g_cond_wait_until (&arrivals->changed, &arrivals->lock, g_get_monotonic_time() + CHECK_US);
  if (arrival->state == ARRIVAL_RECEIVING && reason == NULL)
    return g_strdup (arrival->told);
  give_up (arrival, reason);
  begin_end (arrival);
  tell_reason (arrival, error);
  return NULL;
}

void
arrival_note_read (Arrival *arrival)
{
  LOCK (arrival->arrivals);
  arrival->read_us = g_get_monotonic_time();
}

gboolean
arrival_announce (Arrival *arrival, const ArrivedGuest *guest, GError **error)
{
  LOCK (arrival->arrivals);

  if (arrival->state != ARRIVAL_RECEIVING)
    return tell_reason (arrival, error);
  arrival->state = ARRIVAL_ARRIVED;
  arrival->arrived = guest;
  g_cond_broadcast (&arrival->arrivals->changed);
  return TRUE;
}

gboolean
arrival_wait_decided (Arrival *arrival, GError **error)
{
  Arrivals *arrivals = arrival->arrivals;
  g_autoptr (GError) reason = NULL;
  LOCK (arrivals);

  while (arrival->state == ARRIVAL_ARRIVED) {
    /* Work on the decision uses what the caller has: it must not go before. */
    if (!arrival->deciding && !is_worth_waiting (arrival, &reason))
      break;
    g_cond_wait_until (&arrivals->changed, &arrivals->lock, g_get_monotonic_time() + CHECK_US);
  }
  give_up (arrival, reason);
  begin_end (arrival);
  arrival->arrived = NULL;
  return arrival->state == ARRIVAL_RUNNING || tell_reason (arrival, error);
}

void
arrival_set_ended (Arrival *arrival, const GError *reason)
{
  LOCK (arrival->arrivals);

  g_return_if_fail (arrival->state != ARRIVAL_RUNNING);
  give_up (arrival, reason);
  arrival->state = ARRIVAL_ENDED;
  g_cond_broadcast (&arrival->arrivals->changed);
}

/* ---- The decision ---- */

/* It has not run, though it was to. The record goes before anybody hears of it. FALSE: it may be
 * there, and then the next daemon would say that the guest runs here; so this one has to, too. */
static gboolean
take_back (Arrival *arrival)
{
  g_autofree char *path = record_path (arrival->arrivals, arrival->id);

  if (g_unlink (path) < 0 && errno != ENOENT && errno != ENOTDIR) {
    g_warning ("guest %s has arrived: %s cannot be taken back (%s), so it counts as decided",
               arrival->guest, path, g_strerror (errno));
    return FALSE;
  }
  sync_directory (arrival->arrivals->directory, NULL);
  return TRUE;
}

/* The steps of which each leaves a state that the next daemon understands:
 *
 *   lease ended    QEMU lives on without this process; undecided: the next daemon ends it
 *   record durable it runs here, whoever says so to QEMU
 */
static gboolean
decide (Arrival *arrival, const ArrivedGuest *guest, GError **error)
{
  g_autoptr (GError) refused = NULL;

  if (!fault_visit (FAULT_MOVE_ASKED, error) ||
      (guest->lease != NULL && !keeper_lease_end (guest->lease, error)) ||
      !fault_visit (FAULT_MOVE_RELEASED, error))
    return FALSE;
  g_autoptr (GError) unwritten = NULL;
  /* It may be there, and not certain to stay. */
  if ((!write_record (arrival, guest->paused, &unwritten) ||
       !fault_visit (FAULT_MOVE_DECIDED, &unwritten)) &&
      take_back (arrival)) {
    g_propagate_error (error, g_steal_pointer (&unwritten));
    return FALSE;
  }
  if (guest->paused || qmp_cont (guest->monitor, &refused))
    return fault_visit (FAULT_MOVE_RUNNING, NULL) || TRUE;
  if (!g_error_matches (refused, QMP_ERROR, QMP_ERROR_COMMAND)) {
    /* Nobody knows whether it runs, so it counts as running: it must not run elsewhere. */
    g_warning ("guest %s has arrived, and is to run: %s", arrival->guest, refused->message);
    return TRUE;
  }
  if (!take_back (arrival)) {
    g_warning ("guest %s has arrived, and is to run: %s", arrival->guest, refused->message);
    return TRUE; /* paused, for its user */
  }
  g_propagate_error (error, g_steal_pointer (&refused));
  return FALSE;
}

/* With the lock held; of one that is not being decided. */
static void
work_on_decision (Arrival *arrival, GError **error)
{
  Arrivals *arrivals = arrival->arrivals;
  const ArrivedGuest *guest = arrival->arrived;
  g_autoptr (GError) reason = NULL;

  arrival->deciding = TRUE;
  g_mutex_unlock (&arrivals->lock);
  gboolean runs = decide (arrival, guest, &reason);
  g_mutex_lock (&arrivals->lock);
  arrival->deciding = FALSE;
  if (runs) {
    arrival->state = ARRIVAL_RUNNING;
    g_cond_broadcast (&arrivals->changed);
    return;
  }
  give_up (arrival, reason);
  begin_end (arrival);
  g_propagate_error (error, g_steal_pointer (&reason));
}

/* With the lock held: the one of that id, heard of now; borrowed, NULL: there is none. */
static Arrival *
hear_of (Arrivals *arrivals, const char *id)
{
  Arrival *arrival = g_hash_table_lookup (arrivals->table, id);

  if (arrival == NULL)
    return NULL;
  arrival->heard_us = g_get_monotonic_time();
  /* Somebody may forget it as soon as it is decided. */
  while (arrival != NULL && arrival->deciding) {
    g_cond_wait (&arrivals->changed, &arrivals->lock);
    arrival = g_hash_table_lookup (arrivals->table, id);
  }
  return arrival;
}

/* What files say of one that is not in the table. */
static ArrivalState
state_by_record (Arrivals *arrivals, const char *id)
{
  gboolean paused;

  return g_uuid_string_is_valid (id) && has_record (arrivals, id, &paused) ? ARRIVAL_RUNNING
                                                                           : ARRIVAL_UNKNOWN;
}

ArrivalState
arrivals_state (Arrivals *arrivals, const char *id)
{
  LOCK (arrivals);
  const Arrival *arrival = hear_of (arrivals, id);

  return arrival != NULL ? arrival->state : state_by_record (arrivals, id);
}

ArrivalState
arrivals_go (Arrivals *arrivals, const char *id, GError **error)
{
  LOCK (arrivals);
  g_autoptr (Arrival) arrival = NULL;
  Arrival *found = hear_of (arrivals, id);

  if (found == NULL)
    return state_by_record (arrivals, id);
  arrival = arrival_ref (found);
  if (arrival->state == ARRIVAL_ARRIVED)
    work_on_decision (arrival, error);
  else if (arrival->state == ARRIVAL_RECEIVING) {
    /* Not all of it is here: whoever says so cannot have been told that it is. */
    g_set_error (error, API_ERROR, API_CONFLICT, "guest %s has not arrived", arrival->guest);
    give_up (arrival, error != NULL ? *error : NULL);
    begin_end (arrival);
    g_cancellable_cancel (arrival->cancellable);
  }
  return arrival->state;
}

ArrivalState
arrivals_tell (Arrivals *arrivals, const char *id, const char *text, GError **error)
{
  LOCK (arrivals);
  g_autoptr (Arrival) arrival = NULL;
  Arrival *found = hear_of (arrivals, id);

  if (found == NULL)
    return state_by_record (arrivals, id);
  arrival = arrival_ref (found);
  if (arrival->told == NULL) {
    arrival->told = g_strdup (text);
    arrival->told_us = g_get_monotonic_time();
  }
  g_cond_broadcast (&arrivals->changed);
  /* Who waits for the answer is not silent. */
  while (arrival->state == ARRIVAL_RECEIVING) {
    arrival->heard_us = g_get_monotonic_time();
    g_cond_wait_until (&arrivals->changed, &arrivals->lock, g_get_monotonic_time() + CHECK_US);
  }
  if (arrival->state != ARRIVAL_ARRIVED && arrival->state != ARRIVAL_RUNNING)
    tell_reason (arrival, error);
  return arrival->state;
}

double
arrivals_read_ms (Arrivals *arrivals, const char *id)
{
  LOCK (arrivals);
  const Arrival *arrival = hear_of (arrivals, id);

  return arrival != NULL && arrival->read_us != 0 ? (arrival->read_us - arrival->told_us) / 1000.0
                                                  : 0;
}

ArrivalState
arrivals_end (Arrivals *arrivals, const char *id)
{
  gint64 deadline = g_get_monotonic_time() + END_WAIT_US;
  g_autoptr (Arrival) arrival = NULL;
  g_autoptr (GCancellable) cancellable = NULL;

  {
    LOCK (arrivals);
    Arrival *found = hear_of (arrivals, id);
    if (found == NULL)
      return state_by_record (arrivals, id);
    arrival = arrival_ref (found);
    begin_end (arrival);
    if (arrival->state == ARRIVAL_RUNNING)
      return arrival->state;
  }
  g_cancellable_cancel (arrival->cancellable);
  LOCK (arrivals);
  while (arrival->state == ARRIVAL_ENDING &&
         g_cond_wait_until (&arrivals->changed, &arrivals->lock, deadline))
    ;
  return arrival->state;
}

char *
arrivals_guest (Arrivals *arrivals, const char *id, GError **error)
{
  LOCK (arrivals);
  const Arrival *arrival = hear_of (arrivals, id);

  if (arrival == NULL)
    g_set_error (error, API_ERROR, API_NOT_FOUND, "no migration %.64s is known here", id);
  return arrival != NULL ? g_strdup (arrival->guest) : NULL;
}

/* Whether a guest of this host still has the mark of that migration. */
static gboolean
has_mark (Arrivals *arrivals, const char *id)
{
  g_autoptr (GDir) dir = g_dir_open (arrivals->runtime->guests, 0, NULL);
  gboolean found = FALSE;
  const char *name;

  while (!found && dir != NULL && (name = g_dir_read_name (dir)) != NULL) {
    g_autofree char *directory = runtime_guest_directory (arrivals->runtime, name);
    g_autofree char *path = g_build_filename (directory, GUEST_FILE_ARRIVAL, NULL);
    g_autoptr (JsonObject) object = read_object (path);
    found = object != NULL && g_strcmp0 (json_get_string_or (object, "id", NULL), id) == 0;
  }
  return found;
}

void
arrivals_forget (Arrivals *arrivals, const char *id)
{
  g_autofree char *path = g_uuid_string_is_valid (id) ? record_path (arrivals, id) : NULL;
  LOCK (arrivals);
  const Arrival *arrival = hear_of (arrivals, id);

  if (path == NULL ||
      (arrival != NULL && arrival->state != ARRIVAL_RUNNING && arrival->state != ARRIVAL_ENDED) ||
      has_mark (arrivals, id))
    return;
  g_hash_table_remove (arrivals->table, id);
  g_unlink (path);
}
