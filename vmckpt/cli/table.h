/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Columns of text, each as wide as its widest cell. */
#pragma once

#include "output.h"

typedef struct Table Table;

/* Makes a table from its headings: "NAME", ">SIZE" (right-aligned), … ended by NULL. */
Table *table_new (const char *heading, ...) G_GNUC_NULL_TERMINATED;
void table_free (Table *table);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Table, table_free)

/* Adds the next cell, row by row; takes @text, which is clean (cli-format.h). */
void table_take (Table *table, char *text);

/* Writes headings and rows, without blanks at the ends of lines. */
void table_write (const Table *table, Output *output);
