/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A window on a stream's bytes: some contiguous bytes from where the parser stands. What the parser
 * has passed is overwritten only by the next stream_input_need() or _want(), so pointers into the
 * window stay good until then. Reading from memory, nothing is copied at all.
 */
#pragma once

#include <gio/gio.h>

/* What one call may ask for. */
#define STREAM_INPUT_MAX_NEED (128 * 1024)

typedef struct {
  const guint8 *at;          /* the window */
  gsize left;                /* bytes in it */
  guint64 offset;            /* of `at` in the stream */
  gboolean ended;            /* nothing comes behind the window */
  int fd;                    /* -1: memory */
  int idle_ms;               /* patience; -1 for ever */
  GCancellable *cancellable; /* borrowed */
  guint8 *buffer;            /* of the fd reader */
} StreamInput;

/* Reads from @fd (borrowed). */
void stream_input_init_fd (StreamInput *input, int fd);

/* Reads from memory (borrowed). */
void stream_input_init_data (StreamInput *input, const guint8 *data, gsize len);

void stream_input_clear (StreamInput *input);

/**
 * stream_input_want:
 * @n: how many bytes, at most STREAM_INPUT_MAX_NEED
 *
 * Gets the window to hold @n bytes, or all that are left. FALSE with @error (G_IO_ERROR) if reading
 * fails.
 */
gboolean stream_input_want (StreamInput *input, gsize n, GError **error);

/* The same, but the end of the stream is an error: STREAM_ERROR_TRUNCATED, which says "in @what".
 */
gboolean stream_input_need (StreamInput *input, gsize n, const char *what, GError **error);

/* Passes @n bytes of the window. */
static inline void
stream_input_pass (StreamInput *input, gsize n)
{
  input->at += n;
  input->left -= n;
  input->offset += n;
}

/* Reads and drops the rest; ends early on an error, and when nothing comes for `idle_ms`. */
void stream_input_drain (StreamInput *input);
