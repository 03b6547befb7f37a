/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vmckptd: serves one runtime directory. Guests do not die with it: started again, it finds them
 * and goes on.
 */
#include "api-error.h"
#include "console.h"
#include "daemon.h"
#include "departures.h"
#include "domain-unfinished.h"
#include "drain.h"
#include "peer-server.h"
#include "peer-spec.h"
#include "peer-tls.h"
#include "proof.h"
#include "router.h"
#include "schedules.h"
#include "shutdown-lock.h"

#include <vmckpt/ram/guest-tracking.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>

#include <glib-unix.h>
#include <libsoup/soup.h>
#include <malloc.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

/* What the command line takes to mean "somebody else is serving, just connect". */
#define STORE_IDLE_US (15 * 60 * G_USEC_PER_SEC)
#define STORE_IDLE_CHECK_SECONDS 60
#define EXIT_SERVED 75
#define IDLE_CHECK_SECONDS 1
#define OPEN_FILES 65536 /* wanted */
#define END_TIMEOUT_US (30 * G_USEC_PER_SEC)

typedef struct {
  char *runtime, *disks;
  char *listen, *tls, *key_file, *guest_files; /* for other hosts */
  char *shutdown_unit;                         /* NULL: a shutdown of the host is not delayed */
  char *libvirt; /* (nullable): URI of the connection whose domains are guests, or "none" */
  int idle_exit; /* seconds without guests and calls; 0: never */
  int ready_fd;
  gboolean version;
} Options;

static void
options_clear (Options *options)
{
  g_free (options->runtime);
  g_free (options->disks);
  g_free (options->libvirt);
  g_free (options->listen);
  g_free (options->tls);
  g_free (options->shutdown_unit);
  g_free (options->key_file);
  g_free (options->guest_files);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Options, options_clear)

static gboolean
parse_options (int *argc, char ***argv, Options *options, GError **error)
{
  const GOptionEntry entries[] = {
    { "runtime", 0, 0, G_OPTION_ARG_FILENAME, &options->runtime, "Runtime directory", "DIR" },
    { "disks", 0, 0, G_OPTION_ARG_FILENAME, &options->disks, "Directory for guests' disks", "DIR" },
    { "listen", 0, 0, G_OPTION_ARG_STRING, &options->listen, "Serve other hosts there, over TLS",
      "ADDRESS[:PORT]" },
    { "tls", 0, 0, G_OPTION_ARG_FILENAME, &options->tls,
      "Certificates of this host: ca-cert.pem, server-*.pem, client-*.pem", "DIR" },
    { "key-file", 0, 0, G_OPTION_ARG_FILENAME, &options->key_file,
      "Opens encrypted stores through which guests come from other hosts", "FILE" },
    { "guest-files", 0, 0, G_OPTION_ARG_FILENAME, &options->guest_files,
      "Where guests of other hosts may have files and stores", "DIR[:DIR...]|any" },
    { "libvirt", 0, 0, G_OPTION_ARG_STRING, &options->libvirt,
      "Take the domains of that libvirt connection for guests", "URI|none" },
    { "idle-exit", 0, 0, G_OPTION_ARG_INT, &options->idle_exit,
      "Exit after SECONDS without guests and calls", "SECONDS" },
    { "ready-fd", 0, 0, G_OPTION_ARG_INT, &options->ready_fd,
      "Write 'ready' to descriptor FD when serving", "FD" },
    { "shutdown-unit", 0, 0, G_OPTION_ARG_STRING, &options->shutdown_unit,
      "Delay a shutdown of the host while systemd stops UNIT, which saves guests", "UNIT" },
    { "version", 0, 0, G_OPTION_ARG_NONE, &options->version, "Print the version", NULL },
    { NULL },
  };
  g_autoptr (GOptionContext) context = g_option_context_new ("- the vmckpt daemon");

  g_option_context_add_main_entries (context, entries, NULL);
  if (!g_option_context_parse (context, argc, argv, error))
    return FALSE;
  if (*argc > 1) {
    g_set_error (error, API_ERROR, API_USAGE, "unexpected argument '%s'", (*argv)[1]);
    return FALSE;
  }
  if (options->runtime == NULL)
    options->runtime = g_strdup (g_getenv ("VMCKPT_RUNTIME"));
  if (options->runtime == NULL)
    options->runtime = runtime_default_path();
  if (options->disks == NULL)
    options->disks = g_strdup (g_getenv ("VMCKPT_DISKS"));
  if (options->libvirt == NULL)
    options->libvirt = g_strdup (g_getenv ("VMCKPT_LIBVIRT"));
  if (options->libvirt == NULL)
    options->libvirt = g_strdup (domains_default_uri (options->runtime));
  if (options->listen == NULL)
    options->listen = g_strdup (g_getenv ("VMCKPT_LISTEN"));
  if (options->tls == NULL)
    options->tls = g_strdup (g_getenv ("VMCKPT_TLS"));
  if (options->key_file == NULL)
    options->key_file = g_strdup (g_getenv ("VMCKPT_KEY_FILE"));
  if (options->guest_files == NULL)
    options->guest_files = g_strdup (g_getenv ("VMCKPT_GUEST_FILES"));
  if (options->guest_files == NULL)
    options->guest_files = g_strdup (PEER_FILES_DEFAULT);
  if (options->tls == NULL && g_file_test (PEER_TLS_DIRECTORY, G_FILE_TEST_IS_DIR))
    options->tls = g_strdup (PEER_TLS_DIRECTORY);
  return TRUE;
}

