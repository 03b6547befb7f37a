/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The GAsyncResult of a command. GTask does not fit: it calls back in the context of whoever made
 * it, or one main loop round later, and answers would get out of order with events.
 */
#pragma once

#include "session.h"

/* Calls the call's callback with its outcome. */
void qmp_result_deliver (QmpCall *call);

/* Takes the outcome out of what the callback got. */
JsonNode *qmp_result_take (GAsyncResult *result, GError **error);

/* The callback of those who do not want to know. */
void qmp_result_ignore (GObject *source, GAsyncResult *result, gpointer user_data);
