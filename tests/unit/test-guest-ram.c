/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A real QEMU's RAM, seen from outside: by whoever started it, and by whoever comes later. */
#include "tiny-guest.h"

#include <vmckpt/qmp/commands.h>
#include <vmckpt/unit/unit.h>

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Starts the tiny guest with RAM that is shared. */
static GuestRam *
start (TinyGuest *guest)
{
  g_autoptr (GError) error = NULL;
  GuestRam *ram = NULL;

  tiny_guest_init (guest);
  guest->spec->memory = MEMORY_SHARED;
  g_assert_cmpstr (guest->spec->ram_id, ==, "pc.ram");
  unit_start (guest->spec, guest->directory, FALSE, &ram, &guest->qemu, &error);
  g_assert_no_error (error);
  g_assert_nonnull (ram);
  return ram;
}

/* The sum of the counters that the guest keeps in its memory (tiny-guest.h). */
static guint
read_counters (GuestRam *ram)
{
  guint sum = 0;

  for (goffset offset = 0x10000; offset < 0x90000; offset += 0x1000) {
    guint8 byte;
    g_assert_cmpint (pread (guest_ram_fd (ram), &byte, 1, offset), ==, 1);
    sum += byte;
  }
  return sum;
}

static ino_t
inode_of (int fd)
{
  struct stat st;

  g_assert_cmpint (fstat (fd, &st), ==, 0);
  return st.st_ino;
}

/* What the guest writes is in the file; QEMU has the file where we say, and userfaultfds if this
 * process could have one. */
static void
test_shared (void)
{
  g_auto (TinyGuest) guest = TINY_GUEST_NONE;
  g_autoptr (GuestRam) ram = NULL;
  g_autoptr (GError) error = NULL;

  if (skip_without_qemu())
    return;
  ram = start (&guest);
  g_assert_true (guest_ram_is_untouched (ram));
  g_assert_cmpuint (read_counters (ram), ==, 0);
  g_assert_true (guest_ram_is_untouched (ram));
  g_assert_true (qmp_cont (guest.qemu.monitor, &error));
  tiny_guest_wait_output (&guest, 1);
  g_assert_cmpuint (read_counters (ram), >, 0);
  g_assert_false (guest_ram_is_untouched (ram));

  g_assert_cmpuint (guest_ram_bytes (ram), ==, guest.spec->ram_bytes);
  g_assert_cmpuint (guest_ram_pages (ram), ==, guest.spec->ram_bytes / GUEST_RAM_PAGE_BYTES);
  g_assert_cmpuint (guest_ram_address (ram), !=, 0);
  g_assert_false (guest_ram_is_copy (ram));
  g_assert_cmpint (guest_ram_process (ram).pid, ==, keeper_qemu (guest.qemu.keeper).pid);
  if (geteuid() != 0)
    return;
  g_assert_cmpstr (guest_ram_untracked_reason (ram), ==, NULL);
  g_assert_cmpint (guest_ram_uffd_async (ram), >=, 0);
  g_assert_cmpint (guest_ram_uffd_sync (ram), >=, 0);
  g_assert_cmpint (guest_ram_pagemap_fd (ram), >=, 0);
}

/* Whoever comes later finds the very same files, also when the keeper was killed meanwhile. */
static void
test_found_again (void)
{
  g_auto (TinyGuest) guest = TINY_GUEST_NONE;
  g_auto (QemuGuest) again = { 0 };
  g_autoptr (GuestRam) ram = NULL;
  g_autoptr (GuestRam) found = NULL;
  g_autoptr (GError) error = NULL;
  KeeperState state;

  if (skip_without_qemu())
    return;
  ram = start (&guest);
  qemu_guest_clear (&guest.qemu);
  g_assert_true (keeper_read_state (guest.directory, &state, &error));
  process_id_signal (state.keeper, SIGKILL);
  g_assert_true (process_id_wait_gone (state.keeper, 10000));

  unit_attach (guest.spec, guest.directory, &found, &again, &error);
  g_assert_no_error (error);
  g_assert_nonnull (found);
  g_assert_cmpint (inode_of (guest_ram_fd (found)), ==, inode_of (guest_ram_fd (ram)));
  g_assert_cmpint (inode_of (guest_ram_log_fd (found)), ==, inode_of (guest_ram_log_fd (ram)));
  g_assert_cmpuint (guest_ram_address (found), ==, guest_ram_address (ram));
  g_assert_cmpuint (guest_ram_bytes (found), ==, guest_ram_bytes (ram));
  g_assert_cmpint (guest_ram_uffd_async (found) >= 0, ==, guest_ram_uffd_async (ram) >= 0);
}

