/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* QMP's `transaction` of dirty-bitmap actions: all of them, at one instant, or none. */
#pragma once

#include <json-glib/json-glib.h>

typedef struct _Transaction Transaction;

/* An empty one. */
Transaction *transaction_new (void);
/* Frees @transaction. */
void transaction_free (Transaction *transaction);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Transaction, transaction_free)

/* A new, empty bitmap. @granularity: bytes; @recording: it marks writes */
void transaction_add_bitmap (Transaction *transaction, const char *node, const char *name,
                             guint64 granularity, gboolean recording);
/* Marks in @target what @source marks. */
void transaction_merge_bitmap (Transaction *transaction, const char *node, const char *target,
                               const char *source);
/* Marks nothing any more in @name. */
void transaction_clear_bitmap (Transaction *transaction, const char *node, const char *name);
/* Removes @name. */
void transaction_remove_bitmap (Transaction *transaction, const char *node, const char *name);

gboolean transaction_is_empty (const Transaction *transaction);

/* The arguments of the command (transfer full); @transaction is empty then. */
JsonObject *transaction_take (Transaction *transaction);
