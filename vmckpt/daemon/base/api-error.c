/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api-error.h"

#include <vmckpt/disk/disk-error.h>
#include <vmckpt/drivers/guest-spec.h>
#include <vmckpt/exchange/sink.h>
#include <vmckpt/inspect/inspector.h>
#include <vmckpt/keeper/keeper.h>
#include <vmckpt/qmp/stream-reader.h>
#include <vmckpt/ram/capture.h>
#include <vmckpt/store/store.h>

GQuark
api_error_quark (void)
{
  return g_quark_from_static_string ("vmckpt-api-error");
}

static const struct {
  const char *name;
  guint status;
} kinds[API_KIND_COUNT] = {
  [API_FAILED] = { "failed", 500 },
  [API_CONFLICT] = { "conflict", 409 },
  [API_USAGE] = { "usage", 400 },
  [API_NOT_FOUND] = { "not-found", 404 },
  [API_DAMAGED] = { "damaged", 422 },
  [API_NOT_POSSIBLE] = { "not-possible", 501 },
  [API_INTERRUPTED] = { "interrupted", 499 },
  [API_KEY] = { "key", 403 },
};

static ApiKind
store_kind (int code)
{
  switch (code) {
  case STORE_ERROR_NOT_FOUND:
  case STORE_ERROR_AMBIGUOUS:
    return API_NOT_FOUND;
  case STORE_ERROR_DAMAGED:
    return API_DAMAGED;
  case STORE_ERROR_VERSION:
    return API_NOT_POSSIBLE;
  case STORE_ERROR_EXISTS:
  case STORE_ERROR_CLAIMED:
  case STORE_ERROR_IN_USE:
    return API_CONFLICT;
  case STORE_ERROR_KEY_NEEDED:
  case STORE_ERROR_KEY_WRONG:
    return API_KEY;
  default:
    return API_FAILED;
  }
}

static ApiKind
driver_kind (int code)
{
  switch (code) {
  case DRIVER_ERROR_INVALID:
    return API_USAGE;
  case DRIVER_ERROR_NOT_FOUND:
  case DRIVER_ERROR_IMPOSSIBLE:
    return API_NOT_POSSIBLE;
  default:
    return API_FAILED;
  }
}

static ApiKind
exchange_kind (int code)
{
  switch (code) {
  case EXCHANGE_ERROR_DAMAGED:
    return API_DAMAGED;
  case EXCHANGE_ERROR_UNSUPPORTED:
    return API_NOT_POSSIBLE;
  case EXCHANGE_ERROR_USAGE:
    return API_USAGE;
  case EXCHANGE_ERROR_NOT_FOUND:
    return API_NOT_FOUND;
  default:
    return API_FAILED;
  }
}

static ApiKind
inspect_kind (int code)
{
  switch (code) {
  case INSPECT_ERROR_USAGE:
    return API_USAGE;
  case INSPECT_ERROR_NOT_FOUND:
    return API_NOT_FOUND;
  case INSPECT_ERROR_DAMAGED:
    return API_DAMAGED;
  case INSPECT_ERROR_IMPOSSIBLE:
    return API_NOT_POSSIBLE;
  default:
    return API_FAILED;
  }
}

ApiKind
api_error_kind (const GError *error)
{
  if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    return API_INTERRUPTED;
  if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT))
    return API_USAGE;
  if (error->domain == API_ERROR)
    return error->code;
  if (error->domain == STORE_ERROR)
    return store_kind (error->code);
  if (error->domain == DRIVER_ERROR)
    return driver_kind (error->code);
  if (error->domain == EXCHANGE_ERROR)
    return exchange_kind (error->code);
  if (error->domain == INSPECT_ERROR)
    return inspect_kind (error->code);
  if (g_error_matches (error, RAM_ERROR, RAM_ERROR_IMPOSSIBLE) ||
      g_error_matches (error, DISK_ERROR, DISK_ERROR_IMPOSSIBLE) ||
      g_error_matches (error, STREAM_ERROR, STREAM_ERROR_UNSUPPORTED))
    return API_NOT_POSSIBLE;
  if (g_error_matches (error, RAM_ERROR, RAM_ERROR_BUSY) ||
      g_error_matches (error, DISK_ERROR, DISK_ERROR_BUSY) ||
      g_error_matches (error, RAM_ERROR, RAM_ERROR_SAVED) ||
      g_error_matches (error, KEEPER_ERROR, KEEPER_ERROR_BUSY))
    return API_CONFLICT;
  return API_FAILED;
}

const char *
api_kind_name (ApiKind kind)
{
  return kinds[kind].name;
}

guint
api_kind_status (ApiKind kind)
{
  return kinds[kind].status;
}
