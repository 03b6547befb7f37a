/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   libvirt: header, XML ┐
 *                        ├─▶ [gzip|bzip2|xz|lzop|zstd -dc] ──▶ stream_import ──▶ parts
 *   QEMU ────────────────┘                                      machine type, devices ──▶ record
 *
 * Decompressing is left to the program that libvirt compressed with.
 */
#include "import-stream.h"

#include "libvirt-image.h"
#include "machine-record.h"

#include <vmckpt/qmp/stream-reader.h>
#include <vmckpt/ram/stream-import.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/name.h>

#include <fcntl.h>
#include <gio/gunixinputstream.h>
#include <string.h>
#include <unistd.h>

typedef struct {
  StoreWriter *writer;
  const ImportOptions *options;
  Manifest *manifest;
  GuestSpec *spec;      /* (nullable): libvirt's domain */
  JsonObject *domain;   /* (nullable): the same as libvirt needs it again */
  GPtrArray *notes;     /* of char * */
  GSubprocess *program; /* (nullable) */
  const char *program_name;
} StreamSource;

static void
stream_source_clear (StreamSource *source)
{
  if (source->program != NULL) {
    g_subprocess_force_exit (source->program);
    g_subprocess_wait (source->program, NULL, NULL);
  }
  g_clear_object (&source->program);
  g_clear_pointer (&source->spec, guest_spec_free);
  g_clear_pointer (&source->domain, json_object_unref);
  g_ptr_array_unref (source->notes);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (StreamSource, stream_source_clear)

/* ---- libvirt's head ---- */

static gboolean
take (int fd, guint8 *data, gsize len, GError **error)
{
  gssize got = fd_read_full (fd, data, len, error);

  if (got >= 0 && (gsize)got < len)
    g_set_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_DAMAGED,
                 "the libvirt save image is cut in its head");
  return got == (gssize)len;
}

/* The record of the domain (exchange/libvirt-save.h). What is not UTF-8 is no text of libvirt's. */
static JsonObject *
record_domain (const LibvirtHeader *header, const char *data)
{
  const gsize xml_len = strnlen (data, header->data_len);
  const char *cookie = data + header->cookie_offset;
  const gsize cookie_len = strnlen (cookie, header->data_len - header->cookie_offset);
  JsonObject *domain = json_object_new();

  if (g_utf8_validate (data, xml_len, NULL)) {
    g_autofree char *xml = g_strndup (data, xml_len);
    json_object_set_string_member (domain, "xml", xml);
  }
  if (header->cookie_offset > 0 && g_utf8_validate (cookie, cookie_len, NULL)) {
    g_autofree char *text = g_strndup (cookie, cookie_len);
    json_object_set_string_member (domain, "cookie", text);
  }
  json_object_set_boolean_member (domain, "was_running", header->was_running);
  return domain;
}

static gboolean
take_libvirt_head (StreamSource *source, int fd, GError **error)
{
  guint8 head[LIBVIRT_HEADER_BYTES];
  LibvirtHeader header;

  if (!take (fd, head, sizeof head, error) || !libvirt_header_parse (head, &header, error) ||
      !libvirt_header_program (&header, &source->program_name, error))
    return FALSE;
  g_autofree guint8 *xml = g_malloc (header.data_len);
  if (!take (fd, xml, header.data_len, error))
    return FALSE;
  source->spec = libvirt_xml_parse ((const char *)xml, header.data_len, source->notes, error);
  if (source->spec == NULL)
    return FALSE;
  source->domain = record_domain (&header, (const char *)xml);
  return TRUE;
}

/* Starts the program that decompresses @fd; the stream is then its output, else @fd itself. */
static gboolean
open_stream (StreamSource *source, int *fd, GError **error)
{
  g_autoptr (GSubprocessLauncher) launcher = NULL;
  g_autofree char *path = NULL;
  int input;

  if (source->program_name == NULL)
    return TRUE;
  path = g_find_program_in_path (source->program_name);
  if (path == NULL) {
    g_set_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_UNSUPPORTED,
                 "the image is compressed with %s, which is not installed here",
                 source->program_name);
    return FALSE;
  }
  launcher = g_subprocess_launcher_new (G_SUBPROCESS_FLAGS_STDOUT_PIPE |
                                        G_SUBPROCESS_FLAGS_STDERR_SILENCE);
  input = fcntl (*fd, F_DUPFD_CLOEXEC, 3);
  if (input < 0)
    return fd_set_errno_error (error, "starting %s", source->program_name);
  g_subprocess_launcher_take_stdin_fd (launcher, input);
  source->program = g_subprocess_launcher_spawn (launcher, error, path, "-dc", NULL);
  if (source->program == NULL)
    return FALSE;
  *fd = g_unix_input_stream_get_fd (
      G_UNIX_INPUT_STREAM (g_subprocess_get_stdout_pipe (source->program)));
  return TRUE;
}

static gboolean
close_stream (StreamSource *source, GError **error)
{
  g_autoptr (GError) cause = NULL;

  if (source->program == NULL)
    return TRUE;
  if (g_subprocess_wait_check (source->program, source->options->cancellable, &cause)) {
    g_clear_object (&source->program);
    return TRUE;
  }
  g_set_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_DAMAGED,
               "%s could not decompress the image: %s", source->program_name, cause->message);
  return FALSE;
}

