/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "domain-fill.h"

#include <vmckpt/drivers/domain-doctor.h>
#include <vmckpt/drivers/foreign-writers.h>
#include <vmckpt/ram/capture.h>
#include <vmckpt/unit/fill-source.h>
#include <vmckpt/util/fault.h>
#include <vmckpt/util/fd.h>
#include <vmckpt/util/json.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define START_TIMEOUT_US (120 * G_USEC_PER_SEC)
#define START_POLL_MS 1

static gboolean impossible (GError **error, const char *format, ...) G_GNUC_PRINTF (2, 3);

static gboolean
impossible (GError **error, const char *format, ...)
{
  va_list args;

  va_start (args, format);
  if (error != NULL)
    *error = g_error_new_valist (RAM_ERROR, RAM_ERROR_IMPOSSIBLE, format, args);
  va_end (args);
  return FALSE;
}

void
domain_fill_clear (DomainFill *fill)
{
  g_clear_pointer (&fill->fill, guest_fill_unref);
  g_clear_pointer (&fill->tracking, guest_tracking_free);
}

/* ---- Before anything is started ---- */

static const ManifestPart *
find_part (const DomainFill *fill)
{
  return manifest_find_part (fill->manifest, "ram", fill->spec->ram_id);
}

/* Why it cannot be, of what is known so far. */
static gboolean
check (const DomainFill *fill, const char *xml, GError **error)
{
  const char *writer = domain_doctor_foreign_writer (xml);
  const ManifestPart *part;

  if (fill->spec->memory != MEMORY_SHARED)
    return impossible (error,
                       "libvirt reads all of a domain's memory before it runs, unless the domain "
                       "was prepared when it was checkpointed ('vmckpt prepare %s --apply')",
                       fill->spec->name);
  part = find_part (fill);
  if (part == NULL || part->map.length != fill->spec->ram_bytes)
    return impossible (error, "the checkpoint has no RAM block %s of this size",
                       fill->spec->ram_id);
  return writer == NULL || impossible (error, "%s", writer);
}

/* A domain that may not be like others is told so; that it is not prepared its user knows. */
static void
tell (const DomainFill *fill, const char *reason)
{
  g_autofree char *text = g_strdup_printf ("all of its memory is read before it runs: %s", reason);

  if (fill->spec->memory == MEMORY_SHARED && fill->watcher->message != NULL)
    fill->watcher->message (text, fill->watcher->user_data);
}

/* It is read before, with the reason told, if that is good enough. */
static gboolean
read_before (const DomainFill *fill, GError *cause, GError **error)
{
  if (fill->reading == RESTORE_LAZY || !g_error_matches (cause, RAM_ERROR, RAM_ERROR_IMPOSSIBLE)) {
    g_propagate_error (error, cause);
    return FALSE;
  }
  tell (fill, cause->message);
  g_error_free (cause);
  return TRUE;
}

gboolean
domain_fill_wanted (const DomainFill *fill, const char *xml, gboolean *wanted, GError **error)
{
  GError *cause = NULL;

  *wanted = fill->reading != RESTORE_EAGER && check (fill, xml, &cause);
  return cause == NULL || read_before (fill, cause, error);
}

/* ---- While it is being loaded ---- */

/* QEMU has read all that was written: it began to load, which it does when it is all made. */
static gboolean
wait_read (const DomainFill *fill, GError **error)
{
  gint64 deadline_us = g_get_monotonic_time() + START_TIMEOUT_US;
  struct pollfd poll_pipe = { .fd = fill->pipe };
  int unread;

  for (;;) {
    if (ioctl (fill->pipe, FIONREAD, &unread) < 0)
      return fd_set_errno_error (error, "waiting for QEMU's start");
    if (unread == 0)
      return TRUE;
    if (g_cancellable_set_error_if_cancelled (fill->watcher->cancellable, error))
      return FALSE;
    /* No events are asked for: it returns early if nobody has the other end any more. */
    if (poll (&poll_pipe, 1, START_POLL_MS) > 0) {
      errno = EPIPE;
      return fd_set_errno_error (error, "waiting for QEMU's start");
    }
    if (g_get_monotonic_time() > deadline_us) {
      g_set_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT,
                   "libvirt was given the domain %d s ago, and its QEMU does not begin to read",
                   (int)(START_TIMEOUT_US / G_USEC_PER_SEC));
      return FALSE;
    }
  }
}

