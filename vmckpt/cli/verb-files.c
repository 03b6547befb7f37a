/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt ls, cat, cp: files on a checkpoint's disks. */
#include "cli-error.h"
#include "cli-format.h"
#include "frame-splitter.h"
#include "guest-path.h"
#include "new-file.h"
#include "terminal.h"
#include "unpack.h"
#include "verb.h"

#include <vmckpt/util/bytes.h>
#include <vmckpt/util/fd.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_DEPTH 32
#define ZEROS 65536

/* ---- ls ---- */

typedef struct {
  gboolean details, recursive, checksums;
} LsValues;

#define VALUE(member) G_STRUCT_OFFSET (LsValues, member)
static const VerbOption ls_options[] = {
  { "long", 'l', G_OPTION_ARG_NONE, VALUE (details), NULL, "mode, owner, size and time too" },
  { "recursive", 'R', G_OPTION_ARG_NONE, VALUE (recursive), NULL, "all below it" },
  { "checksums", 0, G_OPTION_ARG_NONE, VALUE (checksums), NULL,
    "with SHA-256 of each file; implies -R" },
  { NULL },
};
#undef VALUE

typedef struct {
  Cli *cli;
  const LsValues *values;
} Listing;

/* "drwxr-xr-x". */
static char *
mode_text (JsonObject *file)
{
  static const struct {
    const char *kind;
    char letter;
  } kinds[] = {
    { "file", '-' },   { "directory", 'd' },    { "symlink", 'l' },         { "fifo", 'p' },
    { "socket", 's' }, { "block-device", 'b' }, { "character-device", 'c' }
  };
  const char *kind = json_get_string_or (file, "kind", "");
  guint mode = json_get_uint64_or (file, "mode", 0);
  char text[11] = "?rwxrwxrwx";

  for (guint i = 0; i < G_N_ELEMENTS (kinds); i++)
    if (g_str_equal (kinds[i].kind, kind))
      text[0] = kinds[i].letter;
  for (guint i = 0; i < 9; i++)
    if ((mode & (0400u >> i)) == 0)
      text[1 + i] = '-';
  static const char set[] = "sst";
  for (guint i = 0; i < 3; i++)
    if ((mode & (04000u >> i)) != 0)
      text[3 + 3 * i] = text[3 + 3 * i] == 'x' ? set[i] : g_ascii_toupper (set[i]);
  return g_strdup (text);
}

static void
print_file (Listing *listing, JsonObject *file)
{
  Output *out = listing->cli->out;
  g_autofree char *name = format_text_member (file, "path");

  if (listing->values->checksums) {
    g_autofree char *sum = format_text_member (file, "sha256");
    output_print (out, "%-64s  ", sum);
  }
  if (!listing->values->details) {
    output_line (out, name);
    return;
  }
  g_autofree char *mode = mode_text (file);
  g_autofree char *time = format_time_member (file, "modified_us");
  g_autofree char *target = format_text_member (file, "target");
  gboolean link = json_object_has_member (file, "target");
  output_print (
      out, "%s %5" G_GUINT64_FORMAT " %5" G_GUINT64_FORMAT " %12" G_GUINT64_FORMAT " %s %s%s%s\n",
      mode, json_get_uint64_or (file, "uid", 0), json_get_uint64_or (file, "gid", 0),
      json_get_uint64_or (file, "bytes", 0), time, name, link ? " -> " : "", link ? target : "");
}

/* CliPartFunc. */
static void
on_files (JsonObject *line, const char *type, gpointer user_data)
{
  Listing *listing = user_data;
  g_autoptr (JsonArray) files = cli_array (line, "files");

  if (cli_print_json_list (listing->cli, files))
    return;
  for (guint i = 0; i < json_array_get_length (files) && !listing->cli->out->closed; i++) {
    g_autoptr (JsonObject) file = cli_element (files, i);
    print_file (listing, file);
  }
}

