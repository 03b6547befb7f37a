/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A guest that goes to another host while it runs: POST /v1/guests/NAME/migrate (docs/api.md). */
#pragma once

#include "request.h"

JsonObject *migrate_out (Request *request, GError **error);
