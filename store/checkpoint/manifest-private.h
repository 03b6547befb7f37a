/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What those who load manifests and those who look for one say alike. */
#pragma once

#include <vmckpt/store/manifest.h>

#include "store-private.h"

/* STORE_ERROR_NOT_FOUND: there is no checkpoint @reference, which is a user's text. */
void manifest_set_not_found (GError **error, const char *reference);
