/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Starting nbdkit with the plugin of store/nbd. It is made in two steps, so that whoever comes
 * after a daemon that dies finds it: a child that waits, which can be recorded, and the word that
 * it may go. Without that word the child ends.
 */
#pragma once

#include "disk-server-record.h"

#include <vmckpt/util/fd.h>

/* A socket for what @record says, which listens; a port of 0 in it becomes the one that was found.
 * -1 with @error. */
int nbdkit_listen (DiskServerRecord *record, GError **error);

typedef struct {
  ChildProcess child;
  AutoFd go;    /* the word goes there */
  AutoFd ready; /* a byte comes when it serves, its end without one when it will not */
} NbdkitLaunch;

#define NBDKIT_LAUNCH_NONE ((NbdkitLaunch){ CHILD_PROCESS_NONE, -1, -1 })

/* Ends the child, unless it was released. */
void nbdkit_launch_clear (NbdkitLaunch *launch);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (NbdkitLaunch, nbdkit_launch_clear)

/**
 * nbdkit_launch:
 * @listen_fd: where it is to accept clients; borrowed
 * @key: (nullable)
 *
 * Makes a child in a session of its own that waits for nbdkit_launch_go() before it becomes nbdkit.
 * Its output goes to the log in the record's directory. Any thread, without waiting.
 */
gboolean nbdkit_launch (const DiskServerRecord *record, int listen_fd, const KeyMaterial *key,
                        NbdkitLaunch *launch, GError **error);

/* Lets it go. */
gboolean nbdkit_launch_go (NbdkitLaunch *launch, GError **error);

/* The end of what the log in @directory says, on one line, for a message. Newly allocated. */
char *nbdkit_log_tail (const char *directory);
