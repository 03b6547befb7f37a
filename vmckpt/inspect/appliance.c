/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "appliance.h"

#include <vmckpt/inspect/inspector.h>

#include <errno.h>
#include <stdarg.h>
#include <string.h>

static void
on_progress (guestfs_h *g, void *user_data, uint64_t event, int handle, int flags, const char *buf,
             size_t buf_len, const uint64_t *array, size_t array_len)
{
  Appliance *appliance = user_data;

  /* procedure, serial number, position, total */
  if (array_len >= 4 && array[3] > 0)
    reply_status (appliance->reply, appliance->phase, (double)array[2] / array[3]);
}

/* After what the environment says (LIBGUESTFS_PATH may name a fixed appliance): what is decided
 * here. */
static gboolean
configure (Appliance *appliance, GError **error)
{
  const ApplianceOptions *options = appliance->options;
  guestfs_h *g = appliance->g;

  guestfs_set_error_handler (g, NULL, NULL);
  if (guestfs_set_backend (g, "direct") < 0 ||
      (!options->kvm && guestfs_set_backend_setting (g, "force_tcg", "1") < 0) ||
      guestfs_set_memsize (g, options->memory_mib) < 0 || guestfs_set_smp (g, 1) < 0 ||
      guestfs_set_network (g, 0) < 0 || guestfs_set_tmpdir (g, options->directory) < 0 ||
      guestfs_set_cachedir (g, options->cache) < 0)
    return appliance_fail (appliance, error, "setting up the appliance");
  guestfs_set_event_callback (g, on_progress, GUESTFS_EVENT_PROGRESS, 0, appliance);
  return TRUE;
}

/* Of the disk at @index: letters alone, as libguestfs wants it. */
static char *
disk_label (guint index)
{
  return g_strdup_printf ("vmckpt%c", 'a' + index);
}

static gboolean
add_disks (Appliance *appliance, GError **error)
{
  const ApplianceOptions *options = appliance->options;
  g_autofree char *server = g_strconcat ("unix:", options->socket, NULL);
  char *servers[] = { server, NULL };

  for (guint i = 0; options->disks[i] != NULL; i++) {
    g_autofree char *label = disk_label (i);
    /* "unsafe" is about the layer above the disk: nobody will ever miss it. */
    if (guestfs_add_drive_opts (
            appliance->g, options->exports[i], GUESTFS_ADD_DRIVE_OPTS_FORMAT, "raw",
            GUESTFS_ADD_DRIVE_OPTS_READONLY, 1, GUESTFS_ADD_DRIVE_OPTS_PROTOCOL, "nbd",
            GUESTFS_ADD_DRIVE_OPTS_SERVER, servers, GUESTFS_ADD_DRIVE_OPTS_CACHEMODE, "unsafe",
            GUESTFS_ADD_DRIVE_OPTS_LABEL, label, -1) < 0)
      return appliance_fail (appliance, error, "disk %s", options->disks[i]);
  }
  return TRUE;
}

Appliance *
appliance_start (const ApplianceOptions *options, Reply *reply, GError **error)
{
  g_autoptr (Appliance) appliance = g_new0 (Appliance, 1);

  appliance->options = options;
  appliance->reply = reply;
  appliance->phase = "start";
  appliance->g = guestfs_create();
  if (appliance->g == NULL) {
    g_set_error (error, INSPECT_ERROR, INSPECT_ERROR_FAILED, "libguestfs: %s", g_strerror (errno));
    return NULL;
  }
  if (!configure (appliance, error) || !add_disks (appliance, error))
    return NULL;
  if (guestfs_launch (appliance->g) < 0) {
    appliance_fail (appliance, error,
                    "starting libguestfs's appliance ('vmckpt doctor' says what it needs)");
    return NULL;
  }
  return g_steal_pointer (&appliance);
}

void
appliance_free (Appliance *appliance)
{
  if (appliance->g != NULL)
    guestfs_close (appliance->g);
  g_free (appliance->mounted);
  g_free (appliance);
}

void
appliance_set_phase (Appliance *appliance, const char *phase)
{
  appliance->phase = phase;
  reply_status (appliance->reply, phase, -1);
}

/* What libguestfs says without its advice on how to debug it; newly allocated. */
static char *
said_last (const Appliance *appliance)
{
  const char *said = guestfs_last_error (appliance->g);
  char *text = reply_text (said != NULL ? said : "libguestfs gave no reason", 2000);
  char *advice = strstr (text, "\nTo see full error messages");

  if (advice != NULL)
    *advice = '\0';
  return g_strstrip (text);
}

gboolean
appliance_fail (const Appliance *appliance, GError **error, const char *format, ...)
{
  int number = guestfs_last_errno (appliance->g);
  g_autofree char *said = said_last (appliance);
  InspectError code = INSPECT_ERROR_FAILED;
  va_list args;

  va_start (args, format);
  g_autofree char *what = g_strdup_vprintf (format, args);
  va_end (args);
  if (number == ENOENT || number == ENOTDIR || number == ELOOP)
    code = INSPECT_ERROR_NOT_FOUND;
  else if (number == EIO || number == EUCLEAN || number == EBADMSG)
    code = INSPECT_ERROR_DAMAGED;
  /* Where the number says all, the name of the call and the path once more do not help. */
  g_set_error (error, INSPECT_ERROR, code, "%s: %s", what,
               code != INSPECT_ERROR_FAILED ? g_strerror (number) : said);
  return FALSE;
}

/* The kernel's order of disks is not the one they were added in: libguestfs's own calls are
 * translated, a command line is not. */
char *
appliance_device (const Appliance *appliance, const char *device)
{
  const char *disk = "/dev/sd";
  gboolean plain = g_str_has_prefix (device, "/dev/");

  for (const char *at = device; *at != '\0'; at++)
    plain = plain && (g_ascii_isalnum (*at) || strchr ("/_.+-", *at) != NULL);
  if (!plain)
    return NULL;
  if (!g_str_has_prefix (device, disk))
    return g_strdup (device);
  gsize index = device[strlen (disk)] - 'a';
  if (index >= g_strv_length (appliance->options->disks))
    return NULL;
  g_autofree char *label = disk_label (index);
  return g_strconcat ("/dev/disk/guestfs/", label, device + strlen (disk) + 1, NULL);
}
