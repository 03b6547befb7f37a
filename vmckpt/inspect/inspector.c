/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/inspect/inspector.h>

#include <vmckpt/util/bytes.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/json.h>
#include <vmckpt/util/last-words.h>
#include <vmckpt/util/process.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define FRAME_HEAD 5
#define FRAME_MAX (8u << 20) /* packages of a system come in one */
#define JSON_DEPTH 8
#define RUN_TIMEOUT_S 3600
#define DIRECTORY_PREFIX "look-"

struct _Inspector {
  ChildProcess child;
  AutoFd socket;  /* the program's standard input */
  AutoFd answers; /* and output */
  AutoFd said;    /* and standard error (last-words.h) */
  AutoFd lock;    /* on @directory */
  char *directory;
  GByteArray *bytes; /* of frames that have not come whole */
  gboolean usable;
};

G_DEFINE_QUARK (vmckpt - inspect - error, inspect_error)

/* ---- Directories ---- */

static int
remove_one (const char *path, const struct stat *st, int flag, struct FTW *at)
{
  remove (path);
  return 0;
}

static void
remove_tree (const char *path)
{
  nftw (path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* Holds @path for this process, or finds that nobody does: -1 if somebody else does. */
static int
lock_directory (const char *path, int how)
{
  g_auto (AutoFd) fd = open (path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

  return fd >= 0 && flock (fd, how) == 0 ? fd_steal (&fd) : -1;
}

/* What killed daemons have left. */
static void
sweep (const char *cache)
{
  g_autoptr (GDir) dir = g_dir_open (cache, 0, NULL);
  const char *name;

  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL) {
    g_autofree char *path = g_build_filename (cache, name, NULL);
    g_auto (AutoFd) fd = -1;
    if (g_str_has_prefix (name, DIRECTORY_PREFIX) &&
        (fd = lock_directory (path, LOCK_EX | LOCK_NB)) >= 0)
      remove_tree (path);
  }
}

static char *
cache_directory (GError **error)
{
  const char *named = g_getenv ("VMCKPT_CACHE");
  g_autofree char *path = named != NULL && *named != '\0' ? g_canonicalize_filename (named, NULL)
                          : geteuid() == 0
                              ? g_strdup ("/var/cache/vmckpt")
                              : g_build_filename (g_get_user_cache_dir(), "vmckpt", NULL);

  if (g_mkdir_with_parents (path, 0700) == 0)
    return g_steal_pointer (&path);
  fd_set_errno_error (error, "making %s", path);
  return NULL;
}

/* A directory of its own, on disk: the layers above the disks are in it. */
static gboolean
make_directory (Inspector *inspector, const char *cache, GError **error)
{
  /* Held while nobody may take what is being made for a dead one's. */
  g_auto (AutoFd) all = lock_directory (cache, LOCK_EX);
  g_autofree char *path = g_build_filename (cache, DIRECTORY_PREFIX "XXXXXX", NULL);

  if (all >= 0)
    sweep (cache);
  if (g_mkdtemp (path) == NULL)
    return fd_set_errno_error (error, "making a directory in %s", cache);
  inspector->directory = g_steal_pointer (&path);
  inspector->lock = lock_directory (inspector->directory, LOCK_EX | LOCK_NB);
  return TRUE;
}

/* ---- The program ---- */

/* VMCKPT_INSPECT, then the build tree of the running program, then where it is installed. */
static char *
find_program (GError **error)
{
  const char *named = g_getenv ("VMCKPT_INSPECT");
  g_autofree char *self = g_file_read_link ("/proc/self/exe", NULL);
  g_autofree char *bin = self != NULL ? g_path_get_dirname (self) : g_strdup (".");
  g_autofree char *built = g_build_filename (bin, "../inspect/vmckpt-inspect", NULL);
  const char *candidates[] = { named != NULL && *named != '\0' ? named : built,
                               VMCKPT_LIBEXECDIR "/vmckpt-inspect" };

  for (guint i = 0; i < G_N_ELEMENTS (candidates); i++)
    if (g_file_test (candidates[i], G_FILE_TEST_IS_EXECUTABLE))
      return g_canonicalize_filename (candidates[i], NULL);
  g_set_error (
      error, INSPECT_ERROR, INSPECT_ERROR_IMPOSSIBLE,
      "looking into disks needs %s, which is built where libguestfs is; VMCKPT_INSPECT can "
      "name it",
      candidates[1]);
  return NULL;
}

static GStrv
make_arguments (const Inspector *inspector, const InspectorOptions *options, const char *program,
                const char *cache)
{
  g_autoptr (GPtrArray) args = g_ptr_array_new();

  g_ptr_array_add (args, g_strdup (program));
  g_ptr_array_add (args, g_strdup_printf ("--socket=%s", options->socket));
  g_ptr_array_add (args, g_strdup_printf ("--directory=%s", inspector->directory));
  g_ptr_array_add (args, g_strdup_printf ("--cache=%s", cache));
  if (options->kvm)
    g_ptr_array_add (args, g_strdup ("--kvm"));
  for (guint i = 0; i < options->n_disks; i++)
    g_ptr_array_add (args, g_strdup_printf ("--disk=%s=%s", options->disks[i].name,
                                            options->disks[i].export_name));
  g_ptr_array_add (args, NULL);
  return (GStrv)g_ptr_array_free (g_steal_pointer (&args), FALSE);
}

/* In the child: a group of its own, so that all that it starts can be ended with it. */
static void
set_up_child (gpointer user_data)
{
  const struct rlimit none = { 0, 0 };

  setpgid (0, 0);
  setrlimit (RLIMIT_CORE, &none);
  signal (SIGPIPE, SIG_DFL);
}

static gboolean
spawn (Inspector *inspector, const InspectorOptions *options, const char *cache, GError **error)
{
  g_autofree char *program = find_program (error);
  g_autoptr (GError) cause = NULL;
  g_auto (AutoFd) theirs = -1;
  int pair[2], answers;
  GPid pid;

  if (program == NULL)
    return FALSE;
  if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
    return fd_set_errno_error (error, "a socket");
  inspector->socket = pair[0];
  theirs = pair[1];
  inspector->said = last_words_new();
  g_auto (GStrv) args = make_arguments (inspector, options, program, cache);
  g_auto (GStrv) environment = g_get_environ();
  environment = g_environ_setenv (environment, "XDG_RUNTIME_DIR", inspector->directory, TRUE);
  if (!g_spawn_async_with_pipes_and_fds (
          "/", (const char *const *)args, (const char *const *)environment,
          G_SPAWN_DO_NOT_REAP_CHILD, set_up_child, NULL, theirs, -1, inspector->said, NULL, NULL, 0,
          &pid, NULL, &answers, NULL, &cause)) {
    g_set_error (error, INSPECT_ERROR, INSPECT_ERROR_FAILED, "%s", cause->message);
    return FALSE;
  }
  inspector->child.pid = pid;
  inspector->answers = answers;
  return TRUE;
}

Inspector *
inspector_start (const InspectorOptions *options, GError **error)
{
  ERROR_PREFIX (error, "looking into disks");
  g_autoptr (Inspector) inspector = g_new0 (Inspector, 1);
  g_autofree char *cache = cache_directory (error);

  inspector->socket = inspector->answers = inspector->said = inspector->lock = -1;
  inspector->bytes = g_byte_array_new();
  if (cache == NULL || !make_directory (inspector, cache, error) ||
      !spawn (inspector, options, cache, error))
    return NULL;
  inspector->usable = TRUE;
  return g_steal_pointer (&inspector);
}

void
inspector_free (Inspector *inspector)
{
  if (inspector->child.pid > 0)
    kill (-inspector->child.pid, SIGKILL);
  child_process_end (&inspector->child);
  if (inspector->directory != NULL)
    remove_tree (inspector->directory);
  fd_close (&inspector->socket);
  fd_close (&inspector->answers);
  fd_close (&inspector->said);
  fd_close (&inspector->lock);
  g_byte_array_unref (inspector->bytes);
  g_free (inspector->directory);
  g_free (inspector);
}

gboolean
inspector_usable (const Inspector *inspector)
{
  struct pollfd ended = { .fd = inspector->answers, .events = POLLIN };

  /* Between requests it says nothing. */
  return inspector->usable && (poll (&ended, 1, 0) == 0 || (ended.revents & POLLHUP) == 0);
}

/* ---- Requests ---- */

static gboolean
wait_for_bytes (Inspector *inspector, gint64 deadline_us, GCancellable *cancellable, GError **error)
{
  GPollFD cancelled = { .fd = -1 };
  gboolean watched = g_cancellable_make_pollfd (cancellable, &cancelled);
  struct pollfd fds[] = { { .fd = inspector->answers, .events = POLLIN },
                          { .fd = watched ? cancelled.fd : -1, .events = POLLIN } };
  gint64 left_ms = (deadline_us - g_get_monotonic_time()) / 1000;
  int n = left_ms > 0 ? poll (fds, 2, MIN (left_ms, 60000)) : 0;

  if (watched)
    g_cancellable_release_fd (cancellable);
  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return FALSE;
  if (n < 0 && errno != EINTR)
    return fd_set_errno_error (error, "waiting for vmckpt-inspect");
  if (g_get_monotonic_time() < deadline_us)
    return TRUE;
  g_set_error_literal (error, INSPECT_ERROR, INSPECT_ERROR_FAILED,
                       "it took too long and was ended; is the machine overloaded?");
  return FALSE;
}

static gboolean
read_some (Inspector *inspector, GError **error)
{
  g_autofree guint8 *piece = g_malloc (256 * 1024);
  struct pollfd ready = { .fd = inspector->answers, .events = POLLIN };

  if (poll (&ready, 1, 0) <= 0)
    return TRUE;
  ssize_t n = read (inspector->answers, piece, 256 * 1024);
  if (n > 0)
    g_byte_array_append (inspector->bytes, piece, n);
  if (n > 0 || (n < 0 && errno == EINTR))
    return TRUE;
  g_autofree char *said = last_words_read (inspector->said);
  g_set_error (error, INSPECT_ERROR, INSPECT_ERROR_FAILED, "vmckpt-inspect ended%s%s",
               said[0] != '\0' ? ": " : "", said);
  return FALSE;
}

typedef struct {
  char type;
  const guint8 *data;
  gsize len;
} Frame;

/* The first whole frame of what has come, without taking it out; FALSE: none yet, or @error. */
static gboolean
first_frame (Inspector *inspector, Frame *frame, GError **error)
{
  ByteReader reader = BYTE_READER (inspector->bytes->data, inspector->bytes->len);

  frame->type = byte_reader_u8 (&reader);
  frame->len = byte_reader_le32 (&reader);
  if (reader.failed)
    return FALSE;
  if (frame->type == '\0' || strchr ("DZJ", frame->type) == NULL || frame->len > FRAME_MAX ||
      (frame->type == 'Z' && frame->len != 8)) {
    g_set_error_literal (error, INSPECT_ERROR, INSPECT_ERROR_FAILED,
                         "vmckpt-inspect answered with what is no answer");
    return FALSE;
  }
  frame->data = byte_reader_take (&reader, frame->len);
  return frame->data != NULL;
}

/* Of the program's own words; anything else is a plain failure. */
static void
set_their_error (JsonObject *object, GError **error)
{
  guint64 code = json_get_uint64_or (object, "code", INSPECT_ERROR_FAILED);

  g_set_error_literal (error, INSPECT_ERROR,
                       code <= INSPECT_ERROR_IMPOSSIBLE ? (int)code : INSPECT_ERROR_FAILED,
                       json_get_string_or (object, "message", "it gave no reason"));
}

typedef struct {
  InspectorFrameFunc func;
  gpointer user_data;
  JsonObject *result;
  gboolean answered; /* the last frame has come */
} Answer;

static gboolean
take_frame (Inspector *inspector, const Frame *frame, Answer *answer, GError **error)
{
  g_autoptr (JsonObject) object = NULL;
  const char *type = "";

  if (frame->type == 'J') {
    object =
        json_parse_bounded ((const char *)frame->data, frame->len, FRAME_MAX, JSON_DEPTH, error);
    if (object == NULL)
      return FALSE;
    type = json_get_string_or (object, "type", "");
  }
  if (g_str_equal (type, "result")) {
    json_object_remove_member (object, "type");
    answer->result = json_object_ref (object);
    answer->answered = TRUE;
    return TRUE;
  }
  if (g_str_equal (type, "error")) {
    set_their_error (object, error);
    answer->answered = TRUE;
    return FALSE;
  }
  return answer->func (frame->type, frame->data, frame->len, object, answer->user_data, error);
}

static gboolean
read_answer (Inspector *inspector, Answer *answer, GCancellable *cancellable, GError **error)
{
  gint64 deadline_us = g_get_monotonic_time() + (gint64)RUN_TIMEOUT_S * G_USEC_PER_SEC;
  g_autoptr (GError) cause = NULL;
  Frame frame;

  while (!answer->answered) {
    if (!wait_for_bytes (inspector, deadline_us, cancellable, error) ||
        !read_some (inspector, error))
      return FALSE;
    while (!answer->answered && first_frame (inspector, &frame, &cause)) {
      gboolean taken = take_frame (inspector, &frame, answer, error);
      g_byte_array_remove_range (inspector->bytes, 0, FRAME_HEAD + frame.len);
      if (!taken)
        return FALSE;
    }
    if (cause != NULL) {
      g_propagate_error (error, g_steal_pointer (&cause));
      return FALSE;
    }
  }
  return TRUE;
}

JsonObject *
inspector_run (Inspector *inspector, JsonObject *request, InspectorFrameFunc func,
               gpointer user_data, GCancellable *cancellable, GError **error)
{
  g_autofree char *text = json_to_line (request);
  g_autofree char *line = g_strconcat (text, "\n", NULL);
  Answer answer = { .func = func, .user_data = user_data };

  inspector->usable = FALSE;
  /* A program that has ended has said why before. */
  fd_send (inspector->socket, line, strlen (line), -1, NULL);
  read_answer (inspector, &answer, cancellable, error);
  inspector->usable = answer.answered;
  return answer.result;
}