/* ---- The checkpoint ---- */

static void
describe (StreamSource *source, const StreamImportReport *report)
{
  const ImportOptions *options = source->options;
  Manifest *manifest = source->manifest;
  JsonObject *object = json_object_new();

  manifest->host = g_strdup (options->host);
  manifest->engine = g_strdup ("stream");
  manifest->mode = g_strdup ("stop");
  manifest->created_us = g_get_real_time();
  json_object_set_null_member (object, "parent");
  json_object_set_string_member (object, "guest", manifest->guest);
  json_object_set_string_member (object, "engine", manifest->engine);
  json_object_set_string_member (object, "mode", manifest->mode);
  json_object_set_int_member (object, "ram_bytes", report->ram_bytes);
  manifest->report = object;
}

/* Whose checkpoint it will be. */
static gboolean
name_guest (StreamSource *source, GError **error)
{
  const ImportOptions *options = source->options;
  const char *name = options->name;

  if (name == NULL && source->spec != NULL)
    name = source->spec->name;
  if (name == NULL && options->like != NULL)
    name = options->like->guest;
  if (name == NULL && options->spec != NULL)
    name = options->spec->name;
  if (name == NULL) {
    g_set_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_USAGE,
                 "the file does not say whose it is: give the guest a name (--as)");
    return FALSE;
  }
  source->manifest->guest = g_strdup (name);
  source->manifest->guest_uuid = source->spec != NULL && source->spec->uuid != NULL
                                     ? g_strdup (source->spec->uuid)
                                     : g_uuid_string_random();
  return name_check (name, "guest name", error);
}

static void
set_identity (GuestSpec *spec, const Manifest *manifest)
{
  g_free (spec->name);
  g_free (spec->uuid);
  spec->name = g_strdup (manifest->guest);
  spec->uuid = g_strdup (manifest->guest_uuid);
}

static gboolean
record_machine (StreamSource *source, Store *store, const StreamFacts *facts, GError **error)
{
  const ImportOptions *options = source->options;

  if (options->like != NULL)
    return machine_record_like (source->writer, store, options->like, facts, source->manifest,
                                error);
  g_autoptr (GuestSpec) spec =
      guest_spec_copy (options->spec != NULL ? options->spec : source->spec);
  set_identity (spec, source->manifest);
  return machine_record_spec (source->writer, spec, facts, source->notes, source->manifest, error);
}

static gboolean
check_options (const StreamSource *source, GError **error)
{
  if (source->spec != NULL || source->options->like != NULL || source->options->spec != NULL)
    return TRUE;
  g_set_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_USAGE,
               "a migration stream does not say how its machine is built: give a checkpoint or "
               "guest of the same kind (--like), or QEMU's arguments after --");
  return FALSE;
}

/* A stream that is cut or garbled is a damaged file here. */
static void
explain (GError **error)
{
  if (error == NULL || *error == NULL || (*error)->domain != STREAM_ERROR ||
      (*error)->code == STREAM_ERROR_UNSUPPORTED)
    return;
  g_autoptr (GError) cause = g_steal_pointer (error);
  g_set_error_literal (error, EXCHANGE_ERROR, EXCHANGE_ERROR_DAMAGED, cause->message);
}

static gboolean
read_stream (StreamSource *source, int fd, StreamImportReport *report, GError **error)
{
  const ImportOptions *options = source->options;

  if (stream_import (fd, source->writer, options->like, source->manifest, report, options->progress,
                     options->cancellable, error))
    return close_stream (source, error);
  explain (error);
  return FALSE;
}

gboolean
import_stream (Store *store, StoreWriter *writer, int fd, gboolean libvirt,
               const ImportOptions *options, Manifest *manifest, GError **error)
{
  g_auto (StreamSource) source = { .writer = writer,
                                   .options = options,
                                   .manifest = manifest,
                                   .notes = g_ptr_array_new_with_free_func (g_free) };
  g_auto (StreamImportReport) report = { 0 };
  g_autoptr (GError) cause = NULL;

  if ((libvirt && !take_libvirt_head (&source, fd, error)) || !check_options (&source, error) ||
      !name_guest (&source, error) ||
      !store_writer_enforce_quota (writer, manifest->guest, error) ||
      !open_stream (&source, &fd, error) || !read_stream (&source, fd, &report, error))
    return FALSE;
  g_autoptr (VmState) state = vmstate_new (report.device_state, &cause);
  if (state == NULL)
    g_ptr_array_add (source.notes,
                     g_strdup_printf ("its devices are not known: %s", cause->message));
  StreamFacts facts = { report.machine, state };
  if (!record_machine (&source, store, &facts, error))
    return FALSE;
  if (source.domain != NULL)
    json_object_set_object_member (manifest->machine, "libvirt", json_object_ref (source.domain));
  describe (&source, &report);
  for (guint i = 0; i < source.notes->len && options->message != NULL; i++)
    options->message (source.notes->pdata[i], options->user_data);
  return TRUE;
}
