/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt import: a checkpoint from a file, vmckpt's own or another program's. */
#include "cli-error.h"
#include "cli-format.h"
#include "terminal.h"
#include "verb.h"

#include <vmckpt/util/fd.h>

#include <fcntl.h>
#include <gio/gunixinputstream.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
  char *as, *format, *tag, *note, *like;
  char *machine, *kernel, *initrd, *append, *qemu, *accel;
} ImportValues;

#define VALUE(member) G_STRUCT_OFFSET (ImportValues, member)
static const VerbOption import_options[] = {
  { "as", 0, G_OPTION_ARG_FILENAME, VALUE (as), "NAME", "another name for the guest" },
  { "format", 0, G_OPTION_ARG_FILENAME, VALUE (format), "FORMAT",
    "auto (default), archive, libvirt or qemu" },
  { "tag", 0, G_OPTION_ARG_FILENAME, VALUE (tag), "TAG", "a tag for the checkpoint" },
  { "note", 0, G_OPTION_ARG_FILENAME, VALUE (note), "TEXT", "a note on the checkpoint" },
  { "like", 0, G_OPTION_ARG_FILENAME, VALUE (like), "REF",
    "its machine is that of this checkpoint or guest" },
  { "machine", 0, G_OPTION_ARG_FILENAME, VALUE (machine), "TYPE", "machine type" },
  { "kernel", 0, G_OPTION_ARG_FILENAME, VALUE (kernel), "FILE", "kernel that it booted" },
  { "initrd", 0, G_OPTION_ARG_FILENAME, VALUE (initrd), "FILE", "its initrd" },
  { "append", 0, G_OPTION_ARG_FILENAME, VALUE (append), "TEXT", "its kernel command line" },
  { "qemu", 0, G_OPTION_ARG_FILENAME, VALUE (qemu), "PROGRAM", "QEMU to run it with" },
  { "accel", 0, G_OPTION_ARG_FILENAME, VALUE (accel), "KIND", "auto, kvm or tcg" },
  { NULL },
};
#undef VALUE

/* Sets @member to @path made absolute. */
static gboolean
set_path (JsonObject *spec, const char *member, const char *path, GError **error)
{
  g_autofree char *absolute = path != NULL ? cli_absolute (path, error) : NULL;

  cli_set_string (spec, member, absolute);
  return path == NULL || absolute != NULL;
}

/* The machine as options give it; NULL without @error if none did. */
static JsonObject *
make_spec (const ImportValues *values, char **rest, GError **error)
{
  g_autoptr (JsonObject) spec = json_object_new();
  JsonArray *extra;

  if (values->machine == NULL && values->kernel == NULL && values->initrd == NULL &&
      values->append == NULL && values->qemu == NULL && values->accel == NULL && *rest == NULL)
    return NULL;
  if (values->as == NULL) {
    g_set_error_literal (error, CLI_ERROR, CLI_ERROR_USAGE,
                         "import: a machine of one's own needs a name; give --as NAME");
    return NULL;
  }
  g_autofree char *qemu = values->qemu != NULL ? cli_program (values->qemu, error) : NULL;
  if ((values->qemu != NULL && qemu == NULL) || !set_path (spec, "kernel", values->kernel, error) ||
      !set_path (spec, "initrd", values->initrd, error))
    return NULL;
  cli_set_string (spec, "name", values->as);
  cli_set_string (spec, "machine", values->machine);
  cli_set_string (spec, "append", values->append);
  cli_set_string (spec, "qemu", qemu);
  cli_set_string (spec, "accel", values->accel);
  extra = json_array_new();
  for (; *rest != NULL; rest++)
    json_array_add_string_element (extra, *rest);
  json_object_set_array_member (spec, "extra", extra);
  return g_steal_pointer (&spec);
}

static void
add_text (GString *path, const char *key, const char *value)
{
  if (value != NULL)
    api_path_add (path, key, value);
}

static GString *
make_path (Cli *cli, const VerbCall *call, GError **error)
{
  const ImportValues *values = call->values;
  g_autoptr (GString) path = api_path ("imports", NULL);
  g_autoptr (GError) cause = NULL;
  g_autoptr (JsonObject) spec = make_spec (values, call->rest, &cause);

  if (cause != NULL) {
    g_propagate_error (error, g_steal_pointer (&cause));
    return NULL;
  }
  if (!cli_add_store (cli, path, error))
    return NULL;
  add_text (path, "as", values->as);
  add_text (path, "format", values->format);
  add_text (path, "tag", values->tag);
  add_text (path, "note", values->note);
  add_text (path, "like", values->like);
  if (spec != NULL) {
    g_autofree char *text = json_to_line (spec);
    api_path_add (path, "spec", text);
  }
  return g_steal_pointer (&path);
}

