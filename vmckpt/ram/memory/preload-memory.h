/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * RAM of a QEMU that inherits nothing from vmckpt, since libvirt starts it. Its environment names
 * the file that its RAM is to be in (VMCKPT_RAM_FILE=pc.ram, the last part of the path that libvirt
 * gives it). What it gets when it opens that is a memfd at the number where a QEMU of ours inherits
 * one, empty; QEMU gives it its length, and once it is being mapped there is a log for it, too. So
 * whoever looks into that QEMU finds what it would find in any other.
 *
 * If any of this fails QEMU opens the file that it was told to open, and nothing is followed.
 *
 * Plain C; QEMU's first thread, before there are others.
 */
#pragma once

#include <stddef.h>

/* To be asked at each open(2): the new descriptor if @path is the RAM's, and this the first time
 * that it is opened for writing; else -1. */
int preload_memory_open (const char *path, int flags);

/* The RAM is being mapped: seals its length and makes its log. Does nothing if it was inherited. */
void preload_memory_settle (void);

/* How much higher the numbers of guest-fds.h are in this process. */
int preload_memory_shift (void);
