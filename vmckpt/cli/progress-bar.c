/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "progress-bar.h"

#include "cli-format.h"

#include <math.h>
#include <string.h>

#define BAR_LEAST 8 /* a shorter bar says nothing */
#define BAR_MOST 40

struct ProgressBar {
  Output *output;
  char *title;
  guint width;
  gboolean drawn;
  char *phase; /* the rate is that of the current phase */
  gint64 phase_began;
  double phase_first;
};

/* "210.0 MiB of 500.0 MiB  120.0 MiB/s  0:02 left", as far as it is known. */
static char *
render_figures (const ProgressView *view)
{
  g_autoptr (GString) text = g_string_new (NULL);

  if (view->done >= 0) {
    g_autofree char *done = format_size (view->done);
    g_autofree char *total = format_size (view->total);
    g_string_append_printf (text, "  %s", done);
    if (view->total > 0)
      g_string_append_printf (text, " of %s", total);
  }
  if (view->rate > 0) {
    g_autofree char *rate = format_size (view->rate);
    g_string_append_printf (text, "  %s/s", rate);
  }
  if (view->left >= 0) {
    g_autofree char *left = format_clock (view->left);
    g_string_append_printf (text, "  %s left", left);
  }
  return g_string_free (g_steal_pointer (&text), FALSE);
}

char *
progress_view_render (const ProgressView *view, guint width)
{
  g_autofree char *figures = render_figures (view);
  g_autoptr (GString) line = g_string_new (NULL);

  g_string_append_printf (line, "%s: %-8s", view->title, view->phase);
  if (view->fraction >= 0) {
    double fraction = CLAMP (view->fraction, 0, 1);
    g_string_append_printf (line, " %3d%%", (int)(fraction * 100));
    glong used = g_utf8_strlen (line->str, -1) + strlen (figures) + strlen (" []");
    glong room = MIN ((glong)width - used, BAR_MOST);
    if (room >= BAR_LEAST) {
      int full = fraction * room;
      g_string_append (line, " [");
      for (int i = 0; i < room; i++)
        g_string_append_c (line, i < full ? '#' : '.');
      g_string_append_c (line, ']');
    }
  }
  g_string_append (line, figures);
  return g_utf8_substring (line->str, 0, MIN (g_utf8_strlen (line->str, -1), (glong)width));
}

ProgressBar *
progress_bar_new (Output *output, const char *title, guint width)
{
  ProgressBar *bar = g_new0 (ProgressBar, 1);

  bar->output = output;
  bar->title = g_strdup (title);
  /* A terminal may wrap when its last column is written. */
  bar->width = MAX (width, 2) - 1;
  return bar;
}

static double
number_or (JsonObject *object, const char *member, double fallback)
{
  double value;
  return json_get_number (object, member, &value) ? value : fallback;
}

/* Bytes per second since the phase began; 0 while that is too short to say. */
static double
phase_rate (ProgressBar *bar, const char *phase, double done, gint64 now)
{
  double seconds = (double)(now - bar->phase_began) / G_USEC_PER_SEC;

  if (g_strcmp0 (phase, bar->phase) != 0 || done <= 0) {
    g_free (bar->phase);
    bar->phase = g_strdup (phase);
    bar->phase_began = now;
    bar->phase_first = done;
    return 0;
  }
  return seconds >= 0.2 && done > bar->phase_first ? (done - bar->phase_first) / seconds : 0;
}

void
progress_bar_update (ProgressBar *bar, JsonObject *status, gint64 now)
{
  g_autofree char *phase = format_text_member (status, "phase");
  ProgressView view = { .title = bar->title,
                        .phase = phase,
                        .done = number_or (status, "bytes_done", -1),
                        .total = number_or (status, "total_bytes", 0),
                        .fraction = number_or (status, "percent_done", -1),
                        .left = number_or (status, "seconds_remaining", -1) };

  if (view.fraction < 0 && view.total > 0 && view.done >= 0)
    view.fraction = view.done / view.total;
  view.rate = phase_rate (bar, phase, MAX (view.done, 0), now);
  if (view.left < 0 && view.rate > 0 && view.total > view.done)
    view.left = (view.total - view.done) / view.rate;
  g_autofree char *line = progress_view_render (&view, bar->width);
  /* \033[K clears what a longer line before has left. */
  output_print (bar->output, "\r%s\033[K", line);
  bar->drawn = TRUE;
}

void
progress_bar_wipe (ProgressBar *bar)
{
  if (bar->drawn)
    output_print (bar->output, "\r\033[K");
  bar->drawn = FALSE;
}

void
progress_bar_free (ProgressBar *bar)
{
  progress_bar_wipe (bar);
  g_free (bar->title);
  g_free (bar->phase);
  g_free (bar);
}
