/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "registry.h"

#include "api-error.h"
#include "claims.h"
#include "disks-left.h"
#include "filling.h"
#include "guest-memory.h"
#include "main-call.h"

#include <glib/gstdio.h>
#include <string.h>

#define FIND_AGAIN_SECONDS 3
#define UNFINISHED_WAIT_MS 10000
/* Who started the daemon waits 10 s for it. */
#define FIRST_FIND_SECONDS 6
#define WAIT_STEP_US (50 * G_TIME_SPAN_MILLISECOND)

struct _Registry {
  const Runtime *runtime;
  Stores *stores;
  Arrivals *arrivals; /* (nullable) */
  GMutex lock;
  GCond found;        /* a guest has been looked for */
  GHashTable *guests; /* name → Guest */
  guint retry;        /* timer; 0 until the guests of an earlier daemon have been found */
  GuestIoErrorFunc io_error_func; /* (nullable) */
  gpointer io_error_data;
  gboolean drained; /* guarded by the lock */
  guint restores;   /* under way: their boot files belong to no guest yet */
};

#define LOCK(registry)                                                                             \
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&(registry)->lock)

static gboolean retry_lost (gpointer user_data);

Registry *
registry_new (const Runtime *runtime, Stores *stores)
{
  Registry *registry = g_new0 (Registry, 1);

  registry->runtime = runtime;
  registry->stores = stores;
  g_mutex_init (&registry->lock);
  g_cond_init (&registry->found);
  registry->guests =
      g_hash_table_new_full (g_str_hash, g_str_equal, NULL, (GDestroyNotify)guest_unref);
  return registry;
}

void
registry_free (Registry *registry)
{
  if (registry == NULL)
    return;
  g_clear_handle_id (&registry->retry, g_source_remove);
  g_hash_table_unref (registry->guests);
  g_mutex_clear (&registry->lock);
  g_cond_clear (&registry->found);
  g_free (registry);
}

void
registry_set_io_error_func (Registry *registry, GuestIoErrorFunc func, gpointer user_data)
{
  registry->io_error_func = func;
  registry->io_error_data = user_data;
}

void
registry_set_arrivals (Registry *registry, Arrivals *arrivals)
{
  registry->arrivals = arrivals;
}

typedef struct {
  Registry *registry;
  Guest *guest;
} GuestOf;

/* Takes a GuestOf. */
static gpointer
note_left_thread (gpointer data)
{
  g_autofree GuestOf *ending = data;

  disks_left_note (ending->registry->runtime, guest_spec (ending->guest), NULL, NULL);
  guest_unref (ending->guest);
  return NULL;
}

static gboolean
is_domain (Guest *guest)
{
  return guest_spec (guest)->driver == GUEST_DRIVER_LIBVIRT;
}

/* A domain that is gone is libvirt's to be listed, or not: nothing of it stays here. */
static void
forget_domain (Registry *registry, Guest *guest)
{
  claims_release (guest, registry->runtime, registry->stores);
  registry_remove (registry, guest);
}

/* Takes a GuestOf. */
static gpointer
forget_domain_thread (gpointer data)
{
  g_autofree GuestOf *ending = data;
  g_autoptr (Guest) guest = ending->guest;
  g_autoptr (GuestWork) work G_GNUC_UNUSED =
      guest_begin_brief_work (guest, "its end", NULL); /* after what is at work */

  forget_domain (ending->registry, guest);
  return NULL;
}

/* A guest that ended by itself gives up its claims, so that it may be restored elsewhere. Whoever
 * is at work on it knows more of how it leaves its disks. */
static void
on_guest_exit (Guest *guest, gpointer user_data)
{
  Registry *registry = user_data;

  if (!guest_is_busy (guest)) {
    GuestOf *ending = g_new (GuestOf, 1);
    *ending = (GuestOf){ registry, guest_ref (guest) };
    g_thread_unref (g_thread_new ("note-disks", note_left_thread, ending));
  }
  if (is_domain (guest)) {
    GuestOf *ending = g_new (GuestOf, 1);
    *ending = (GuestOf){ registry, guest_ref (guest) };
    g_thread_unref (g_thread_new ("forget-domain", forget_domain_thread, ending));
    return;
  }
  claims_release_later (guest, registry->runtime, registry->stores);
}

/* With the lock held. */
static void
insert (Registry *registry, Guest *guest)
{
  guest_set_exit_func (guest, on_guest_exit, registry);
  guest_set_io_error_func (guest, registry->io_error_func, registry->io_error_data);
  g_hash_table_replace (registry->guests, (char *)guest_key (guest), guest_ref (guest));
}

