/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * GET /v1/checkpoints/:ref/export: a checkpoint as a body that is made while it is sent.
 *
 *   worker thread: exchange ──▶ ExportFrames ──pipe──▶ main thread ──▶ the connection
 *
 * The pipe bounds what is under way; a client that reads slowly slows the worker down.
 */
#pragma once

#include "router.h"

/* RawHandler. */
void export_serve (Daemon *daemon, SoupServerMessage *message, Request *request);
