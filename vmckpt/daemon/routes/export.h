/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* GET /v1/checkpoints/:ref/export: a checkpoint as a file, made while it is sent. */
#pragma once

#include "router.h"

/* RawHandler. */
void export_serve (Daemon *daemon, SoupServerMessage *message, Request *request);