/* Opens the file; @length: its bytes, or -1 if that is not known. */
static GInputStream *
open_input (const char *file, gint64 *length, GError **error)
{
  gboolean is_stdin = g_str_equal (file, "-");
  g_auto (AutoFd) fd =
      is_stdin ? fcntl (STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open (file, O_RDONLY | O_CLOEXEC);
  struct stat info;

  if (fd < 0 || fstat (fd, &info) < 0) {
    fd_set_errno_error (error, "opening %s", is_stdin ? "standard input" : file);
    return NULL;
  }
  if (S_ISDIR (info.st_mode)) {
    g_set_error (error, CLI_ERROR, CLI_ERROR_USAGE, "%s is a directory; give the file to import",
                 is_stdin ? "standard input" : file);
    return NULL;
  }
  *length = S_ISREG (info.st_mode) ? info.st_size - MAX (0, lseek (fd, 0, SEEK_CUR)) : -1;
  if (*length != 0)
    return g_unix_input_stream_new (fd_steal (&fd), TRUE);
  g_set_error (error, CLI_ERROR, CLI_ERROR_DAMAGED, "%s is empty", file);
  return NULL;
}

typedef struct {
  Cli *cli;
  ProgressBar *bar; /* (nullable) */
  gint64 length;
  gint64 last_us;
} ImportProgress;

#define DRAW_INTERVAL_US 100000

static void
show_status (ImportProgress *progress, JsonObject *status)
{
  if (progress->bar != NULL)
    progress_bar_update (progress->bar, status, g_get_monotonic_time());
  else if (progress->cli->json && !progress->cli->quiet)
    cli_print_json (progress->cli, status);
}

/* ApiLineFunc: all is sent, the daemon tells how far it is. */
static void
on_line (JsonObject *line, const char *type, gpointer user_data)
{
  if (g_str_equal (type, "status"))
    show_status (user_data, line);
}

static void
on_sent (guint64 sent, gpointer user_data)
{
  ImportProgress *progress = user_data;
  gint64 now = g_get_monotonic_time();
  gboolean whole = progress->length > 0 && sent == (guint64)progress->length;
  g_autoptr (JsonObject) status = NULL;

  if (now - progress->last_us < DRAW_INTERVAL_US && !whole)
    return;
  progress->last_us = now;
  status = json_object_new();
  json_object_set_string_member (status, "type", "status");
  json_object_set_string_member (status, "phase", "store");
  json_object_set_int_member (status, "bytes_done", sent);
  if (progress->length > 0) {
    json_object_set_int_member (status, "total_bytes", progress->length);
    json_object_set_double_member (status, "percent_done", (double)sent / progress->length);
  }
  show_status (progress, status);
}

static void
print_imported (Cli *cli, JsonObject *result)
{
  g_autoptr (JsonArray) messages = cli_array (result, "messages");

  if (cli->json) {
    cli_print_json (cli, result);
    return;
  }
  for (guint i = 0; i < json_array_get_length (messages); i++) {
    const char *text = json_array_string_or_null (messages, i);
    g_autofree char *clean = format_clean (text != NULL ? text : "?");
    cli_say (cli, "note: %s", clean);
  }
  g_autofree char *id = format_id_member (result, "id");
  g_autofree char *guest = format_text_member (result, "guest");
  g_autofree char *ram = format_size_member (result, "ram_bytes");
  output_line (cli->out, id);
  cli_say (cli, "a checkpoint of guest %s, %s of RAM", guest, ram);
}

static gboolean
run_import (Cli *cli, const VerbCall *call, GError **error)
{
  g_autoptr (GString) path = make_path (cli, call, error);
  g_autoptr (GString) probe = api_path ("checkpoints", NULL);
  g_autoptr (GInputStream) input = NULL;
  g_autoptr (JsonObject) result = NULL;
  ImportProgress progress = { .cli = cli };

  api_path_add (probe, "guest", "-"); /* nobody's: a short answer */
  if (path == NULL || !cli_add_store (cli, probe, error) ||
      (input = open_input (call->args[0], &progress.length, error)) == NULL)
    return FALSE;
  if (!cli->json && !cli->quiet && isatty (cli->err->fd)) {
    g_autofree char *title = format_clean (call->args[0]);
    progress.bar = progress_bar_new (cli->err, title, terminal_width (cli->err->fd));
  }
  result = api_upload (cli->api, probe, path, input, progress.length, on_sent, on_line, &progress,
                       error);
  g_clear_pointer (&progress.bar, progress_bar_free);
  if (result == NULL)
    return FALSE;
  print_imported (cli, result);
  return TRUE;
}

const Verb verb_import = {
  .name = "import",
  .arguments = "FILE [-- QEMU ARGS]",
  .summary = "Make a checkpoint of a file; - is standard input",
  .details = "archive  of `vmckpt export`: the same guest, with its tags and notes\n"
             "libvirt  of `virsh save`: the domain as far as vmckpt can build it\n"
             "qemu     a migration stream; --like or QEMU's arguments say how its\n"
             "         machine is built\n"
             "Other options than the first five describe the machine; they replace what\n"
             "a file of libvirt says.",
  .group = VERB_GROUP_CHECKPOINTS,
  .options = import_options,
  .values_size = sizeof (ImportValues),
  .min_args = 1,
  .max_args = 1,
  .takes_rest = TRUE,
  .interrupted = "interrupted; nothing was imported",
  .run = run_import,
};
