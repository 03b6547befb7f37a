/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vmckpt export: a checkpoint as a file that other programs, and other stores, read. */
#include "cli-error.h"
#include "cli-format.h"
#include "frame-splitter.h"
#include "new-file.h"
#include "terminal.h"
#include "verb.h"

#include <vmckpt/util/bytes.h>

#include <string.h>
#include <unistd.h>

#define MAX_DEPTH 32
#define ZEROS 65536

typedef struct {
  char *format, *output, *part, *libvirt_save;
  gboolean physical, force;
} ExportValues;

#define VALUE(member) G_STRUCT_OFFSET (ExportValues, member)
static const VerbOption export_options[] = {
  { "output", 'o', G_OPTION_ARG_FILENAME, VALUE (output), "FILE",
    "where to; - is standard output" },
  { "format", 0, G_OPTION_ARG_FILENAME, VALUE (format), "FORMAT",
    "archive (default), elf, ram, disk or libvirt" },
  { "libvirt-save", 0, G_OPTION_ARG_FILENAME, VALUE (libvirt_save), "FILE",
    "--format libvirt --output FILE" },
  { "part", 0, G_OPTION_ARG_FILENAME, VALUE (part), "NAME", "which RAM block or disk" },
  { "physical", 0, G_OPTION_ARG_NONE, VALUE (physical), NULL,
    "ram: by guest-physical address, with holes" },
  { "force", 'f', G_OPTION_ARG_NONE, VALUE (force), NULL, "replace a file that is there" },
  { NULL },
};
#undef VALUE

typedef struct {
  Cli *cli;
  NewFile *file; /* NULL: standard output */
  ProgressBar *bar;
  FrameSplitter *frames;
  JsonObject *result;
  GError *error;
} ExportCopy;

static void
export_copy_clear (ExportCopy *copy)
{
  g_clear_pointer (&copy->file, new_file_free);
  g_clear_pointer (&copy->bar, progress_bar_free);
  g_clear_pointer (&copy->frames, frame_splitter_free);
  g_clear_pointer (&copy->result, json_object_unref);
  g_clear_error (&copy->error);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (ExportCopy, export_copy_clear)

static gboolean
put_out (ExportCopy *copy, gconstpointer data, gsize len)
{
  Output *out = copy->cli->out;

  if (copy->file != NULL)
    return new_file_write (copy->file, data, len, &copy->error);
  if (output_write (out, data, len))
    return TRUE;
  if (out->fault != NULL)
    copy->error = g_error_copy (out->fault);
  else
    g_set_error_literal (&copy->error, CLI_ERROR, CLI_ERROR_FAILED,
                         "nobody reads the output any more: it is not whole");
  return FALSE;
}

static gboolean
put_zeros (ExportCopy *copy, guint64 len)
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
take_json (ExportCopy *copy, const Frame *frame)
{
  g_autoptr (JsonObject) object = json_parse_bounded ((const char *)frame->data, frame->len,
                                                      FRAME_MAX, MAX_DEPTH, &copy->error);
  const char *type = object != NULL ? json_get_string_or (object, "type", "") : "";

  if (object == NULL)
    return FALSE;
  if (g_str_equal (type, "result")) {
    copy->result = json_object_ref (object);
  } else if (g_str_equal (type, "error")) {
    g_set_error_literal (&copy->error, CLI_ERROR,
                         cli_error_from_kind (json_get_string_or (object, "kind", NULL)),
                         json_get_string_or (object, "message", "the daemon gave no reason"));
  } else if (copy->bar != NULL) {
    progress_bar_update (copy->bar, object, g_get_monotonic_time());
  } else if (copy->cli->json && !copy->cli->quiet && copy->file != NULL) {
    cli_print_json (copy->cli, object);
  }
  return copy->error == NULL;
}

static gboolean
take_frame (ExportCopy *copy, const Frame *frame)
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
  ExportCopy *copy = user_data;
  Frame frame;

  frame_splitter_add (copy->frames, data, len);
  while (frame_splitter_next (copy->frames, &frame, &copy->error))
    if (!take_frame (copy, &frame))
      return FALSE;
  return copy->error == NULL;
}

