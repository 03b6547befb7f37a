/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Objects that are text: a first line "MAGIC VERSION COMPATIBLE-SINCE", readable alone; one line of
 * JSON; and, in objects that are not named by their content, a line with the hash of all before it.
 */
#pragma once

#include <json-glib/json-glib.h>

#include "chunk.h"

#define TEXT_OBJECT_VERSION 1
#define TEXT_OBJECT_MAX_BYTES (4 * 1024 * 1024)
#define TEXT_OBJECT_MAX_DEPTH 32
#define TEXT_OBJECT_PAD_BYTES 4096

/* The object's bytes; with a line of hash unless @key is NULL. */
GBytes *text_object_write (const char *magic, JsonObject *object, const HashKey *key);

/**
 * text_object_pad:
 * @bytes: what text_object_write() gave; (transfer full)
 * @key: the same as there
 *
 * Fills the line of JSON with spaces until the object has a power of two of bytes, at least
 * TEXT_OBJECT_PAD_BYTES, so that its size says nothing of the names in it.
 */
GBytes *text_object_pad (GBytes *bytes, const HashKey *key);

/**
 * text_object_read:
 * @key: (nullable): expect a line of hash
 *
 * Returns: (transfer full): the JSON; NULL with STORE_ERROR_VERSION or STORE_ERROR_DAMAGED.
 */
JsonObject *text_object_read (GBytes *bytes, const char *magic, const HashKey *key, GError **error);
