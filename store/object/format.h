/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The format object: what a store is, readable before anything else is known. */
#pragma once

#include <gio/gio.h>

#include "chunk.h"
#include "master-key.h"

#define FORMAT_OBJECT "format"

typedef struct {
  char *id; /* 32 hexadecimal digits */
  gboolean encrypted;
  HashKey key; /* zeros if it is encrypted: then it comes from the master key */
} StoreFormat;

void store_format_clear (StoreFormat *format);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (StoreFormat, store_format_clear)

/* A new store's format object, with a random id and hash key. */
GBytes *store_format_create (void);

/* That of an encrypted store, authenticated with its master key. */
GBytes *store_format_create_encrypted (const char *id, const MasterKey *master);

/* A random store's id, newly allocated. */
char *store_format_new_id (void);

/* STORE_ERROR_VERSION if the store needs what this program does not have, STORE_ERROR_NOT_A_STORE
 * if the first line is not a store's, STORE_ERROR_DAMAGED otherwise. */
gboolean store_format_parse (GBytes *bytes, StoreFormat *format, GError **error);
