/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A guest's serial output so far, and as it comes. */
#pragma once

#include "router.h"

/* GET /v1/guests/:name/log?follow= ; a RawHandler. */
void log_serve (Daemon *daemon, SoupServerMessage *message, Request *request);
