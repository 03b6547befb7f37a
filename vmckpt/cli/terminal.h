/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The terminal: its width, and raw mode that is left again on every way out. */
#pragma once

#include <vmckpt/util/secret.h>

/* Columns of the terminal that @fd is; 80 if it does not say. */
guint terminal_width (int fd);

/*
 * Raw mode as a guard: `g_auto (RawTerminal) raw = RAW_TERMINAL_NONE;`, then terminal_raw_begin().
 * One at a time: the saved settings are process-wide, so that a signal handler can restore them.
 */
typedef struct {
  gboolean active;
} RawTerminal;

#define RAW_TERMINAL_NONE ((RawTerminal){ FALSE })

/* Makes the terminal that @fd is raw. FALSE with @error (G_IO_ERROR) if it refuses. */
gboolean terminal_raw_begin (RawTerminal *raw, int fd, GError **error);
void terminal_raw_end (RawTerminal *raw);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (RawTerminal, terminal_raw_end)

/**
 * terminal_ask_secret:
 * @prompt: what to ask
 *
 * Asks at the process's terminal, whatever its standard input is, without echo.
 *
 * Returns: (transfer full): the line; NULL with @error: CLI_ERROR_KEY if there is no terminal,
 * CLI_ERROR_INTERRUPTED on Ctrl-C.
 */
Secret *terminal_ask_secret (const char *prompt, GError **error);

/* Restores the settings if a raw mode is on. Async-signal-safe. */
void terminal_restore (void);