static GString *
make_path (Cli *cli, const VerbCall *call, GError **error)
{
  const ExportValues *values = call->values;
  GString *path = cli_checkpoint_path (cli, call->args[0], "export", error);

  if (path == NULL)
    return NULL;
  if (values->libvirt_save != NULL)
    api_path_add (path, "format", "libvirt");
  else if (values->format != NULL)
    api_path_add (path, "format", values->format);
  if (values->part != NULL)
    api_path_add (path, "part", values->part);
  if (values->physical)
    api_path_add (path, "physical", "true");
  return path;
}

static const char *
output_of (const ExportValues *values)
{
  return values->libvirt_save != NULL ? values->libvirt_save : values->output;
}

/* A terminal is no place for a guest's memory. */
static gboolean
check_output (Cli *cli, const ExportValues *values, GError **error)
{
  const char *output = output_of (values);

  if (values->libvirt_save != NULL && (values->output != NULL || values->format != NULL))
    g_set_error_literal (error, CLI_ERROR, CLI_ERROR_USAGE,
                         "export: --libvirt-save goes without --output and --format");
  else if (output == NULL)
    g_set_error_literal (error, CLI_ERROR, CLI_ERROR_USAGE,
                         "export: where to? Give --output FILE, or --output - for a pipe");
  else if (g_str_equal (output, "-") && isatty (cli->out->fd))
    g_set_error_literal (error, CLI_ERROR, CLI_ERROR_USAGE,
                         "export: standard output is a terminal; give --output FILE");
  else
    return TRUE;
  return FALSE;
}

static gboolean
finish (ExportCopy *copy, const ExportValues *values, GError **error)
{
  Cli *cli = copy->cli;

  if (copy->result == NULL) {
    g_set_error_literal (error, CLI_ERROR, CLI_ERROR_FAILED,
                         "the daemon ended before the export was whole");
    return FALSE;
  }
  if (copy->file != NULL && !new_file_finish (copy->file, error))
    return FALSE;
  g_clear_pointer (&copy->bar, progress_bar_free);
  if (json_get_bool_or (copy->result, "decrypted", FALSE))
    cli_say (cli, "note: the store is encrypted, what was written is not");
  if (copy->file == NULL)
    return TRUE; /* standard output is the export's alone */
  if (cli->json) {
    json_object_set_string_member (copy->result, "output", output_of (values));
    cli_print_json (cli, copy->result);
    return TRUE;
  }
  g_autofree char *size = format_size_member (copy->result, "bytes");
  g_autofree char *id = format_id_member (copy->result, "id");
  cli_say (cli, "checkpoint %s is in %s, %s", id, output_of (values), size);
  return TRUE;
}

static gboolean
run_export (Cli *cli, const VerbCall *call, GError **error)
{
  const ExportValues *values = call->values;
  g_autoptr (GString) path = NULL;
  g_auto (ExportCopy) copy = { .cli = cli, .frames = frame_splitter_new() };

  if (!check_output (cli, values, error) || (path = make_path (cli, call, error)) == NULL)
    return FALSE;
  if (g_str_equal (output_of (values), "-"))
    cli->interrupted = "interrupted; what was written is not whole";
  else if ((copy.file = new_file_begin (output_of (values), values->force, error)) == NULL)
    return FALSE;
  if (!cli->json && !cli->quiet && isatty (cli->err->fd)) {
    g_autofree char *title = format_clean (call->args[0]);
    copy.bar = progress_bar_new (cli->err, title, terminal_width (cli->err->fd));
  }
  if (!api_download (cli->api, path, FRAMES_TYPE, on_piece, &copy, error))
    return FALSE;
  if (copy.error != NULL) {
    g_propagate_error (error, g_steal_pointer (&copy.error));
    return FALSE;
  }
  return finish (&copy, values, error);
}

const Verb verb_export = {
  .name = "export",
  .arguments = "ID | NAME[@TAG]",
  .summary = "Write a checkpoint to a file that other programs read",
  .details = "archive  all of it in one file, for `vmckpt import` into any store\n"
             "elf      RAM and CPU registers, for gdb, crash and Volatility\n"
             "ram      the main RAM block (or --part), byte by byte\n"
             "disk     a disk, raw\n"
             "libvirt  a libvirt domain, for `virsh restore`; its disks are not in it, but see\n"
             "         `vmckpt restore`\n"
             "What is written is not encrypted, also from an encrypted store.",
  .group = VERB_GROUP_CHECKPOINTS,
  .options = export_options,
  .values_size = sizeof (ExportValues),
  .min_args = 1,
  .max_args = 1,
  .interrupted = "interrupted; nothing was written",
  .run = run_export,
};