/* ---- Guests of an earlier daemon ---- */

/* A guest that ended while no daemon was there. One that was never put into service — a start or
 * restore that its daemon did not live to finish — leaves nothing. */
static void
settle_exited (Registry *registry, Guest *guest)
{
  g_autofree char *memory = g_build_filename (guest_directory (guest), GUEST_FILE_DAEMON, NULL);

  if (is_domain (guest))
    forget_domain (registry, guest);
  else if (g_file_test (memory, G_FILE_TEST_EXISTS))
    claims_release_later (guest, registry->runtime, registry->stores);
  else
    registry_remove (registry, guest);
}

/* A guest that an earlier daemon was receiving from another host. If it was decided that it runs
 * here, it does; else it must not: its source goes on with it. */
static void
settle_arrival (Registry *registry, Guest *guest)
{
  g_autoptr (GError) error = NULL;
  gboolean runs, paused;

  if (registry->arrivals == NULL ||
      !arrivals_find_left (registry->arrivals, guest_directory (guest), &runs, &paused))
    return;
  if (runs && guest_state (guest) == GUEST_PAUSED && !paused && !guest_continue (guest, &error))
    g_warning ("guest %s has arrived, and is to run: %s", guest_name (guest), error->message);
  if (runs && guest_state (guest) != GUEST_UNRESPONSIVE)
    arrival_unmark (guest_directory (guest));
  if (runs || (!guest_kill (guest, &error) && guest_state (guest) != GUEST_EXITED)) {
    if (!runs)
      g_warning ("guest %s has not arrived: %s", guest_name (guest), error->message);
    return;
  }
  arrival_unmark (guest_directory (guest));
  registry_remove (registry, guest);
}

typedef struct {
  Registry *registry;
  GuestWork *work; /* on the guest */
} Finding;

/* A MainCallFunc: of an error that came when nobody listened. */
static void
tell_io_error (gpointer data)
{
  const GuestOf *found = data;
  Registry *registry = found->registry;

  if (registry->io_error_func != NULL && guest_is_io_stopped (found->guest))
    registry->io_error_func (found->guest, registry->io_error_data);
}

/* Takes a Finding. */
static gpointer
find_thread (gpointer data)
{
  g_autofree Finding *finding = data;
  Registry *registry = finding->registry;
  g_autoptr (Guest) guest = guest_ref (finding->work->guest);
  GuestOf found = { registry, guest };

  /* QEMU may not answer before it has the page that its main loop waits for. */
  filling_take_over (guest, registry->stores);
  guest_find_again (guest);
  filling_take_over (guest, registry->stores);
  settle_arrival (registry, guest);
  if (guest_state (guest) == GUEST_EXITED)
    settle_exited (registry, guest);
  guest_end_work (finding->work);
  main_call (tell_io_error, &found);
  LOCK (registry);
  g_cond_broadcast (&registry->found);
  return NULL;
}

/* Looks for the QEMU of a guest that has none, in the background; does nothing where something is
 * at work. */
static void
begin_finding (Registry *registry, Guest *guest)
{
  GuestWork *work =
      guest_is_lost (guest) ? guest_begin_work (guest, GUEST_WORK_FINDING, NULL) : NULL;
  Finding *finding;

  if (work == NULL)
    return;
  finding = g_new (Finding, 1);
  *finding = (Finding){ registry, work };
  g_thread_unref (g_thread_new ("find-guest", find_thread, finding));
}

/* Whether something can be said of each guest. One that waits for pages may not be found for long.
 */
static gboolean
all_are_known (Registry *registry)
{
  g_autoptr (GPtrArray) guests = registry_list (registry);

  for (guint i = 0; i < guests->len; i++)
    if (guest_is_busy (guests->pdata[i]) && !guest_is_in_trouble (guests->pdata[i]))
      return FALSE;
  return TRUE;
}

static void
wait_for_found (Registry *registry)
{
  gint64 deadline = g_get_monotonic_time() + FIRST_FIND_SECONDS * G_TIME_SPAN_SECOND;

  while (!all_are_known (registry) && g_get_monotonic_time() < deadline) {
    LOCK (registry);
    /* That a guest is in trouble nobody tells. */
    g_cond_wait_until (&registry->found, &registry->lock, g_get_monotonic_time() + WAIT_STEP_US);
  }
}