/* RAM of QEMU's own: there is nothing to find, which is no error for whoever takes the guest. */
static void
test_private (void)
{
  g_auto (TinyGuest) guest = TINY_GUEST_NONE;
  g_autoptr (GuestRam) ram = NULL;
  g_autoptr (GError) error = NULL;

  if (skip_without_qemu())
    return;
  tiny_guest_init (&guest);
  unit_start (guest.spec, guest.directory, FALSE, &ram, &guest.qemu, &error);
  g_assert_no_error (error);
  g_assert_null (ram);
  g_assert_null (guest_ram_find (keeper_qemu (guest.qemu.keeper), "pc.ram", &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
}

/* A script around QEMU, with children of its own, costs QEMU neither its memory nor its
 * userfaultfds. */
static void
test_wrapper (void)
{
  g_auto (TinyGuest) guest = TINY_GUEST_NONE;
  g_autoptr (GuestRam) ram = NULL;
  g_autoptr (GError) error = NULL;

  if (skip_without_qemu())
    return;
  tiny_guest_init (&guest);
  g_autofree char *wrapper = g_build_filename (guest.parent, "wrapper", NULL);
  g_autofree char *script =
      g_strdup_printf ("#!/bin/sh\nx=$(cat /dev/null)\nexec %s \"$@\"\n", guest.spec->qemu);
  g_assert_true (
      g_file_set_contents_full (wrapper, script, -1, G_FILE_SET_CONTENTS_NONE, 0700, &error));
  g_free (guest.spec->qemu);
  guest.spec->qemu = g_strdup (wrapper);
  guest.spec->memory = MEMORY_SHARED;
  unit_start (guest.spec, guest.directory, FALSE, &ram, &guest.qemu, &error);
  g_assert_no_error (error);
  if (geteuid() == 0)
    g_assert_cmpstr (guest_ram_untracked_reason (ram), ==, NULL);
  g_unlink (wrapper);
}

/* Without the object the guest runs, and says what it lacks. */
static void
test_no_preload (void)
{
  g_auto (TinyGuest) guest = TINY_GUEST_NONE;
  g_autofree char *preload = g_strdup (g_getenv ("VMCKPT_PRELOAD"));
  g_autoptr (GuestRam) ram = NULL;

  if (skip_without_qemu())
    return;
  g_setenv ("VMCKPT_PRELOAD", "/bin/true", TRUE);
  ram = start (&guest);
  g_setenv ("VMCKPT_PRELOAD", preload, TRUE);
  g_assert_cmpint (guest_ram_uffd_async (ram), ==, -1);
  g_assert_cmpint (guest_ram_uffd_sync (ram), ==, -1);
  g_assert_nonnull (strstr (guest_ram_untracked_reason (ram), "not loaded into QEMU"));
}

/* A template is mapped copy-on-write: what a guest writes never reaches it, and several may run. */
static void
test_template (void)
{
  g_auto (TinyGuest) guest = TINY_GUEST_NONE;
  g_autoptr (GuestRam) template = NULL;
  g_autoptr (GuestRam) ram = NULL;
  g_autoptr (GError) error = NULL;

  if (skip_without_qemu())
    return;
  tiny_guest_init (&guest);
  guest.spec->memory = MEMORY_SHARED;
  template = guest_ram_new ("pc.ram", guest.spec->ram_bytes, &error);
  g_assert_no_error (error);
  ram = guest_ram_new_template ("pc.ram", guest_ram_fd (template), &error);
  g_assert_no_error (error);
  unit_start (guest.spec, guest.directory, FALSE, &ram, &guest.qemu, &error);
  g_assert_no_error (error);
  g_assert_true (guest_ram_is_copy (ram));
  g_assert_true (qmp_cont (guest.qemu.monitor, &error));
  tiny_guest_wait_output (&guest, 1);
  g_assert_cmpuint (read_counters (template), ==, 0);

  g_autoptr (GuestRam) found =
      guest_ram_find (keeper_qemu (guest.qemu.keeper), guest.spec->ram_id, &error);
  g_assert_no_error (error);
  g_assert_true (guest_ram_is_copy (found));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/guest-ram/shared", test_shared);
  g_test_add_func ("/guest-ram/found-again", test_found_again);
  g_test_add_func ("/guest-ram/private", test_private);
  g_test_add_func ("/guest-ram/wrapper", test_wrapper);
  g_test_add_func ("/guest-ram/no-preload", test_no_preload);
  g_test_add_func ("/guest-ram/template", test_template);
  return g_test_run();
}
