/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Progress of a long call as one line of the terminal: phase, percent, bytes, rate, time left. */
#pragma once

#include "output.h"

#include <json-glib/json-glib.h>

typedef struct {
  const char *title;
  const char *phase;
  double done;     /* bytes; < 0: not known */
  double total;    /* bytes; <= 0: not known */
  double fraction; /* 0 to 1; < 0: not known */
  double rate;     /* bytes per second; <= 0: not known */
  double left;     /* seconds; < 0: not known */
} ProgressView;

/* The line for @view in at most @width columns; the bar takes what the figures leave. */
char *progress_view_render (const ProgressView *view, guint width);

typedef struct ProgressBar ProgressBar;

/* A bar on @output, which is a terminal @width columns wide; draws nothing until there is news. */
ProgressBar *progress_bar_new (Output *output, const char *title, guint width);

/* Takes a status line of the API at @now (monotonic microseconds) and draws. */
void progress_bar_update (ProgressBar *bar, JsonObject *status, gint64 now);

/* Wipes the line, so that something else can be written. */
void progress_bar_wipe (ProgressBar *bar);

/* Wipes the line and frees the bar. */
void progress_bar_free (ProgressBar *bar);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ProgressBar, progress_bar_free)