/* Asks for what libvirt tells without waiting for the restore that it is at. */
static gboolean
find_qemu (LibvirtLink *link, const char *uuid, ProcessId *qemu, GCancellable *cancellable,
           GError **error)
{
  g_autoptr (JsonObject) arguments = json_object_new();
  guint64 pid = 0;

  json_object_set_string_member (arguments, "domain", uuid);
  g_autoptr (JsonObject) answer =
      libvirt_link_ask (link, "configuration", arguments, -1, 0, NULL, NULL, cancellable, error);
  if (answer == NULL)
    return FALSE;
  pid = json_get_uint64_or (answer, "pid", 0);
  if (pid == 0 || pid > G_MAXINT)
    return impossible (error, "its QEMU is not found among this host's processes");
  *qemu = process_id_of ((pid_t)pid);
  return TRUE;
}

static GuestRam *
find_ram (const DomainFill *fill, GError **error)
{
  g_autoptr (GError) cause = NULL;
  g_autoptr (GuestRam) ram = NULL;
  ProcessId qemu;

  if (!find_qemu (fill->link, fill->spec->uuid, &qemu, fill->watcher->cancellable, error))
    return NULL;
  ram = guest_ram_find (qemu, fill->spec->ram_id, &cause);
  if (ram == NULL)
    impossible (error, "%s", cause->message);
  else if (!guest_ram_is_untouched (ram))
    impossible (error, "QEMU has taken all of it at its start (<allocation mode='immediate'/>, "
                       "<locked/>?)");
  else
    return g_steal_pointer (&ram);
  return NULL;
}

/* Until the guest is in service: a QEMU that waits for a page which cannot be read would wait for
 * ever, and libvirt with it. A LazyFillFunc; @ram: its RAM, which the fill holds. */
static void
end_stuck (LazyFillEvent event, gpointer ram)
{
  if (event == LAZY_FILL_STUCK)
    process_id_signal (guest_ram_process (ram), SIGKILL);
}

/* RAM_ERROR_IMPOSSIBLE, and nothing is done, if memory cannot be filled while the guest runs. */
static gboolean
begin (DomainFill *fill, GError **error)
{
  g_autoptr (GuestRam) ram = find_ram (fill, error);
  const GuestFillSetup setup = { .ram = ram,
                                 .store = fill->store,
                                 .checkpoint = fill->manifest->id,
                                 .map = find_part (fill)->map,
                                 .discards = unit_discards_memory (fill->spec),
                                 .func = end_stuck,
                                 .user_data = ram };

  if (ram == NULL || (fill->tracking = guest_tracking_new (ram, error)) == NULL)
    return FALSE;
  if (mkdir (fill->directory, 0700) < 0 && errno != EEXIST)
    return fd_set_errno_error (error, "making %s", fill->directory);
  /* From the first page that is missing on it is known where it comes from. */
  if (!fill_source_write (fill->directory, fill->store_path, fill->manifest->id, error))
    return FALSE;
  fill->fill = guest_fill_begin (&setup, fill->tracking, error);
  return fill->fill != NULL;
}

gboolean
domain_fill_decide (gboolean *leave_out, gpointer data, GError **error)
{
  DomainFill *fill = data;
  GError *cause = NULL;

  if (!wait_read (fill, error))
    return FALSE;
  *leave_out = begin (fill, &cause);
  if (*leave_out)
    return TRUE;
  fill_source_remove (fill->directory);
  g_clear_pointer (&fill->tracking, guest_tracking_free);
  return read_before (fill, cause, error);
}

/* ---- When it is loaded ---- */

gboolean
domain_fill_check_loaded (QmpClient *monitor, GError **error)
{
  g_autofree char *reason = NULL;
  ForeignWriters writers;

  return qemu_foreign_writers (monitor, &writers, &reason, error) &&
         (writers == WRITERS_NONE ||
          impossible (error, "its memory cannot be read while it runs: %s: restore it --eager",
                      reason));
}

/* ---- After a daemon that died ---- */

gboolean
domain_fill_is_left (LibvirtLink *link, const char *uuid)
{
  g_autofree char *store = NULL;
  g_autofree char *checkpoint = NULL;
  ProcessId qemu;

  if (!find_qemu (link, uuid, &qemu, NULL, NULL))
    return FALSE;
  g_autoptr (GuestRam) ram = guest_ram_find (qemu, "pc.ram", NULL);
  return ram != NULL && guest_fill_is_wanted (ram, &store, &checkpoint, NULL);
}
