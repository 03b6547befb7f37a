/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "domain-attach.h"

#include <vmckpt/libvirt/libvirt-bridge.h>
#include <vmckpt/libvirt/libvirt-link.h>
#include <vmckpt/qmp/migration-settings.h>
#include <vmckpt/util/error.h>

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>

#define DESTROY_TIMEOUT_MS 60000 /* QEMU may have to be killed, and its memory given back */
#define RECORD_TIMEOUT_MS 5000

static gboolean
is_same (ProcessId a, ProcessId b)
{
  return a.pid == b.pid && a.start_ticks == b.start_ticks;
}

/* Of a daemon that died; a keeper that puts the guest right does this itself. */
static void
put_settings_back (const char *directory, QmpClient *monitor)
{
  g_autofree char *kept = g_build_filename (directory, GUEST_FILE_MIGRATION, NULL);
  g_autoptr (GError) error = NULL;
  KeeperState state = { 0 };

  if (keeper_read_state (directory, &state, NULL) && !state.leased &&
      !qmp_migration_put_back (monitor, kept, &error))
    g_message ("%s: %s", directory, error->message);
}

/* With its bridge there. */
static gboolean
attach_keeper (const GuestSpec *spec, const char *directory, ProcessId process, GuestRam **ram,
               QemuGuest *qemu, GError **error)
{
  KeeperState state = { 0 };

  *ram = NULL;
  if (!keeper_read_state (directory, &state, NULL)) {
    if (!qemu_adopt (spec, directory, process, qemu, error))
      return FALSE;
    *ram = unit_find_memory (spec, qemu);
    return TRUE;
  }
  if (state.exited || !is_same (state.qemu, process)) {
    g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_NOT_FOUND,
                 "domain %s has been started anew since", spec->name);
    return FALSE;
  }
  return unit_attach (spec, directory, ram, qemu, error);
}

/* The bridge of the domain's present run: one of the run before may not be through with its end. */
static gboolean
get_bridge (const GuestSpec *spec, const char *directory, LibvirtBridge *bridge, GError **error)
{
  if (!libvirt_bridge_start (spec->uri, spec->uuid, directory, bridge, error))
    return FALSE;
  if (process_id_alive (bridge->qemu))
    return TRUE;
  libvirt_bridge_end (bridge, directory);
  libvirt_bridge_clear (bridge);
  return libvirt_bridge_start (spec->uri, spec->uuid, directory, bridge, error);
}

gboolean
domain_attach (const GuestSpec *spec, const char *directory, GuestRam **ram, QemuGuest *qemu,
               GError **error)
{
  ERROR_PREFIX (error, "attaching domain %s", spec->name);
  g_auto (LibvirtBridge) bridge = { 0 };
  g_autoptr (GError) cause = NULL;
  KeeperState state = { 0 };

  *qemu = (QemuGuest){ 0 };
  if (keeper_read_state (directory, &state, NULL) &&
      (state.exited || !process_id_alive (state.qemu))) {
    g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_NOT_FOUND, "its QEMU is gone");
    return FALSE;
  }
  if (mkdir (directory, 0700) < 0 && errno != EEXIST) {
    g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_FAILED, "making %s: %s", directory,
                 g_strerror (errno));
    return FALSE;
  }
  if (!get_bridge (spec, directory, &bridge, &cause)) {
    g_set_error_literal (error, DRIVER_ERROR,
                         g_error_matches (cause, LIBVIRT_ERROR, LIBVIRT_ERROR_NOT_FOUND)
                             ? DRIVER_ERROR_NOT_FOUND
                             : DRIVER_ERROR_FAILED,
                         cause->message);
    return FALSE;
  }
  if (!attach_keeper (spec, directory, bridge.qemu, ram, qemu, error))
    return FALSE;
  put_settings_back (directory, qemu->monitor);
  return TRUE;
}

void
domain_detach (const char *directory)
{
  g_auto (LibvirtBridge) bridge = { 0 };
  KeeperState state = { 0 };

  if (keeper_read_state (directory, &state, NULL) && process_id_alive (state.keeper)) {
    process_id_signal (state.keeper, SIGKILL);
    process_id_wait_gone (state.keeper, RECORD_TIMEOUT_MS);
  }
  if (libvirt_bridge_find (directory, &bridge, NULL))
    libvirt_bridge_end (&bridge, directory);
}

static gboolean
destroy (const GuestSpec *spec, GError **error)
{
  g_autoptr (LibvirtLink) link = libvirt_link_open (spec->uri, error);
  g_autoptr (GError) cause = NULL;

  if (link == NULL)
    return FALSE;
  if (libvirt_link_command (link, "destroy", spec->uuid, NULL, &cause) ||
      g_error_matches (cause, LIBVIRT_ERROR, LIBVIRT_ERROR_NOT_FOUND))
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&cause));
  return FALSE;
}

gboolean
domain_end (const GuestSpec *spec, const char *directory, GError **error)
{
  ERROR_PREFIX (error, "ending domain %s", spec->name);
  KeeperState state = { 0 };
  gboolean known = keeper_read_state (directory, &state, NULL);

  /* A later run of the domain is none of this guest. */
  if (known && !process_id_alive (state.qemu))
    return TRUE;
  if (!destroy (spec, error))
    return FALSE;
  if (known && (!process_id_wait_gone (state.qemu, DESTROY_TIMEOUT_MS) ||
                !process_id_wait_gone (state.keeper, RECORD_TIMEOUT_MS))) {
    g_set_error (error, DRIVER_ERROR, DRIVER_ERROR_FAILED,
                 "libvirt says that it is gone, but its QEMU (process %d) or the keeper of that "
                 "lives",
                 (int)state.qemu.pid);
    return FALSE;
  }
  return TRUE;
}
