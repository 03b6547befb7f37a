/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What can go wrong, in the API's kinds; each kind has its exit code. */
#pragma once

#include <gio/gio.h>

#define CLI_ERROR (cli_error_quark())
GQuark cli_error_quark (void);

typedef enum {
  CLI_ERROR_FAILED,       /* exit code 1: anything not below */
  CLI_ERROR_CONFLICT,     /* 1: a name in use, the guest runs elsewhere, … */
  CLI_ERROR_USAGE,        /* 2: a bad argument */
  CLI_ERROR_NOT_FOUND,    /* 3: no such guest, checkpoint or tag */
  CLI_ERROR_DAMAGED,      /* 4: the store holds damaged data */
  CLI_ERROR_NOT_POSSIBLE, /* 5: this host cannot do it */
  CLI_ERROR_KEY,          /* 6: no key of the encrypted store was given */
  CLI_ERROR_INTERRUPTED,  /* 130: the guest runs on */
} CliError;

/* The code for a kind as the API spells it; CLI_ERROR_FAILED for one that is not known. */
CliError cli_error_from_kind (const char *kind);

/**
 * cli_error_code:
 * @error: any error
 *
 * Returns: @error's code in CLI_ERROR; errors of other domains are placed: option parsing and bad
 * arguments are usage, a cancelled operation is an interruption, everything else has failed.
 */
CliError cli_error_code (const GError *error);

/* The kind as the API spells it, and the exit code of `vmckpt`. */
const char *cli_error_kind (CliError code);
int cli_error_exit_status (CliError code);
