/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Small objects that take each other's place without anything being overwritten: PREFIX/N, of which
 * the one with the greatest N counts. To change it is to put N+1, which only one of several can do;
 * then to look again whether there is a greater one (somebody who read an old listing may have put
 * a number that was removed meanwhile, and finds so); then to remove the smaller ones. The last
 * object always stays, so a number is never used again.
 */
#pragma once

#include "store-private.h"

/* Each attempt to change fails only because somebody else's succeeded. */
#define NUMBERED_ATTEMPTS_MAX 100

/* "PREFIX/N". Newly allocated; @prefix ends with a slash, here and below. */
char *numbered_object (const char *prefix, guint64 number);

/**
 * numbered_read:
 * @number: (out): of the object that counts; 0: there is none
 *
 * Returns: (transfer full) (nullable): what it holds; NULL without @error if there is none.
 */
GBytes *numbered_read (Store *store, const char *prefix, guint64 *number, GError **error);

/* Puts the successor of @number, durable; *done is FALSE if somebody else was first. */
gboolean numbered_put_next (Store *store, const char *prefix, guint64 number, GBytes *bytes,
                            gboolean *done, GError **error);
