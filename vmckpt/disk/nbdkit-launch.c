/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "nbdkit-launch.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PLUGIN_NAME "nbdkit-vmckpt-plugin.so"
/* Descriptors in nbdkit: the first after the standard ones is where sockets are passed
 * (sd_listen_fds(3)). */
#define LISTEN_FD 3
#define KEY_FD 4
#define READY_FD 5
/* Ours are moved up here first, so that none lies where another is to be. */
#define FREE_FD 10
#define STRING(number) #number
#define NUMBER(macro) STRING (macro)

/* A log longer than this is begun anew at the next start. */
#define LOG_MAX_BYTES (1024 * 1024)
#define LOG_TAIL_BYTES 1024
#define BACKLOG 64
#define PID_MAX_CHARS 16
#define PID_VARIABLE "LISTEN_PID="

/* ---- What is run ---- */

static char *
find_nbdkit (GError **error)
{
  const char *named = g_getenv ("VMCKPT_NBDKIT");
  char *path = g_find_program_in_path (named != NULL && *named != '\0' ? named : "nbdkit");

  if (path == NULL)
    g_set_error (error, DISK_ERROR, DISK_ERROR_IMPOSSIBLE,
                 "%s is not installed here, without which disks of checkpoints cannot be served",
                 named != NULL && *named != '\0' ? named : "nbdkit");
  return path;
}

/* VMCKPT_NBD_PLUGIN, then the build tree of the running program, then where it is installed. */
static char *
find_plugin (GError **error)
{
  const char *named = g_getenv ("VMCKPT_NBD_PLUGIN");
  g_autofree char *self = g_file_read_link ("/proc/self/exe", NULL);
  g_autofree char *bin = self != NULL ? g_path_get_dirname (self) : g_strdup (".");
  g_autofree char *built = g_build_filename (bin, "..", "..", "store", "nbd", PLUGIN_NAME, NULL);
  g_autofree char *installed = g_build_filename (VMCKPT_LIBDIR, PLUGIN_NAME, NULL);
  const char *candidates[] = { named, built, installed };

  for (guint i = named != NULL ? 0 : 1; i < G_N_ELEMENTS (candidates); i++)
    if (g_file_test (candidates[i], G_FILE_TEST_IS_REGULAR))
      return g_canonicalize_filename (candidates[i], NULL);
  g_set_error (error, DISK_ERROR, DISK_ERROR_IMPOSSIBLE,
               "%s is neither beside this program nor in %s; VMCKPT_NBD_PLUGIN can name it",
               PLUGIN_NAME, VMCKPT_LIBDIR);
  return NULL;
}

gboolean
disk_server_check (GError **error)
{
  g_autofree char *nbdkit = find_nbdkit (error);
  g_autofree char *plugin = nbdkit != NULL ? find_plugin (error) : NULL;

  return plugin != NULL;
}

static gboolean
check_tls (const char *directory, GError **error)
{
  static const char *const names[] = { "ca-cert.pem", "server-cert.pem", "server-key.pem" };

  for (guint i = 0; i < G_N_ELEMENTS (names); i++) {
    g_autofree char *path = g_build_filename (directory, names[i], NULL);
    if (access (path, R_OK) < 0)
      return fd_set_errno_error (error, "TLS needs %s", path);
  }
  return TRUE;
}

static GStrv
make_arguments (const DiskServerRecord *record, gboolean key, GError **error)
{
  g_autofree char *nbdkit = find_nbdkit (error);
  g_autofree char *plugin = nbdkit != NULL ? find_plugin (error) : NULL;
  g_autoptr (GStrvBuilder) args = g_strv_builder_new();

  if (plugin == NULL || (record->tls != NULL && !check_tls (record->tls, error)))
    return NULL;
  g_autofree char *tls = g_strdup_printf ("--tls-certificates=%s", record->tls);
  g_autofree char *store = g_strdup_printf ("store=%s", record->store);
  g_autofree char *checkpoint = g_strdup_printf ("checkpoint=%s", record->checkpoint);
  g_autofree char *disk = g_strdup_printf ("disk=%s", record->disk);
  g_strv_builder_add_many (args, nbdkit, "--foreground", NULL);
  if (record->exit_last)
    g_strv_builder_add (args, "--filter=exitlast");
  if (record->temporary != NULL)
    g_strv_builder_add (args, "--filter=cow");
  else
    g_strv_builder_add (args, "--read-only");
  if (record->tls != NULL)
    g_strv_builder_add_many (args, "--tls=require", "--tls-verify-peer", tls, NULL);
  g_strv_builder_add_many (args, plugin, store, checkpoint, "ready-fd=" NUMBER (READY_FD), NULL);
  if (record->disk != NULL)
    g_strv_builder_add (args, disk);
  if (key)
    g_strv_builder_add (args, "key-fd=" NUMBER (KEY_FD));
  return g_strv_builder_end (args);
}

