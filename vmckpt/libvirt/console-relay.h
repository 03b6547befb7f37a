/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A domain's console, between libvirt and a socket. */
#pragma once

#include "host.h"

/**
 * console_relay:
 * @device: (nullable): alias of a serial port or console; NULL: the first
 * @socket: both ways; borrowed
 * @opened: (nullable): called with @user_data once the console is there
 *
 * Opens the console and relays until the socket's other end or the domain goes; nobody else can
 * have it meanwhile. Blocks.
 *
 * Returns: FALSE with @error if it could not be opened.
 */
gboolean console_relay (virDomainPtr domain, const char *device, int socket,
                        void (*opened) (gpointer), gpointer user_data, GError **error);
