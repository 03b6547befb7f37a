/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A guest's serial port over a WebSocket: binary messages are bytes both ways. */
#pragma once

#include "router.h"

/* Serves /v1/consoles/NAME on @server. */
void console_attach (SoupServer *server, Daemon *daemon);
