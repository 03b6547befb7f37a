/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Changes of guest memory that write-protection does not show, noted in the dirty log by the object
 * that is preloaded into QEMU. Two are known, both measured on Linux 6.18:
 *
 *   a page is punched out of the memfd (balloon, free page reporting): its protection stays, so
 *   PAGEMAP_SCAN says that it is as it was, while it now reads as zeros;
 *
 *   direct I/O: the kernel pins the pages when the transfer begins, which counts as the write. If a
 *   scan comes then, it takes that away, and what the device writes later is seen by nobody.
 *
 * So QEMU's fallocate, madvise and reads come by here. A page is marked discarded before and after
 * the call: before it, so that who fills missing pages leaves it alone; after it, so that it is
 * collected (again) with its new content. It is marked transferred after a read: the guest is told
 * only later. What is submitted to the kernel to be done sometime (io_submit, io_uring) is marked
 * begun, and stays so until the guest stands still.
 *
 * Plain C; any thread.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/**
 * preload_marks_begin:
 * @ram: the guest's RAM, a memfd; stays open
 * @log: its dirty log; mapped
 * @address: where QEMU has mapped the RAM, all of it and shared
 *
 * From now on changes are marked. Without a log that is one nothing is.
 */
void preload_marks_begin (int ram, int log, void *address, size_t length);

/* @ram is a template that this QEMU has mapped copy-on-write, like others: from now on it is spared
 * discards, which leave to the guest what the template has there. */
void preload_marks_spare (int ram);
