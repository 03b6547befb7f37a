/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The program from its arguments to its exit code, apart from the process around it. */
#pragma once

#include "api.h"
#include "key-source.h"

typedef struct {
  int out_fd, err_fd;        /* borrowed */
  GCancellable *cancellable; /* borrowed; cancelled by Ctrl-C */
  ApiStartFunc start;        /* (nullable): how to start a daemon */
  KeyAskFunc ask;            /* (nullable): how to ask for a password */
} ProgramSetup;

/* Runs `vmckpt` with @argv (ended by NULL, the first is its name). Returns: its exit code. */
int program_run (char **argv, const ProgramSetup *setup);