static gboolean
run_ls (Cli *cli, const VerbCall *call, GError **error)
{
  const LsValues *values = call->values;
  g_autoptr (GuestPath) place = guest_path_parse (call->args[0], FALSE, error);
  g_autoptr (JsonObject) body = json_object_new();
  g_autoptr (GString) path =
      place != NULL ? cli_checkpoint_path (cli, place->ref, "files", error) : NULL;
  Listing listing = { cli, values };

  if (path == NULL)
    return FALSE;
  guest_path_add_to_body (place, body);
  json_object_set_boolean_member (body, "recursive", values->recursive || values->checksums);
  json_object_set_boolean_member (body, "checksums", values->checksums);
  g_autofree char *title = format_clean (place->ref);
  g_autoptr (JsonObject) result =
      cli_call_parts (cli, path, body, title, on_files, &listing, error);
  return result != NULL;
}

const Verb verb_ls = {
  .name = "ls",
  .arguments = "ID[:DISK][:/PATH]",
  .summary = "List files on a checkpoint's disks",
  .details = "The guest's file systems are put together as its fstab says. DISK (disk0,\n"
             "disk0p1, VG/LV) names one file system instead. The first look starts a\n"
             "virtual machine, which takes seconds; the next ones find it running.",
  .group = VERB_GROUP_CHECKPOINTS,
  .options = ls_options,
  .values_size = sizeof (LsValues),
  .min_args = 1,
  .takes_bytes = TRUE,
  .max_args = 1,
  .run = run_ls,
};

/* ---- Content ---- */

typedef struct {
  Cli *cli;
  const char *target; /* (nullable): where to; NULL: standard output */
  gboolean force;
  ProgressBar *bar;
  FrameSplitter *frames;
  NewFile *file;  /* a file is copied */
  Unpack *unpack; /* or a directory */
  guint mode;
  gint64 modified_us;
  JsonObject *result;
  GError *error;
} ContentCopy;

