/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether guests could go to another host, for doctor. */
#pragma once

#include <json-glib/json-glib.h>

/* One check of `GET /v1/doctor` (docs/api.md), newly allocated: @host is called. @tls: as for
 * peer_new(). */
JsonObject *peer_check (const char *host, const char *tls);