/* The inode of a path; 0: there is nothing. */
static ino_t
inode_of (const char *path)
{
  struct stat info;

  return lstat (path, &info) == 0 ? info.st_ino : 0;
}

/* The API's socket: systemd's, if it activated us, else one of our own, which has @own_inode. */
static gboolean
serve (SoupServer *server, const Runtime *runtime, ino_t *own_inode, GError **error)
{
  g_auto (AutoFd) fd = sd_listen_fds (1) == 1 ? SD_LISTEN_FDS_START : -1;

  if (fd < 0) {
    fd = fd_listen_unix (runtime->socket, error);
    *own_inode = fd >= 0 ? inode_of (runtime->socket) : 0;
  }
  if (fd < 0)
    return FALSE;
  g_autoptr (GSocket) socket = g_socket_new_from_fd (fd, error);
  if (socket == NULL)
    return FALSE;
  fd_steal (&fd);
  return soup_server_listen_socket (server, socket, 0, error);
}

static gboolean
on_signal (gpointer loop)
{
  g_main_loop_quit (loop);
  return G_SOURCE_CONTINUE;
}

typedef struct {
  Daemon *daemon;
  int limit; /* seconds */
  int idle;  /* seconds so far */
} IdleWatch;

static gboolean
on_idle_check (gpointer user_data)
{
  IdleWatch *watch = user_data;
  gboolean busy = g_atomic_int_get (&watch->daemon->calls) > 0 ||
                  registry_count_alive (watch->daemon->registry) > 0 ||
                  hydrations_count (watch->daemon->hydrations) > 0 ||
                  disk_exports_count (watch->daemon->exports) > 0;

  watch->idle = busy ? 0 : watch->idle + IDLE_CHECK_SECONDS;
  if (watch->idle >= watch->limit)
    g_main_loop_quit (watch->daemon->loop);
  return G_SOURCE_CONTINUE;
}

typedef struct {
  Daemon *daemon;
  ShutdownLock *lock;
} GuestCount;

static gboolean
on_count_guests (gpointer user_data)
{
  GuestCount *count = user_data;

  shutdown_lock_set_guests (count->lock, registry_count_alive (count->daemon->registry));
  return G_SOURCE_CONTINUE;
}

/* Keys of encrypted stores that nobody uses leave memory; a guest's claim is a use. */
static gboolean
on_close_idle_stores (gpointer user_data)
{
  Daemon *daemon = user_data;
  g_autoptr (GHashTable) in_use = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  g_autoptr (GPtrArray) guests = registry_list (daemon->registry);

  for (guint i = 0; i < guests->len; i++) {
    g_auto (GStrv) claims = guest_claims (guests->pdata[i]);
    for (guint j = 0; claims[j] != NULL; j++)
      g_hash_table_add (in_use, g_canonicalize_filename (claims[j], NULL));
  }
  stores_close_idle (daemon->stores, STORE_IDLE_US, in_use);
  return G_SOURCE_CONTINUE;
}

typedef struct {
  const Daemon *daemon;
  int done; /* atomic */
} Finding;

static gpointer
find_guests_thread (gpointer data)
{
  Finding *finding = data;

  /* First: a QEMU that waits for memory answers nobody. */
  templates_take_over (finding->daemon->templates);
  registry_find_guests (finding->daemon->registry);
  domain_unfinished_clean (finding->daemon);
  hydrations_take_over (finding->daemon->hydrations);
  g_atomic_int_set (&finding->done, TRUE);
  g_main_context_wakeup (NULL);
  return NULL;
}

/* Finding guests waits for QEMUs whose monitors are served by the main loop, so it is done on
 * another thread while this one runs the loop. */
static void
find_guests (const Daemon *daemon)
{
  Finding finding = { .daemon = daemon };
  GThread *thread = g_thread_new ("find-guests", find_guests_thread, &finding);

  while (!g_atomic_int_get (&finding.done))
    g_main_context_iteration (NULL, TRUE);
  g_thread_join (thread);
}

static void
tell_ready (int ready_fd)
{
  g_auto (AutoFd) fd = ready_fd;

  if (fd >= 0)
    fd_write_full (fd, "ready\n", 6, NULL);
  sd_notify (0, "READY=1");
}

/* Wakes the loop, so that a deadline is noticed. */
static gboolean
on_tick (gpointer user_data)
{
  return G_SOURCE_CONTINUE;
}

