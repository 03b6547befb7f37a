/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The bytes of a migration stream, as far as they are read and written here. All numbers are
 * big-endian. Source: QEMU's migration/savevm.h, migration/savevm.c, migration/ram.c (7.2) and
 * migration/ram.h (10.0); the values are the same in both.
 */
#pragma once

#include <gio/gio.h>

#define STREAM_MAGIC 0x5145564dU /* "QEVM" */
#define STREAM_VERSION 3

/* The first byte of a section. */
typedef enum {
  STREAM_EOF = 0x00,
  STREAM_SECTION_START = 0x01,
  STREAM_SECTION_PART = 0x02,
  STREAM_SECTION_END = 0x03,
  STREAM_SECTION_FULL = 0x04,
  STREAM_SUBSECTION = 0x05,
  STREAM_DESCRIPTION = 0x06,
  STREAM_CONFIGURATION = 0x07,
  STREAM_COMMAND = 0x08,
  STREAM_FOOTER = 0x7e,
} StreamSectionType;

/* Commands that say nothing a stored stream needs; all others change what follows. */
#define STREAM_COMMAND_OPEN_RETURN_PATH 1
#define STREAM_COMMAND_PING 2
#define STREAM_COMMAND_SWITCHOVER_START 11

/* The RAM section. Its payload is a list of 64-bit words: a page-aligned offset and flags. */
#define STREAM_RAM_NAME "ram"
#define STREAM_RAM_VERSION 4

#define STREAM_RAM_ZERO 0x002
#define STREAM_RAM_MEM_SIZE 0x004
#define STREAM_RAM_PAGE 0x008
#define STREAM_RAM_EOS 0x010
#define STREAM_RAM_CONTINUE 0x020
#define STREAM_RAM_XBZRLE 0x040
#define STREAM_RAM_HOOK 0x080
#define STREAM_RAM_COMPRESS 0x100
#define STREAM_RAM_MULTIFD_FLUSH 0x200
#define STREAM_RAM_FLAGS 0xfff

/* Bounds. */
#define STREAM_MAX_RAM (G_GUINT64_CONSTANT (16) << 40)         /* 16 TiB in all blocks */
#define STREAM_MAX_DEVICE_STATE (G_GUINT64_CONSTANT (1) << 30) /* 1 GiB, description included */
#define STREAM_MAX_CONFIGURATION 65536
#define STREAM_MAX_NAME 255
