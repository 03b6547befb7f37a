/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where QEMU has the descriptors of its guest's memory. The numbers are fixed, so that whoever
 * serves the guest takes duplicates (pidfd_getfd(2)) without being told anything. Above what a
 * QEMU opens by itself, below the usual limit on open files. Plain C: the object that is loaded
 * into QEMU includes this.
 */
#pragma once

enum {
  GUEST_FD_RAM = 80,        /* memfd: the guest's RAM */
  GUEST_FD_LOG = 81,        /* memfd: what was written, discarded and delivered (DirtyLog) */
  GUEST_FD_UFFD_ASYNC = 82, /* userfaultfd, or something else where QEMU could not get one */
  GUEST_FD_UFFD_SYNC = 83,  /* another one: a range of memory has one at a time */
};

/* A QEMU that libvirt started has them all this much higher, once or twice, if the numbers were
 * taken: it inherits descriptors with the numbers that they have in libvirt. */
#define GUEST_FD_SHIFT 300
#define GUEST_FD_SHIFTS 3 /* none, once, twice: below 1024, the usual limit */