static void
content_copy_clear (ContentCopy *copy)
{
  g_clear_pointer (&copy->bar, progress_bar_free);
  g_clear_pointer (&copy->frames, frame_splitter_free);
  g_clear_pointer (&copy->file, new_file_free);
  g_clear_pointer (&copy->unpack, unpack_free);
  g_clear_pointer (&copy->result, json_object_unref);
  g_clear_error (&copy->error);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (ContentCopy, content_copy_clear)

/* Now it is known what comes. */
static gboolean
begin_content (ContentCopy *copy, JsonObject *object)
{
  copy->mode = json_get_uint64_or (object, "mode", 0600) & 0777;
  copy->modified_us = json_get_uint64_or (object, "modified_us", 0);
  if (copy->target == NULL)
    return TRUE;
  if (g_str_equal (json_get_string_or (object, "kind", ""), "directory"))
    return (copy->unpack = unpack_begin (copy->target, &copy->error)) != NULL;
  return (copy->file = new_file_begin (copy->target, copy->force, &copy->error)) != NULL;
}

static gboolean
put_out (ContentCopy *copy, gconstpointer data, gsize len)
{
  Output *out = copy->cli->out;

  if (copy->file != NULL)
    return new_file_write (copy->file, data, len, &copy->error);
  if (copy->unpack != NULL)
    return unpack_write (copy->unpack, data, len, &copy->error);
  if (copy->target == NULL && output_write (out, data, len))
    return TRUE;
  if (out->fault != NULL)
    copy->error = g_error_copy (out->fault);
  else
    g_set_error_literal (&copy->error, CLI_ERROR, CLI_ERROR_FAILED,
                         copy->target == NULL ? "nobody reads the output any more"
                                              : "the daemon sent content before what it is");
  return FALSE;
}

static gboolean
put_zeros (ContentCopy *copy, guint64 len)
{
  static const guint8 zeros[ZEROS];

  if (copy->file != NULL)
    return new_file_skip (copy->file, len, &copy->error);
  for (; len > 0; len -= MIN (len, ZEROS))
    if (!put_out (copy, zeros, MIN (len, ZEROS)))
      return FALSE;
  return TRUE;
}

static gboolean
take_json (ContentCopy *copy, const Frame *frame)
{
  g_autoptr (JsonObject) object = json_parse_bounded ((const char *)frame->data, frame->len,
                                                      FRAME_MAX, MAX_DEPTH, &copy->error);
  const char *type = object != NULL ? json_get_string_or (object, "type", "") : "";

  if (object == NULL)
    return FALSE;
  if (g_str_equal (type, "content"))
    return begin_content (copy, object);
  if (g_str_equal (type, "result"))
    copy->result = json_object_ref (object);
  else if (g_str_equal (type, "error"))
    g_set_error_literal (&copy->error, CLI_ERROR,
                         cli_error_from_kind (json_get_string_or (object, "kind", NULL)),
                         json_get_string_or (object, "message", "the daemon gave no reason"));
  else if (g_str_equal (type, "message"))
    cli_say (copy->cli, "%s", json_get_string_or (object, "text", ""));
  else if (copy->bar != NULL)
    progress_bar_update (copy->bar, object, g_get_monotonic_time());
  return copy->error == NULL;
}

static gboolean
take_frame (ContentCopy *copy, const Frame *frame)
{
  ByteReader reader = BYTE_READER (frame->data, frame->len);

  switch (frame->type) {
  case 'D':
    return put_out (copy, frame->data, frame->len);
  case 'Z':
    return put_zeros (copy, byte_reader_le64 (&reader));
  default:
    return take_json (copy, frame);
  }
}

static gboolean
on_piece (gconstpointer data, gsize len, gpointer user_data)
{
  ContentCopy *copy = user_data;
  Frame frame;

  frame_splitter_add (copy->frames, data, len);
  while (frame_splitter_next (copy->frames, &frame, &copy->error))
    if (!take_frame (copy, &frame))
      return FALSE;
  return copy->error == NULL;
}

/* Brings what @place names to where @copy says. */
static gboolean
fetch (ContentCopy *copy, const GuestPath *place, gboolean file_only, GError **error)
{
  Cli *cli = copy->cli;
  g_autoptr (GString) path = cli_checkpoint_path (cli, place->ref, "content", error);

  if (path == NULL)
    return FALSE;
  guest_path_add_to_query (place, path);
  if (file_only)
    api_path_add (path, "file_only", "true");
  copy->frames = frame_splitter_new();
  if (!cli->json && !cli->quiet && isatty (cli->err->fd)) {
    g_autofree char *title = format_clean (place->ref);
    copy->bar = progress_bar_new (cli->err, title, terminal_width (cli->err->fd));
  }
  if (!api_download (cli->api, path, FRAMES_TYPE, on_piece, copy, error))
    return FALSE;
  g_clear_pointer (&copy->bar, progress_bar_free);
  if (copy->error != NULL) {
    g_propagate_error (error, g_steal_pointer (&copy->error));
    return FALSE;
  }
  if (copy->result != NULL)
    return TRUE;
  g_set_error_literal (error, CLI_ERROR, CLI_ERROR_FAILED,
                       "the daemon ended before all had been sent");
  return FALSE;
}

/* ---- cat ---- */

static gboolean
cat_one (Cli *cli, const char *text, gpointer user_data, GError **error)
{
  g_autoptr (GuestPath) place = guest_path_parse (text, TRUE, error);
  g_auto (ContentCopy) copy = { .cli = cli };

  return place != NULL && fetch (&copy, place, TRUE, error);
}

static gboolean
run_cat (Cli *cli, const VerbCall *call, GError **error)
{
  return cli_for_each (cli, call->args, cat_one, NULL);
}

const Verb verb_cat = {
  .name = "cat",
  .arguments = "ID[:DISK]:/PATH…",
  .summary = "Print files of a checkpoint's disks",
  .details = "As they are, also on a terminal.",
  .group = VERB_GROUP_CHECKPOINTS,
  .min_args = 1,
  .takes_bytes = TRUE,
  .max_args = G_MAXUINT,
  .run = run_cat,
};

/* ---- cp ---- */

typedef struct {
  gboolean force;
} CpValues;

static const VerbOption cp_options[] = {
  { "force", 'f', G_OPTION_ARG_NONE, G_STRUCT_OFFSET (CpValues, force), NULL,
    "replace a file that is there" },
  { NULL },
};

/* Where a copy of @place goes: into @to if that is a directory. */
static char *
target_of (const GuestPath *place, const char *to)
{
  g_autofree char *name = guest_path_base_name (place);

  return g_file_test (to, G_FILE_TEST_IS_DIR) ? g_build_filename (to, name, NULL) : g_strdup (to);
}

/* Said before a virtual machine is started for it; what comes meanwhile is noticed at the end. */
static gboolean
check_target (const char *target, gboolean force, GError **error)
{
  struct stat there;

  if (force || lstat (target, &there) < 0)
    return TRUE;
  g_set_error (error, CLI_ERROR, CLI_ERROR_CONFLICT, "%s exists already%s", target,
               S_ISREG (there.st_mode) ? "; --force replaces it" : "");
  return FALSE;
}

/* A copied file has the mode and time that the guest's has; its owner is who copies. */
static gboolean
finish_file (ContentCopy *copy, GError **error)
{
  const struct timespec times[] = {
    { .tv_nsec = UTIME_OMIT },
    { copy->modified_us / G_USEC_PER_SEC, copy->modified_us % G_USEC_PER_SEC * 1000 },
  };

  if (!new_file_finish (copy->file, error))
    return FALSE;
  if (chmod (copy->target, copy->mode) < 0 || utimensat (AT_FDCWD, copy->target, times, 0) < 0)
    return fd_set_errno_error (error, "mode and time of %s", copy->target);
  return TRUE;
}

static gboolean
finish_copy (ContentCopy *copy, GError **error)
{
  guint left_out = 0;

  if (copy->file != NULL ? !finish_file (copy, error)
                         : !unpack_finish (copy->unpack, &left_out, error))
    return FALSE;
  if (left_out > 0)
    cli_say (copy->cli,
             left_out == 1 ? "%u device, fifo or socket was left out"
                           : "%u devices, fifos or sockets were left out",
             left_out);
  if (copy->cli->json) {
    g_autofree char *output = g_utf8_make_valid (copy->target, -1);
    json_object_set_string_member (copy->result, "output", output);
    json_object_set_int_member (copy->result, "left_out", left_out);
    cli_print_json (copy->cli, copy->result);
  }
  return TRUE;
}

typedef struct {
  const CpValues *values;
  const char *to;
} CpTarget;

static gboolean
copy_one (Cli *cli, const char *text, gpointer user_data, GError **error)
{
  const CpTarget *wish = user_data;
  g_autoptr (GuestPath) place = guest_path_parse (text, TRUE, error);
  g_autofree char *target = place != NULL ? target_of (place, wish->to) : NULL;
  g_auto (ContentCopy) copy = { .cli = cli, .target = target, .force = wish->values->force };

  if (place == NULL || !check_target (target, copy.force, error) ||
      !fetch (&copy, place, FALSE, error))
    return FALSE;
  if (copy.file != NULL || copy.unpack != NULL)
    return finish_copy (&copy, error);
  g_set_error_literal (error, CLI_ERROR, CLI_ERROR_FAILED, "the daemon did not say what it sent");
  return FALSE;
}

static gboolean
run_cp (Cli *cli, const VerbCall *call, GError **error)
{
  CpTarget wish = { call->values, call->args[call->n_args - 1] };
  g_autofree char **sources = g_memdup2 (call->args, call->n_args * sizeof *call->args);

  sources[call->n_args - 1] = NULL;
  if (call->n_args > 2 && !g_file_test (wish.to, G_FILE_TEST_IS_DIR)) {
    g_set_error (error, CLI_ERROR, CLI_ERROR_USAGE,
                 "cp: several go into a directory, and %s is none", wish.to);
    return FALSE;
  }
  return cli_for_each (cli, sources, copy_one, &wish);
}

const Verb verb_cp = {
  .name = "cp",
  .arguments = "ID[:DISK]:/PATH… DEST",
  .summary = "Copy files and directories out of a checkpoint's disks",
  .details = "DEST is a directory to copy into, or the copy's name. Copies belong to you,\n"
             "without set-id bits; devices are left out. Nothing is written outside DEST.",
  .group = VERB_GROUP_CHECKPOINTS,
  .options = cp_options,
  .values_size = sizeof (CpValues),
  .min_args = 2,
  .takes_bytes = TRUE,
  .max_args = G_MAXUINT,
  .interrupted = "interrupted; what was not whole is gone",
  .run = run_cp,
};
