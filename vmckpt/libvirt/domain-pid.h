/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which process is a domain's QEMU. libvirt's API does not tell. */
#pragma once

#include <vmckpt/util/process.h>

/**
 * domain_pid_find:
 * @name, @uuid: the domain's
 * @manager: (nullable): libvirt's daemon, whose record of running domains decides where more than
 * one QEMU has that UUID (two libvirts on one machine, in the middle of a migration)
 *
 * Looks for a QEMU that was started with "-uuid @uuid".
 *
 * Returns: pid 0 if there is none, or several and nothing decides.
 */
ProcessId domain_pid_find (const char *name, const char *uuid, const ProcessId *manager);

/* The process at the other end of a UNIX socket's name, which is libvirt's daemon, or who listens
 * for it; pid 0 if nobody. */
ProcessId domain_pid_of_listener (const char *path);

/* The socket of libvirt's daemon that @uri leads to, newly allocated; NULL if to another host. */
char *domain_pid_socket_of_uri (const char *uri);

/* Whether the process has an open descriptor of the file that @fd is of. */
gboolean domain_pid_has_open (ProcessId id, int fd);
