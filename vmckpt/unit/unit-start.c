/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A guest's QEMU together with its memory: started, and found again. */
#include <vmckpt/unit/unit.h>

#include <vmckpt/util/error.h>

gboolean
unit_start (const GuestSpec *spec, const char *directory, gboolean incoming, GuestRam **ram,
            QemuGuest *guest, GError **error)
{
  QemuLaunch launch = { .incoming = incoming };
  g_autoptr (GuestRam) memory = g_steal_pointer (ram);
  g_autofree char *preload = NULL;
  g_autofree char *reason = NULL;

  if (memory == NULL && qemu_spec_shares_memory (spec)) {
    memory = guest_ram_new (spec->ram_id, spec->ram_bytes, error);
    if (memory == NULL) {
      g_prefix_error (error, "starting guest %s: ", spec->name);
      return FALSE;
    }
  }
  if (memory != NULL) {
    preload = guest_ram_find_preload (&reason);
    if (preload == NULL)
      g_warning ("guest %s: %s", spec->name, reason);
    launch.preload = preload;
    launch.copy_on_write = guest_ram_is_copy (memory);
    launch.n_fds = guest_ram_pass (memory, launch.fds);
  }
  if (!qemu_start (spec, directory, &launch, guest, error))
    return FALSE;
  if (memory == NULL || guest_ram_attach (memory, keeper_qemu (guest->keeper), error)) {
    *ram = g_steal_pointer (&memory);
    return TRUE;
  }
  qemu_end (directory, guest->monitor, NULL);
  qemu_guest_clear (guest);
  qemu_remove_directory (directory);
  return FALSE;
}

GuestRam *
unit_find_memory (const GuestSpec *spec, const QemuGuest *guest)
{
  g_autoptr (GError) cause = NULL;
  GuestRam *ram;

  if (!qemu_spec_shares_memory (spec))
    return NULL;
  ram = guest_ram_find (keeper_qemu (guest->keeper), spec->ram_id, &cause);
  /* Its checkpoints take the migration stream then. */
  if (ram == NULL)
    g_warning ("guest %s: %s", spec->name, cause->message);
  return ram;
}

gboolean
unit_attach (const GuestSpec *spec, const char *directory, GuestRam **ram, QemuGuest *guest,
             GError **error)
{
  *ram = NULL;
  if (!qemu_attach (directory, spec->driver, guest, error))
    return FALSE;
  *ram = unit_find_memory (spec, guest);
  return TRUE;
}