void
registry_find_guests (Registry *registry)
{
  g_autoptr (GDir) dir = g_dir_open (registry->runtime->guests, 0, NULL);
  const char *name;

  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL) {
    g_autofree char *directory = runtime_guest_directory (registry->runtime, name);
    g_autoptr (GuestSpec) spec = qemu_read_spec (directory, NULL);
    g_autoptr (Guest) guest =
        spec != NULL ? guest_new (registry->runtime, spec, GUEST_UNRESPONSIVE) : NULL;
    if (guest == NULL || g_strcmp0 (guest_key (guest), name) != 0) {
      g_message ("%s does not describe a guest; left alone", directory);
      continue;
    }
    guest_load_memory (guest);
    {
      LOCK (registry);
      insert (registry, guest);
    }
    begin_finding (registry, guest);
  }
  wait_for_found (registry);
  registry->retry = g_timeout_add_seconds (FIND_AGAIN_SECONDS, retry_lost, registry);
}

static gboolean
retry_lost (gpointer user_data)
{
  Registry *registry = user_data;
  g_autoptr (GPtrArray) guests = registry_list (registry);

  for (guint i = 0; i < guests->len; i++)
    begin_finding (registry, guests->pdata[i]);
  return G_SOURCE_CONTINUE;
}

/* ---- Names ---- */

/* With the lock held: another guest that has the name or the identity, and is not over and done
 * with; nor is one whose QEMU is gone while only another host knows whether it runs there. */
static Guest *
find_rival (Registry *registry, const GuestSpec *spec)
{
  GHashTableIter iter;
  Guest *guest;

  g_hash_table_iter_init (&iter, registry->guests);
  while (g_hash_table_iter_next (&iter, NULL, (gpointer *)&guest))
    if ((guest_state (guest) != GUEST_EXITED || guest_is_busy (guest) ||
         guest_is_departing (guest)) &&
        ((g_strcmp0 (guest_name (guest), spec->name) == 0 &&
          guest_spec (guest)->driver == spec->driver) ||
         g_strcmp0 (guest_uuid (guest), spec->uuid) == 0))
      return guest;
  return NULL;
}

void
registry_wait_for_unfinished (Registry *registry, const char *name)
{
  g_autoptr (Guest) guest = registry_get (registry, name, NULL);

  if (guest != NULL &&
      (guest_state (guest) == GUEST_STARTING || guest_state (guest) == GUEST_RESTORING)) {
    g_autoptr (GuestWork) work G_GNUC_UNUSED =
        guest_wait_for_work (guest, "waiting", UNFINISHED_WAIT_MS, NULL);
  }
}

Guest *
registry_add (Registry *registry, const GuestSpec *spec, GuestState state, GError **error)
{
  g_autoptr (Guest) guest = guest_new (registry->runtime, spec, state);
  registry_wait_for_unfinished (registry, spec->name);
  LOCK (registry);
  Guest *rival = find_rival (registry, spec);

  if (registry->drained && (spec->driver == GUEST_DRIVER_QEMU || state == GUEST_RESTORING)) {
    g_set_error (error, API_ERROR, API_CONFLICT,
                 "host %s is drained and takes no guests: 'vmckpt drain --undo' there ends that",
                 registry->runtime->host);
    return NULL;
  }
  if (rival != NULL && guest_state (rival) == GUEST_EXITED && !guest_check_here (rival, error))
    return NULL;
  if (rival != NULL) {
    gboolean same_name = g_str_equal (guest_name (rival), spec->name);
    g_set_error (error, API_ERROR, API_CONFLICT,
                 same_name ? "a guest named %s is here already: kill it, or choose another name"
                           : "this guest is here already, under the name %s",
                 guest_name (rival));
    return NULL;
  }
  Guest *former = g_hash_table_lookup (registry->guests, guest_key (guest));
  if (former != NULL)
    guest_remove_files (former);
  insert (registry, guest);
  return g_steal_pointer (&guest);
}

void
registry_remove (Registry *registry, Guest *guest)
{
  {
    LOCK (registry);
    /* The name may have gone over to another guest already. */
    if (g_hash_table_lookup (registry->guests, guest_key (guest)) == guest) {
      guest_remove_files (guest);
      g_hash_table_remove (registry->guests, guest_key (guest));
    }
  }
  registry_begin_restore (registry);
  registry_end_restore (registry);
}

/* ---- Boot files ---- */

/* With the lock held. */
static gboolean
boot_file_needed (Registry *registry, const char *path)
{
  GHashTableIter iter;
  Guest *guest;

  g_hash_table_iter_init (&iter, registry->guests);
  while (g_hash_table_iter_next (&iter, NULL, (gpointer *)&guest))
    if (g_strcmp0 (guest_spec (guest)->kernel, path) == 0 ||
        g_strcmp0 (guest_spec (guest)->initrd, path) == 0)
      return TRUE;
  return FALSE;
}

