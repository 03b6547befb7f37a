/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `vmckpt-libvirt serve`: requests on standard input, answers on standard output. */
#pragma once

#include "host.h"

/* Until the input ends, or is no requests; what is under way then is cancelled. Returns the exit
 * status. */
int serve (Host *host, int input, int output);
