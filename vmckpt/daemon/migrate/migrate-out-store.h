/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A guest that goes to another host through a store: POST /v1/guests/NAME/migrate with `via_store`
 * (docs/api.md). */
#pragma once

#include "request.h"

JsonObject *migrate_out_store (Request *request, GError **error);
