/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Several commands in a row, sent without waiting for answers in between: QEMU carries them out one
 * after the other, and nobody wakes up but it.
 */
#pragma once

#include <vmckpt/qmp/client.h>

typedef struct _QmpBatch QmpBatch;

/* An empty one for @client, which is borrowed. */
QmpBatch *qmp_batch_new (QmpClient *client);
/* Frees @batch, also if answers are still to come. */
void qmp_batch_free (QmpBatch *batch);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (QmpBatch, qmp_batch_free)

/* Adds a command; @arguments: (transfer full) (nullable). Returns its index, from 0. */
guint qmp_batch_add (QmpBatch *batch, const char *command, JsonObject *arguments);

/**
 * qmp_batch_run:
 *
 * Sends all commands and waits for all answers. A command that fails does not keep the following
 * ones from being carried out. Once per batch; any thread, as qmp_client_execute().
 *
 * Returns: FALSE with @error, that of the first command that failed.
 */
gboolean qmp_batch_run (QmpBatch *batch, GError **error);

/* The answer to command @index of a batch that was run; borrowed; NULL if it failed. */
JsonNode *qmp_batch_result (QmpBatch *batch, guint index);

/* Why command @index failed; borrowed; NULL if it did not. */
const GError *qmp_batch_error (QmpBatch *batch, guint index);
