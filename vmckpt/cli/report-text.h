/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A checkpoint's report, as people read it. */
#pragma once

#include "cli.h"

/* Prints the id, and the figures after @what ("web: checkpoint"); with --json the object. */
void report_print (Cli *cli, JsonObject *report, const char *what);
