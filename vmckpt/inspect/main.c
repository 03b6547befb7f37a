/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vmckpt-inspect: starts an appliance with a checkpoint's disks, reads requests from standard
 * input, a line of JSON each, and answers with frames on standard output. It ends with its input,
 * also in the middle of work: then whoever asked is gone.
 */
#include "work.h"

#include <vmckpt/inspect/inspector.h>
#include <vmckpt/util/fd.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HEARTBEAT_MS 1000
#define MEMORY_MIB 512
#define MEMORY_MIB_MAX 65536

typedef struct {
  ApplianceOptions appliance;
  char **disks; /* NAME=EXPORT */
  gboolean version;
} Options;

static void
options_clear (Options *options)
{
  g_free (options->appliance.socket);
  g_strfreev (options->appliance.disks);
  g_strfreev (options->appliance.exports);
  g_free (options->appliance.directory);
  g_free (options->appliance.cache);
  g_strfreev (options->disks);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Options, options_clear)

static gboolean
usage (GError **error, const char *text)
{
  g_set_error_literal (error, INSPECT_ERROR, INSPECT_ERROR_USAGE, text);
  return FALSE;
}

static gboolean
split_disks (Options *options, GError **error)
{
  guint n = options->disks != NULL ? g_strv_length (options->disks) : 0;

  if (n == 0 || n > INSPECTOR_DISKS_MAX)
    return usage (error, "one to 24 times --disk NAME=EXPORT is needed");
  options->appliance.disks = g_new0 (char *, n + 1);
  options->appliance.exports = g_new0 (char *, n + 1);
  for (guint i = 0; i < n; i++) {
    const char *equals = strchr (options->disks[i], '=');
    if (equals == NULL || equals == options->disks[i])
      return usage (error, "--disk wants NAME=EXPORT");
    options->appliance.disks[i] = g_strndup (options->disks[i], equals - options->disks[i]);
    options->appliance.exports[i] = g_strdup (equals + 1);
  }
  return TRUE;
}

static gboolean
parse_options (int *argc, char ***argv, Options *options, GError **error)
{
  ApplianceOptions *appliance = &options->appliance;
  const GOptionEntry entries[] = {
    { "socket", 0, 0, G_OPTION_ARG_FILENAME, &appliance->socket, "NBD server of the disks",
      "FILE" },
    { "disk", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options->disks, "A disk and its export; repeat",
      "NAME=EXPORT" },
    { "directory", 0, 0, G_OPTION_ARG_FILENAME, &appliance->directory,
      "Where sockets and what is thrown away go", "DIR" },
    { "cache", 0, 0, G_OPTION_ARG_FILENAME, &appliance->cache, "Where the built appliance is kept",
      "DIR" },
    { "memory", 0, 0, G_OPTION_ARG_INT, &appliance->memory_mib, "The appliance's memory", "MIB" },
    { "kvm", 0, 0, G_OPTION_ARG_NONE, &appliance->kvm, "Run the appliance under KVM", NULL },
    { "version", 0, 0, G_OPTION_ARG_NONE, &options->version, "Print the version", NULL },
    { NULL },
  };
  g_autoptr (GOptionContext) context =
      g_option_context_new ("- looks into disks that an NBD server has");

  g_option_context_add_main_entries (context, entries, NULL);
  if (!g_option_context_parse (context, argc, argv, error))
    return FALSE;
  if (options->version)
    return TRUE;
  if (*argc > 1 || appliance->socket == NULL || appliance->directory == NULL ||
      appliance->cache == NULL)
    return usage (error, "--socket, --directory and --cache are needed, and nothing else");
  if (appliance->memory_mib < 256 || appliance->memory_mib > MEMORY_MIB_MAX)
    return usage (error, "--memory is 256 to 65536");
  return split_disks (options, error);
}

/* ---- Requests ---- */

typedef struct {
  int input;
  GByteArray *bytes;
} Input;

/* The next line (newly allocated, without its end), or NULL at the end of input, or when a line has
 * none. */
