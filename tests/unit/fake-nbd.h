/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An NBD server in threads of the test that does what no real one does. It has 4 MiB of 0x5a, and
 * without a fault it is right.
 */
#pragma once

#include <glib.h>

#define FAKE_NBD_BYTES (4 << 20)
#define FAKE_NBD_BYTE 0x5a

typedef enum {
  FAKE_NBD_RIGHT,
  FAKE_NBD_SILENT,      /* accepts a connection and says nothing */
  FAKE_NBD_HANG,        /* does not answer reads */
  FAKE_NBD_DIE,         /* closes instead of answering a read */
  FAKE_NBD_HALF,        /* says that a read is complete after half of it */
  FAKE_NBD_DENY,        /* answers reads with EINVAL */
  FAKE_NBD_GARBAGE,     /* answers reads with what is no reply */
  FAKE_NBD_LARGER,      /* says that it has one page more */
  FAKE_NBD_NO_LENGTH,   /* tells extents of no length */
  FAKE_NBD_LONG_EXTENT, /* tells one extent of nearly 4 GiB of data */
  FAKE_NBD_ELSEWHERE,   /* answers a read with data of another place */
} FakeNbdFault;

typedef struct _FakeNbd FakeNbd;

FakeNbd *fake_nbd_start (FakeNbdFault fault);
/* Closes all connections and waits for the threads. */
void fake_nbd_end (FakeNbd *fake);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FakeNbd, fake_nbd_end)

/* Path of its socket, borrowed. */
const char *fake_nbd_socket (const FakeNbd *fake);

/* Waits until a read has come. */
void fake_nbd_wait_read (FakeNbd *fake);
