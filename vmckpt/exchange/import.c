/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   what is it? ──▶ its reader puts parts ──▶ commit, last ──▶ tags
 *
 * A file that turns out bad in its last byte has made nothing visible: what it wrote goes with the
 * transaction, or with the next gc.
 */
#include <vmckpt/exchange/import.h>

#include "import-archive.h"
#include "import-stream.h"

#include <vmckpt/exchange/archive.h>
#include <vmckpt/store/writer.h>
#include <vmckpt/util/error.h>
#include <vmckpt/util/fault.h>
#include <vmckpt/util/name.h>

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PEEK_BYTES 16
#define MULTIFD_MAGIC "\x11\x22\x33\x44" /* QEMU: migration/multifd.h */

const char *const import_format_names[] = { "auto", "archive", "libvirt", "qemu", NULL };

/* The first bytes, which stay to be read. */
static gboolean
peek (int fd, guint8 head[PEEK_BYTES], GError **error)
{
  ssize_t got = recv (fd, head, PEEK_BYTES, MSG_PEEK | MSG_WAITALL);

  if (got < 0 && errno == ENOTSOCK)
    got = pread (fd, head, PEEK_BYTES, 0);
  if (got == PEEK_BYTES)
    return TRUE;
  g_set_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_DAMAGED,
               "there is nothing to import: the file is empty or a few bytes long");
  return FALSE;
}

static gboolean
recognise (int fd, ImportFormat wanted, ImportFormat *format, GError **error)
{
  guint8 head[PEEK_BYTES];

  if (!peek (fd, head, error))
    return FALSE;
  *format = memcmp (head, ARCHIVE_MAGIC, ARCHIVE_MAGIC_BYTES) == 0 ? IMPORT_ARCHIVE
            : memcmp (head, "LibvirtQemud", 12) == 0               ? IMPORT_LIBVIRT
            : memcmp (head, "QEVM", 4) == 0                        ? IMPORT_QEMU
                                                                   : IMPORT_AUTO;
  if (*format != IMPORT_AUTO && (wanted == IMPORT_AUTO || wanted == *format))
    return TRUE;
  if (memcmp (head, MULTIFD_MAGIC, strlen (MULTIFD_MAGIC)) == 0)
    g_set_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_UNSUPPORTED,
                 "the file is one connection of a multifd migration: migrate without multifd");
  else if (*format == IMPORT_AUTO)
    g_set_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_UNSUPPORTED,
                 "the file is neither an archive of vmckpt, nor of virsh save, nor a migration "
                 "stream of QEMU");
  else
    g_set_error (error, EXCHANGE_ERROR, EXCHANGE_ERROR_USAGE, "the file is of format %s, not %s",
                 import_format_names[*format], import_format_names[wanted]);
  return FALSE;
}

static gboolean
take_in (Store *store, StoreWriter *writer, int fd, const ImportOptions *options,
         Manifest *manifest, GStrv *tags, GError **error)
{
  ImportFormat format;

  if (!recognise (fd, options->format, &format, error))
    return FALSE;
  progress_report (options->progress, PHASE_STORE, 0, 0);
  if (format == IMPORT_ARCHIVE)
    return import_archive (store, writer, fd, options, manifest, tags, error);
  return import_stream (store, writer, fd, format == IMPORT_LIBVIRT, options, manifest, error);
}

static void
replace_text (char **text, const char *with)
{
  if (with == NULL)
    return;
  g_free (*text);
  *text = g_strdup (with);
}

/* Tags that do not fit into the manifest. The checkpoint exists by now, so this cannot undo it; the
 * same file imported again makes the same checkpoint, and adds those that are missing. */
static gboolean
add_tags (Store *store, const Manifest *manifest, char **tags, GError **error)
{
  ERROR_PREFIX (error, "checkpoint %s exists, but not all of its tags; import it once more",
                manifest->id);

  for (; tags != NULL && *tags != NULL; tags++)
    if (g_strcmp0 (*tags, manifest->tag) != 0 && !store_tag_add (store, manifest->id, *tags, error))
      return FALSE;
  return TRUE;
}

Manifest *
import_checkpoint (Store *store, int fd, const ImportOptions *options, GError **error)
{
  ERROR_PREFIX (error, "importing");
  g_autoptr (Manifest) manifest = manifest_new();
  g_autoptr (StoreWriter) writer = NULL;
  g_auto (GStrv) tags = NULL;

  if ((options->name != NULL && !name_check (options->name, "guest name", error)) ||
      (options->tag != NULL && !name_check (options->tag, "tag", error)))
    return NULL;
  writer = store_writer_begin (store, error);
  if (writer == NULL || !take_in (store, writer, fd, options, manifest, &tags, error) ||
      g_cancellable_set_error_if_cancelled (options->cancellable, error) ||
      !fault_visit (FAULT_IMPORT_READ, error))
    return NULL;
  replace_text (&manifest->tag, options->tag);
  replace_text (&manifest->note, options->note);
  progress_report (options->progress, PHASE_COMMIT, 0, 0);
  if (!store_writer_commit (writer, manifest, options->cancellable, error) ||
      !add_tags (store, manifest, tags, error))
    return NULL;
  return g_steal_pointer (&manifest);
}