void
registry_begin_restore (Registry *registry)
{
  LOCK (registry);
  registry->restores++;
}

void
registry_end_restore (Registry *registry)
{
  LOCK (registry);
  const char *files = registry->runtime->files, *name;

  if (--registry->restores > 0)
    return;
  g_autoptr (GDir) dir = g_dir_open (files, 0, NULL);
  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL) {
    g_autofree char *path = g_build_filename (files, name, NULL);
    if (!boot_file_needed (registry, path))
      g_unlink (path);
  }
  g_rmdir (files); /* only if it is empty */
}

/* ---- Looking up ---- */

/* An attached domain by its name, which may be that of a guest of ours; with the lock held. */
static Guest *
find_domain (Registry *registry, const char *name)
{
  GHashTableIter iter;
  Guest *guest;

  if (g_str_has_prefix (name, DOMAIN_PREFIX))
    name += strlen (DOMAIN_PREFIX);
  g_hash_table_iter_init (&iter, registry->guests);
  while (g_hash_table_iter_next (&iter, NULL, (gpointer *)&guest))
    if (is_domain (guest) &&
        (g_str_equal (guest_name (guest), name) || g_str_equal (guest_uuid (guest), name)))
      return guest;
  return NULL;
}

Guest *
registry_get (Registry *registry, const char *name, GError **error)
{
  LOCK (registry);
  Guest *guest = g_hash_table_lookup (registry->guests, name);

  if (guest == NULL)
    guest = find_domain (registry, name);
  if (guest != NULL)
    return guest_ref (guest);
  g_set_error (error, API_ERROR, API_NOT_FOUND, "no guest '%.64s' on this host", name);
  return NULL;
}

Guest *
registry_find_uuid (Registry *registry, const char *uuid)
{
  g_autoptr (GPtrArray) guests = registry_list (registry);

  for (guint i = 0; i < guests->len; i++) {
    Guest *guest = g_ptr_array_index (guests, i);
    if (guest_state (guest) != GUEST_EXITED && g_strcmp0 (guest_uuid (guest), uuid) == 0)
      return guest_ref (guest);
  }
  return NULL;
}

gboolean
registry_check_arrival (Registry *registry, const char *uuid, GError **error)
{
  g_autoptr (Guest) here = registry_find_uuid (registry, uuid);

  if (here != NULL)
    g_set_error (error, API_ERROR, API_CONFLICT,
                 "the guest is here already, as %s: there is nothing to move", guest_name (here));
  return here == NULL;
}

static int
by_name (gconstpointer a, gconstpointer b)
{
  return strcmp (guest_name (*(Guest **)a), guest_name (*(Guest **)b));
}

GPtrArray *
registry_list (Registry *registry)
{
  g_autoptr (GPtrArray) list = g_ptr_array_new_with_free_func ((GDestroyNotify)guest_unref);
  GHashTableIter iter;
  Guest *guest;
  LOCK (registry);

  g_hash_table_iter_init (&iter, registry->guests);
  while (g_hash_table_iter_next (&iter, NULL, (gpointer *)&guest))
    g_ptr_array_add (list, guest_ref (guest));
  g_ptr_array_sort (list, by_name);
  return g_steal_pointer (&list);
}

Guest *
registry_find_needing (Registry *registry, const char *store_id, const char *checkpoint)
{
  g_autoptr (GPtrArray) guests = registry_list (registry);

  for (guint i = 0; i < guests->len; i++)
    if (guest_needs_checkpoint (guests->pdata[i], store_id, checkpoint))
      return guest_ref (guests->pdata[i]);
  return NULL;
}

void
registry_set_drained (Registry *registry, gboolean drained)
{
  LOCK (registry);
  registry->drained = drained;
}

gboolean
registry_is_drained (Registry *registry)
{
  LOCK (registry);
  return registry->drained;
}

guint
registry_fill_held (Registry *registry)
{
  g_autoptr (GPtrArray) guests = registry_list (registry);
  guint count = 0;

  for (guint i = 0; i < guests->len; i++)
    count += guest_run_fill (guests->pdata[i]);
  return count;
}

guint
registry_count_alive (Registry *registry)
{
  g_autoptr (GPtrArray) guests = registry_list (registry);
  guint alive = 0;

  for (guint i = 0; i < guests->len; i++)
    alive += guest_state (g_ptr_array_index (guests, i)) != GUEST_EXITED;
  return alive;
}
