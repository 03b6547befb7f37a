/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `vmckpt-libvirt bridge`: a domain's sockets (libvirt-bridge.h). */
#pragma once

#include "host.h"

/**
 * bridge_run:
 * @directory: where the sockets go
 * @report_fd: gets "ok" once they are there, or why not; closed then
 *
 * Until the domain's QEMU ends, or another bridge has the directory. Returns the exit status.
 */
int bridge_run (Host *host, const char *uuid, const char *directory, int report_fd);
