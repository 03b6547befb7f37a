/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest of one sector for tests with a real QEMU: it writes to a page of every 4 KiB from 64 KiB
 * to 576 KiB, prints a dot (or the character that it was sent), and begins again. It needs no
 * kernel, and stops printing when its memory is taken from it.
 */
#pragma once

#include <vmckpt/drivers/qemu.h>

typedef struct {
  char *parent;    /* temporary directory, removed at the end */
  char *directory; /* the guest's, in there */
  char *disk;      /* file with the boot sector */
  GuestSpec *spec; /* completed */
  QemuGuest qemu;
} TinyGuest;

/* Makes the directory and a completed spec; nothing runs yet. */
void tiny_guest_init (TinyGuest *guest);
/* Starts it; @run: also lets it run and waits for its first output. */
void tiny_guest_start (TinyGuest *guest, gboolean run);
/* Ends QEMU and removes everything. Checks that no process is left. */
void tiny_guest_clear (TinyGuest *guest);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (TinyGuest, tiny_guest_clear)

#define TINY_GUEST_NONE ((TinyGuest){ 0 })

/* Waits until the guest has printed @bytes more than when this was called; fails the test after a
 * minute. */
void tiny_guest_wait_output (TinyGuest *guest, guint64 bytes);

/* Waits until @done returns TRUE; fails the test after a minute, naming @what. */
void wait_until (gboolean (*done) (gpointer data), gpointer data, const char *what);

/* Path of a file in the guest's directory; newly allocated. */
char *tiny_guest_file (TinyGuest *guest, const char *name);

/* Skips the test and returns TRUE where there is no QEMU. */
gboolean skip_without_qemu (void);
