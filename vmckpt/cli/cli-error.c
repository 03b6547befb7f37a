/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli-error.h"

GQuark
cli_error_quark (void)
{
  return g_quark_from_static_string ("vmckpt-cli-error");
}

typedef struct {
  const char *kind;
  int exit_status;
} KindEntry;

static const KindEntry kinds[] = {
  [CLI_ERROR_FAILED] = { "failed", 1 },   [CLI_ERROR_CONFLICT] = { "conflict", 1 },
  [CLI_ERROR_USAGE] = { "usage", 2 },     [CLI_ERROR_NOT_FOUND] = { "not-found", 3 },
  [CLI_ERROR_DAMAGED] = { "damaged", 4 }, [CLI_ERROR_NOT_POSSIBLE] = { "not-possible", 5 },
  [CLI_ERROR_KEY] = { "key", 6 },         [CLI_ERROR_INTERRUPTED] = { "interrupted", 130 },
};

CliError
cli_error_from_kind (const char *kind)
{
  for (gsize i = 0; i < G_N_ELEMENTS (kinds); i++) {
    if (g_strcmp0 (kind, kinds[i].kind) == 0)
      return i;
  }
  return CLI_ERROR_FAILED;
}

CliError
cli_error_code (const GError *error)
{
  if (error->domain == CLI_ERROR)
    return error->code;
  if (error->domain == G_OPTION_ERROR ||
      g_error_matches (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT))
    return CLI_ERROR_USAGE;
  if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    return CLI_ERROR_INTERRUPTED;
  return CLI_ERROR_FAILED;
}

const char *
cli_error_kind (CliError code)
{
  return kinds[code].kind;
}

int
cli_error_exit_status (CliError code)
{
  return kinds[code].exit_status;
}
