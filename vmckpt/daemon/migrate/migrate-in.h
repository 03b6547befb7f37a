/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A guest that comes here from another host as a request: POST /v1/migrations (docs/api.md). */
#pragma once

#include "request.h"

/* Lasts until the guest is in service here, or is not to be any more. */
JsonObject *migrate_in (Request *request, GError **error);

/* What the guest wrote before it came: POST /v1/migrations/ID/written. */
JsonObject *migrate_in_written (Request *request, GError **error);
