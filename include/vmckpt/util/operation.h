/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Asynchronous steps done one after the other, each with a deadline, cancellable as a whole. */
#pragma once

#include <gio/gio.h>

typedef struct {
  GCancellable *steps; /* what the steps are given */
  GCancellable *outer; /* the caller's; cancels steps */
  gulong link;
  GAsyncResult *result; /* of the last step */
  gboolean late;        /* a deadline has passed */
} Operation;

/* Begins an operation; @outer cancels it. `g_auto (Operation) op = { 0 };` comes first. */
void operation_begin (Operation *op, GCancellable *outer);
void operation_clear (Operation *op);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Operation, operation_clear)

/* The callback (with the Operation as its data) of a step that was started with @op->steps. */
void operation_on_ready (GObject *source, GAsyncResult *result, gpointer op);

/**
 * operation_wait:
 * @deadline_ms: 0 for none
 *
 * Runs the main context that is the thread's default until the step that was started is done, or
 * cancels the step when the deadline passes. The result is to be finished by the caller: it stays
 * @op's.
 */
GAsyncResult *operation_wait (Operation *op, guint deadline_ms);
