/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where the key of an encrypted store comes from: a file that was named, or somebody at a terminal.
 * Never the command line itself or the environment's values: others can read those. */
#pragma once

#include <vmckpt/util/key-material.h>

/* Asks at the terminal, without echo. NULL with @error if there is none, or on Ctrl-C. */
typedef Secret *(*KeyAskFunc) (const char *prompt, GError **error);

typedef struct {
  const char *key_file, *password_file; /* (nullable): at most one */
  KeyAskFunc ask;                       /* (nullable): nobody can be asked */
} KeySource;

/* The key that the files say; NULL without @error if none is named. CLI_ERROR_USAGE. */
KeyMaterial *key_source_read (const KeySource *source, GError **error);

/* The password of a store, asked once; NULL with @error. */
KeyMaterial *key_source_ask (const KeySource *source, GError **error);

/* A key that is to be: from the files, or a password asked twice. NULL with @error. */
KeyMaterial *key_source_new_key (const KeySource *source, GError **error);
