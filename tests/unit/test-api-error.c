/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api-error.h"

#include <vmckpt/drivers/guest-spec.h>
#include <vmckpt/keeper/keeper.h>
#include <vmckpt/qmp/client.h>
#include <vmckpt/qmp/stream-reader.h>
#include <vmckpt/ram/capture.h>
#include <vmckpt/store/store.h>

static void
assert_kind (GQuark domain, int code, ApiKind kind)
{
  g_autoptr (GError) error = g_error_new_literal (domain, code, "because");
  g_assert_cmpstr (api_kind_name (api_error_kind (error)), ==, api_kind_name (kind));
}

/* What scripts rely on: the exit code follows from the kind. */
static void
test_kinds (void)
{
  assert_kind (STORE_ERROR, STORE_ERROR_NOT_FOUND, API_NOT_FOUND);
  assert_kind (STORE_ERROR, STORE_ERROR_AMBIGUOUS, API_NOT_FOUND);
  assert_kind (STORE_ERROR, STORE_ERROR_DAMAGED, API_DAMAGED);
  assert_kind (STORE_ERROR, STORE_ERROR_VERSION, API_NOT_POSSIBLE);
  assert_kind (STORE_ERROR, STORE_ERROR_CLAIMED, API_CONFLICT);
  assert_kind (STORE_ERROR, STORE_ERROR_UNREACHABLE, API_FAILED);
  assert_kind (STORE_ERROR, STORE_ERROR_NOT_A_STORE, API_FAILED);
  assert_kind (DRIVER_ERROR, DRIVER_ERROR_INVALID, API_USAGE);
  assert_kind (DRIVER_ERROR, DRIVER_ERROR_IMPOSSIBLE, API_NOT_POSSIBLE);
  assert_kind (DRIVER_ERROR, DRIVER_ERROR_NOT_FOUND, API_NOT_POSSIBLE);
  assert_kind (DRIVER_ERROR, DRIVER_ERROR_FAILED, API_FAILED);
  assert_kind (RAM_ERROR, RAM_ERROR_IMPOSSIBLE, API_NOT_POSSIBLE);
  assert_kind (RAM_ERROR, RAM_ERROR_STALLED, API_FAILED);
  assert_kind (RAM_ERROR, RAM_ERROR_BUSY, API_CONFLICT);
  assert_kind (RAM_ERROR, RAM_ERROR_SAVED, API_CONFLICT);
  assert_kind (KEEPER_ERROR, KEEPER_ERROR_BUSY, API_CONFLICT);
  assert_kind (STREAM_ERROR, STREAM_ERROR_UNSUPPORTED, API_NOT_POSSIBLE);
  assert_kind (QMP_ERROR, QMP_ERROR_TIMEOUT, API_FAILED);
  assert_kind (KEEPER_ERROR, KEEPER_ERROR_GONE, API_FAILED);
  assert_kind (G_IO_ERROR, G_IO_ERROR_CANCELLED, API_INTERRUPTED);
  assert_kind (G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, API_USAGE);
  assert_kind (G_IO_ERROR, G_IO_ERROR_NO_SPACE, API_FAILED);
  assert_kind (API_ERROR, API_CONFLICT, API_CONFLICT);
}

static void
test_every_kind_has_a_name_and_a_status (void)
{
  for (ApiKind kind = 0; kind < API_KIND_COUNT; kind++) {
    g_assert_nonnull (api_kind_name (kind));
    g_assert_cmpuint (api_kind_status (kind), >=, 400);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/api-error/kinds", test_kinds);
  g_test_add_func ("/api-error/complete", test_every_kind_has_a_name_and_a_status);
  return g_test_run();
}
