/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The RAM of a guest as a file that QEMU and this process share (memfd_create(2)), and what there
 * is beside it to follow who writes there: the log, and QEMU's own userfaultfds.
 *
 * QEMU holds all of these descriptors under fixed numbers (keeper/guest-fds.h). Whoever serves the
 * guest — the daemon that started it, or the next one — takes duplicates of them from there with
 * pidfd_getfd(2), so nothing is handed over and nothing is lost with a process that serves.
 *
 *   daemon: guest_ram_new ─▶ memfds ─▶ keeper ─▶ QEMU, preload.so: userfaultfds, discards ─▶ log
 *           guest_ram_attach ◀──────── pidfd_getfd ──────┘
 *
 * A GuestRam is not changed once it is attached; any thread may use it then.
 */
#pragma once

#include <vmckpt/keeper/keeper.h>

#define GUEST_RAM_PAGE_BYTES 4096

typedef struct _GuestRam GuestRam;

/**
 * guest_ram_new:
 * @block: name of QEMU's RAM block ("pc.ram")
 * @bytes: of RAM, a multiple of the page size
 *
 * Makes RAM that reads as zeros and its log, for a QEMU that is to be started. G_IO_ERROR if the
 * kernel does not.
 */
GuestRam *guest_ram_new (const char *block, guint64 bytes, GError **error);

/**
 * guest_ram_new_template:
 * @template_fd: memfd that several QEMUs are to map copy-on-write; duplicated
 *
 * The same with RAM that is there already and stays unchanged by this guest.
 */
GuestRam *guest_ram_new_template (const char *block, int template_fd, GError **error);

/* Any thread. */
GuestRam *guest_ram_ref (GuestRam *ram);
/* Closes this process's descriptors with the last reference; QEMU keeps its own. */
void guest_ram_unref (GuestRam *ram);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (GuestRam, guest_ram_unref)

/**
 * guest_ram_pass:
 * @fds: (out caller-allocates): KEEPER_FDS_MAX
 *
 * What QEMU is to inherit; borrowed from @ram. Returns: how many.
 */
guint guest_ram_pass (GuestRam *ram, KeeperFd *fds);

/* The object to load into QEMU: VMCKPT_PRELOAD if that is set, else the one in ../ram/ beside the
 * running program (a build tree), else the installed one; NULL with @reason if there is none that
 * ld.so would take: QEMU then runs without userfaultfds. Newly allocated. */
char *guest_ram_find_preload (char **reason);

/**
 * guest_ram_attach:
 * @qemu: started with what guest_ram_pass() said, and the whole machine built
 *
 * Finds the RAM in QEMU's address space and takes its userfaultfds. That there are none is no
 * error: guest_ram_untracked_reason() says why.
 */
gboolean guest_ram_attach (GuestRam *ram, ProcessId qemu, GError **error);

/**
 * guest_ram_find:
 * @qemu: started by an earlier daemon
 *
 * Takes everything from a running QEMU. G_IO_ERROR_NOT_FOUND if it has no RAM of ours.
 */
GuestRam *guest_ram_find (ProcessId qemu, const char *block, GError **error);

/* ---- What an attached GuestRam knows. Descriptors are borrowed. ---- */

/* The RAM block's name in QEMU; owned by @ram. */
const char *guest_ram_block (GuestRam *ram);
/* Its length, and that in pages of 4 KiB. */
guint64 guest_ram_bytes (GuestRam *ram);
guint64 guest_ram_pages (GuestRam *ram);
/* The QEMU that maps it. */
ProcessId guest_ram_process (GuestRam *ram);

/* The memfd, for pread(2), pwrite(2) and fallocate(2): mapping it here would count as this
 * process's memory. With a template: the pages that no guest has written. */
int guest_ram_fd (GuestRam *ram);

/* How much of the memfd has pages: what the guest ever touched, and no more than its length. */
guint64 guest_ram_used_bytes (GuestRam *ram);

/* TRUE while no page of the memfd exists yet: each reads as zeros, and whoever touches one makes
 * it. */
gboolean guest_ram_is_untouched (GuestRam *ram);

/* TRUE if QEMU maps the memfd copy-on-write: what the guest writes is not in there. */
gboolean guest_ram_is_copy (GuestRam *ram);

/* The log's memfd (dirty-log-layout.h). */
int guest_ram_log_fd (GuestRam *ram);

/* QEMU's userfaultfds, or -1. */
int guest_ram_uffd_async (GuestRam *ram);
int guest_ram_uffd_sync (GuestRam *ram);

/* Why there are no userfaultfds, as text for people; NULL if there are. Owned by @ram. */
const char *guest_ram_untracked_reason (GuestRam *ram);

/* /proc/PID/pagemap, readable. */
int guest_ram_pagemap_fd (GuestRam *ram);

/* Where the first byte is in QEMU; the rest follows without a gap. */
guint64 guest_ram_address (GuestRam *ram);
