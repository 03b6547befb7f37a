/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "table.h"

struct Table {
  guint columns;
  guint32 right;    /* bit n: column n is right-aligned */
  GPtrArray *cells; /* headings first, then row by row */
};

Table *
table_new (const char *heading, ...)
{
  Table *table = g_new0 (Table, 1);
  va_list args;

  table->cells = g_ptr_array_new_with_free_func (g_free);
  va_start (args, heading);
  for (const char *text = heading; text != NULL; text = va_arg (args, const char *)) {
    gboolean right = text[0] == '>';
    table->right |= (guint32)right << table->columns++;
    g_ptr_array_add (table->cells, g_strdup (text + right));
  }
  va_end (args);
  return table;
}

void
table_free (Table *table)
{
  g_ptr_array_unref (table->cells);
  g_free (table);
}

void
table_take (Table *table, char *text)
{
  g_ptr_array_add (table->cells, text);
}

static guint
column_width (const Table *table, guint column)
{
  glong width = 0;

  for (guint i = column; i < table->cells->len; i += table->columns)
    width = MAX (width, g_utf8_strlen (table->cells->pdata[i], -1));
  return width;
}

void
table_write (const Table *table, Output *output)
{
  g_autoptr (GString) text = g_string_new (NULL);
  g_autofree guint *widths = g_new (guint, table->columns);

  for (guint i = 0; i < table->columns; i++)
    widths[i] = column_width (table, i);
  for (guint i = 0; i < table->cells->len; i++) {
    const char *cell = table->cells->pdata[i];
    guint column = i % table->columns;
    int blanks = widths[column] - g_utf8_strlen (cell, -1);
    gboolean last = column + 1 == table->columns;
    if (table->right & (1u << column))
      g_string_append_printf (text, "%*s%s", blanks, "", cell);
    else
      g_string_append_printf (text, "%s%*s", cell, last ? 0 : blanks, "");
    g_string_append (text, last ? "\n" : "  ");
  }
  output_write (output, text->str, text->len);
}