/* Calls at work are cancelled: they put their guests right and are answered, within reason. */
static void
end_calls (Daemon *daemon)
{
  gint64 deadline = g_get_monotonic_time() + END_TIMEOUT_US;
  guint tick = g_timeout_add (100, on_tick, NULL);

  g_cancellable_cancel (daemon->stopping);
  while (g_atomic_int_get (&daemon->calls) > 0 && g_get_monotonic_time() < deadline)
    g_main_context_iteration (NULL, TRUE);
  g_source_remove (tick);
}

static int
run (const Options *options, GError **error)
{
  Runtime *runtime = runtime_open (options->runtime, options->disks, error);
  if (runtime == NULL)
    return g_error_matches (*error, API_ERROR, API_CONFLICT) ? EXIT_SERVED : 1;
  Stores *stores = stores_new();
  Daemon daemon = { .runtime = runtime,
                    .stores = stores,
                    .registry = registry_new (runtime, stores),
                    .templates = templates_new (runtime, stores),
                    .looks = looks_new (runtime),
                    .exports = disk_exports_new (runtime),
                    .arrivals = arrivals_new (runtime),
                    .schedules = schedules_new(),
                    .tls = options->tls,
                    .key_file = options->key_file,
                    .guest_files = options->guest_files,
                    .loop = g_main_loop_new (NULL, FALSE),
                    .stopping = g_cancellable_new() };
  SoupServer *server = soup_server_new ("server-header", "vmckptd", NULL);
  IdleWatch idle = { .daemon = &daemon, .limit = options->idle_exit };
  GuestCount count = { .daemon = &daemon };
  ino_t own_inode = 0;

  daemon.domains = domains_new (
      daemon.registry, g_strcmp0 (options->libvirt, "none") == 0 ? NULL : options->libvirt);
  proof_clean (runtime);
  disk_exports_take_over (daemon.exports);
  daemon.hydrations = hydrations_new (runtime, daemon.registry, stores);
  registry_set_io_error_func (daemon.registry, hydrations_note_io_error, daemon.hydrations);
  registry_set_arrivals (daemon.registry, daemon.arrivals);
  find_guests (&daemon);
  drain_take_over (&daemon);
  schedules_watch (&daemon);
  departures_watch (&daemon);
  router_attach (server, &daemon);
  console_attach (server, &daemon);
  if ((options->listen != NULL &&
       peer_server_new (&daemon, options->listen, options->tls, error) == NULL) ||
      !serve (server, runtime, &own_inode, error))
    return 1;
  g_unix_signal_add (SIGTERM, on_signal, daemon.loop);
  g_unix_signal_add (SIGINT, on_signal, daemon.loop);
  if (idle.limit > 0)
    g_timeout_add_seconds (IDLE_CHECK_SECONDS, on_idle_check, &idle);
  g_timeout_add_seconds (STORE_IDLE_CHECK_SECONDS, on_close_idle_stores, &daemon);
  if (options->shutdown_unit != NULL) {
    count.lock = shutdown_lock_new (options->shutdown_unit);
    g_timeout_add_seconds (IDLE_CHECK_SECONDS, on_count_guests, &count);
  }
  tell_ready (options->ready_fd);
  g_main_loop_run (daemon.loop);
  sd_notify (0, "STOPPING=1");
  /* Another may be there by now: systemd's, for the daemon that takes over. */
  if (own_inode != 0 && inode_of (runtime->socket) == own_inode)
    unlink (runtime->socket);
  end_calls (&daemon);
  looks_end (daemon.looks);
  /* Nothing is freed: threads that did not end in time (a store that hangs) may still use it. */
  fflush (NULL);
  _exit (0);
}

/* A guest takes about a dozen descriptors here; the usual limit of 1024, there for select(2), would
 * be reached with a hundred forks. Without more it works until then. */
static void
raise_open_files (void)
{
  struct rlimit files;

  if (getrlimit (RLIMIT_NOFILE, &files) < 0 || files.rlim_cur >= OPEN_FILES)
    return;
  files.rlim_cur = MIN (files.rlim_max, OPEN_FILES);
  setrlimit (RLIMIT_NOFILE, &files);
}

int
main (int argc, char **argv)
{
  g_auto (Options) options = { .ready_fd = -1 };
  g_autoptr (GError) error = NULL;
  int status = 2;

  signal (SIGPIPE, SIG_IGN);
  raise_open_files();
  /* Packs of 8 MiB and batches of 1 come and go on several threads. From here on, the allocator
   * gives such back to the kernel; by itself it would soon keep one or two for each thread. */
  mallopt (M_MMAP_THRESHOLD, 1024 * 1024);
  /* For good: what is handed to the main context then runs on this thread and no other. */
  g_main_context_acquire (NULL);
  if (parse_options (&argc, &argv, &options, &error) && fault_check_environment (&error) &&
      guest_tracking_check_environment (&error)) {
    if (options.version) {
      printf ("vmckptd " VMCKPT_VERSION "\n");
      return 0;
    }
    status = sodium_init() < 0 ? 1 : run (&options, &error);
  }
  if (error != NULL)
    fprintf (stderr, "vmckptd: %s\n", error->message);
  return status;
}