/* With room for the child's pid in the last variable. */
static GStrv
make_environment (const DiskServerRecord *record)
{
  GStrv environment = g_get_environ();

  environment = g_environ_setenv (environment, "LISTEN_FDS", "1", TRUE);
  environment = g_environ_unsetenv (environment, "LISTEN_FDNAMES");
  environment = g_environ_unsetenv (environment, "LISTEN_PID");
  /* Where the filter for writes makes its file. */
  if (record->temporary != NULL)
    environment = g_environ_setenv (environment, "TMPDIR", record->temporary, TRUE);
  guint n = g_strv_length (environment);
  environment = g_renew (char *, environment, n + 2);
  environment[n] = g_malloc0 (strlen (PID_VARIABLE) + PID_MAX_CHARS + 1);
  strcpy (environment[n], PID_VARIABLE);
  environment[n + 1] = NULL;
  return environment;
}

/* ---- Descriptors ---- */

static int
listen_at (DiskServerRecord *record, GError **error)
{
  struct addrinfo hints = { .ai_family = AF_UNSPEC,
                            .ai_socktype = SOCK_STREAM,
                            .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE };
  g_autofree char *port = g_strdup_printf ("%u", record->port);
  g_auto (AutoFd) fd = -1;
  struct sockaddr_storage bound;
  socklen_t len = sizeof bound;
  struct addrinfo *found;
  int yes = 1;

  int code = getaddrinfo (record->address, port, &hints, &found);
  if (code != 0) {
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, "'%s' is not an IP address: %s",
                 record->address, gai_strerror (code));
    return -1;
  }
  fd = socket (found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  gboolean listens = fd >= 0 && setsockopt (fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0 &&
                     bind (fd, found->ai_addr, found->ai_addrlen) == 0 &&
                     listen (fd, BACKLOG) == 0 &&
                     getsockname (fd, (struct sockaddr *)&bound, &len) == 0;
  if (!listens)
    fd_set_errno_error (error, "listening on %s port %u", record->address, record->port);
  freeaddrinfo (found);
  if (!listens)
    return -1;
  record->port = ntohs (bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                                    : ((struct sockaddr_in *)&bound)->sin_port);
  return fd_steal (&fd);
}

int
nbdkit_listen (DiskServerRecord *record, GError **error)
{
  return record->socket != NULL ? fd_listen_unix (record->socket, error)
                                : listen_at (record, error);
}

static int
open_log (const char *directory, GError **error)
{
  g_autofree char *path = g_build_filename (directory, DISK_SERVER_FILE_LOG, NULL);
  g_auto (AutoFd) fd = open (path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  struct stat st;

  if (fd < 0 || fstat (fd, &st) < 0 || (st.st_size > LOG_MAX_BYTES && ftruncate (fd, 0) < 0)) {
    fd_set_errno_error (error, "opening %s", path);
    return -1;
  }
  return fd_steal (&fd);
}

char *
nbdkit_log_tail (const char *directory)
{
  g_autofree char *path = g_build_filename (directory, DISK_SERVER_FILE_LOG, NULL);
  g_auto (AutoFd) fd = open (path, O_RDONLY | O_CLOEXEC);
  char buf[LOG_TAIL_BYTES];
  struct stat st;

  if (fd < 0 || fstat (fd, &st) < 0)
    return g_strdup ("");
  ssize_t n = pread (fd, buf, sizeof buf, MAX (st.st_size - (off_t)sizeof buf, 0));
  g_autofree char *text = g_utf8_make_valid (buf, MAX (n, 0));
  g_strchomp (text);
  /* The last line says why. */
  const char *line = strrchr (text, '\n');
  line = line != NULL ? line + 1 : text;
  if (g_str_has_prefix (line, "nbdkit: error: "))
    line += strlen ("nbdkit: error: ");
  return g_strdup (line);
}

/* A pipe that has the key in it already: it is shorter than what a pipe holds. */
static int
make_key_pipe (const KeyMaterial *key, GError **error)
{
  g_autoptr (SecretText) text = key_material_to_text (key);
  g_auto (AutoFd) read_end = -1;
  g_auto (AutoFd) write_end = -1;
  int fds[2];

  if (pipe2 (fds, O_CLOEXEC) < 0) {
    fd_set_errno_error (error, "making a pipe");
    return -1;
  }
  read_end = fds[0];
  write_end = fds[1];
  return fd_write_full (write_end, text, strlen (text), error) ? fd_steal (&read_end) : -1;
}

/* ---- The child ---- */

typedef struct {
  char *const *argv;
  char **environment;
  char *pid_text; /* in the environment; the parent says what belongs there */
  int go, null, log, listener, key, ready;
  pid_t parent;
} Child;

/* Moves a descriptor out of the way of those that nbdkit is to have. */
static gboolean
move_up (AutoFd *fd, GError **error)
{
  if (*fd < 0)
    return TRUE;
  int moved = fcntl (*fd, F_DUPFD_CLOEXEC, FREE_FD);
  if (moved < 0)
    return fd_set_errno_error (error, "duplicating a descriptor");
  fd_close (fd);
  *fd = moved;
  return TRUE;
}

/* After fork() in a process of many threads: nothing but what signal-safety(7) allows. */
static void
run_child (const Child *child)
{
  struct sigaction standard = { .sa_handler = SIG_DFL };
  sigset_t none;

  /* If the daemon dies the pipe ends, unless another child that waits like this one has it open. */
  prctl (PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != child->parent)
    _exit (0);
  ssize_t n;
  while ((n = read (child->go, child->pid_text, PID_MAX_CHARS)) < 0 && errno == EINTR)
    ;
  if (n <= 0)
    _exit (0);
  prctl (PR_SET_PDEATHSIG, 0);
  setsid();
  sigaction (SIGHUP, &standard, NULL);
  sigaction (SIGINT, &standard, NULL);
  sigaction (SIGTERM, &standard, NULL);
  sigaction (SIGPIPE, &standard, NULL);
  sigemptyset (&none);
  sigprocmask (SIG_SETMASK, &none, NULL);
  if (dup2 (child->null, STDIN_FILENO) >= 0 && dup2 (child->log, STDOUT_FILENO) >= 0 &&
      dup2 (child->log, STDERR_FILENO) >= 0 && dup2 (child->listener, LISTEN_FD) >= 0 &&
      (child->key < 0 || dup2 (child->key, KEY_FD) >= 0) && dup2 (child->ready, READY_FD) >= 0)
    execve (child->argv[0], child->argv, child->environment);
  _exit (127);
}

void
nbdkit_launch_clear (NbdkitLaunch *launch)
{
  child_process_end (&launch->child);
  fd_close (&launch->go);
  fd_close (&launch->ready);
}

static gboolean
make_pipe (AutoFd *read_end, AutoFd *write_end, GError **error)
{
  int fds[2];

  if (pipe2 (fds, O_CLOEXEC) < 0)
    return fd_set_errno_error (error, "making a pipe");
  *read_end = fds[0];
  *write_end = fds[1];
  return TRUE;
}

gboolean
nbdkit_launch (const DiskServerRecord *record, int listen_fd, const KeyMaterial *key,
               NbdkitLaunch *launch, GError **error)
{
  g_auto (GStrv) argv = make_arguments (record, key != NULL, error);
  g_auto (GStrv) environment = make_environment (record);
  g_auto (AutoFd) go = -1;
  g_auto (AutoFd) ready = -1;
  g_auto (AutoFd) null = open ("/dev/null", O_RDWR | O_CLOEXEC);
  g_auto (AutoFd) listener = fcntl (listen_fd, F_DUPFD_CLOEXEC, FREE_FD);
  g_auto (AutoFd) log = argv != NULL ? open_log (record->directory, error) : -1;
  g_auto (AutoFd) secret = -1;

  if (log < 0 || (key != NULL && (secret = make_key_pipe (key, error)) < 0) ||
      !make_pipe (&go, &launch->go, error) || !make_pipe (&launch->ready, &ready, error))
    return FALSE;
  if (null < 0 || listener < 0)
    return fd_set_errno_error (error, "starting %s", argv[0]);
  if (!move_up (&go, error) || !move_up (&ready, error) || !move_up (&null, error) ||
      !move_up (&log, error) || !move_up (&secret, error))
    return FALSE;

  char *last = environment[g_strv_length (environment) - 1];
  Child child = { argv,  environment, last + strlen (PID_VARIABLE), go, null, log, listener, secret,
                  ready, getpid() };
  launch->child.pid = fork();
  if (launch->child.pid < 0)
    return fd_set_errno_error (error, "starting %s", argv[0]);
  if (launch->child.pid == 0) {
    close (launch->go); /* else it would never see it end */
    run_child (&child);
  }
  return TRUE;
}

gboolean
nbdkit_launch_go (NbdkitLaunch *launch, GError **error)
{
  g_autofree char *pid = g_strdup_printf ("%d", (int)launch->child.pid);

  if (!fd_write_full (launch->go, pid, strlen (pid), error))
    return FALSE;
  fd_close (&launch->go);
  return TRUE;
}
