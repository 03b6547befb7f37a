/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From GError, whatever its domain, to the kinds of docs/api.md. */
#pragma once

#include <gio/gio.h>

#define API_ERROR (api_error_quark())
GQuark api_error_quark (void);

/* The kinds; the daemon's own errors use them as codes. */
typedef enum {
  API_FAILED,
  API_CONFLICT,
  API_USAGE,
  API_NOT_FOUND,
  API_DAMAGED,
  API_NOT_POSSIBLE,
  API_INTERRUPTED,
  API_KEY,
  API_KIND_COUNT
} ApiKind;

/* The kind that @error belongs to. */
ApiKind api_error_kind (const GError *error);

/* "not-found" and 404. */
const char *api_kind_name (ApiKind kind);
guint api_kind_status (ApiKind kind);
