/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a helper program says on its standard error, for the message if it ends: kept in memory,
 * since a pipe would have to be read all the time for the program never to wait.
 */
#pragma once

#include <glib.h>

/* A file in memory, close-on-exec, to be the program's standard error; -1 if there cannot be one,
 * which the functions below take. Whoever writes appends, so several processes may. */
int last_words_new (void);

/* The end of what was said, at most 1 KiB, in one line and valid UTF-8; "" if nothing was. Newly
 * allocated. Any thread. */
char *last_words_read (int fd);
