/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The format object: what a store is, readable before anything else is known. */
#pragma once

#include <gio/gio.h>

#include "chunk.h"

#define FORMAT_OBJECT "format"

typedef struct {
  char *id; /* 32 hexadecimal digits */
  HashKey key;
} StoreFormat;

void store_format_clear (StoreFormat *format);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (StoreFormat, store_format_clear)

/* A new store's format object, with a random id and hash key. */
GBytes *store_format_create (void);

/* STORE_ERROR_VERSION if the store needs what this program does not have, STORE_ERROR_NOT_A_STORE
 * if the first line is not a store's, STORE_ERROR_DAMAGED otherwise. */
gboolean store_format_parse (GBytes *bytes, StoreFormat *format, GError **error);