static char *
next_line (Input *input)
{
  for (;;) {
    guint8 *end = memchr (input->bytes->data, '\n', input->bytes->len);
    if (end != NULL) {
      gsize len = end - input->bytes->data;
      char *line = g_strndup ((const char *)input->bytes->data, len);
      g_byte_array_remove_range (input->bytes, 0, len + 1);
      return line;
    }
    guint8 piece[4096];
    ssize_t n =
        input->bytes->len <= REQUEST_LINE_MAX ? read (input->input, piece, sizeof piece) : 0;
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return NULL;
    g_byte_array_append (input->bytes, piece, n);
  }
}

/* What the thread beside the work needs. */
typedef struct {
  Reply *reply;
  Appliance *appliance; /* (nullable), atomic: while it starts */
  int busy;             /* atomic */
} Watch;

/* Says once a second that it is still at work. When the input ends whoever asked is gone, and
 * nothing that is under way is of use to anybody: libguestfs's own guard ends the appliance when
 * this process is gone. */
static gpointer
watch_input (gpointer data)
{
  Watch *watch = data;

  for (;;) {
    struct pollfd watched = { .fd = STDIN_FILENO, .events = POLLRDHUP };
    int n = poll (&watched, 1, HEARTBEAT_MS);
    Appliance *appliance = g_atomic_pointer_get (&watch->appliance);

    if (n > 0)
      _exit (1);
    if (n == 0 && g_atomic_int_get (&watch->busy))
      reply_status (watch->reply, appliance != NULL ? appliance->phase : "start", -1);
  }
}

static JsonObject *
carry_out (Appliance *appliance, const char *line, GError **error)
{
  g_autoptr (InspectRequest) request = inspect_request_parse (line, strlen (line), error);

  if (request == NULL)
    return NULL;
  switch (request->command) {
  case COMMAND_INSPECT:
    return work_inspect (appliance, request, error);
  case COMMAND_LS:
    return work_ls (appliance, request, error);
  case COMMAND_FILES:
    return work_files (appliance, request, error);
  case COMMAND_COPY:
    return work_copy (appliance, request, error);
  case COMMAND_FSCK:
    return work_fsck (appliance, request, error);
  }
  g_return_val_if_reached (NULL);
}

static void
serve (Appliance *appliance, Reply *reply, Watch *watch)
{
  g_autoptr (GByteArray) bytes = g_byte_array_new();
  Input input = { STDIN_FILENO, bytes };
  char *line;

  while (reply->fault == NULL && (line = next_line (&input)) != NULL) {
    g_autoptr (GError) error = NULL;
    g_atomic_int_set (&watch->busy, TRUE);
    JsonObject *result = carry_out (appliance, line, &error);
    g_atomic_int_set (&watch->busy, FALSE);
    if (result != NULL)
      reply_object (reply, "result", result);
    else
      reply_error (reply, error);
    g_free (line);
  }
}

/* Output that is not ours (libguestfs, its programs) must not get between the frames. */
static int
take_output (void)
{
  int fd = dup (STDOUT_FILENO);

  return fd >= 0 && dup2 (STDERR_FILENO, STDOUT_FILENO) >= 0 ? fd : -1;
}

int
main (int argc, char **argv)
{
  g_auto (Options) options = { .appliance = { .memory_mib = MEMORY_MIB } };
  g_autoptr (GError) error = NULL;
  Reply reply;
  Watch watch = { .reply = &reply, .busy = TRUE };

  signal (SIGPIPE, SIG_IGN);
  if (!parse_options (&argc, &argv, &options, &error)) {
    fprintf (stderr, "vmckpt-inspect: %s\n", error->message);
    return 2;
  }
  if (options.version) {
    printf ("vmckpt-inspect " VMCKPT_VERSION "\n");
    return 0;
  }
  reply_init (&reply, take_output());
  if (reply.fd < 0)
    return 1;
  g_thread_unref (g_thread_new ("input", watch_input, &watch));
  g_autoptr (Appliance) appliance = appliance_start (&options.appliance, &reply, &error);
  if (appliance == NULL) {
    reply_error (&reply, error);
    return 1;
  }
  g_atomic_int_set (&watch.busy, FALSE);
  g_atomic_pointer_set (&watch.appliance, appliance);
  serve (appliance, &reply, &watch);
  g_atomic_pointer_set (&watch.appliance, NULL);
  return 0;
}
