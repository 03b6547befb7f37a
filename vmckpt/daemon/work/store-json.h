/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What looking after a store found, as the API says it (docs/api.md). All newly made. */
#pragma once

#include <json-glib/json-glib.h>
#include <vmckpt/store/copy.h>
#include <vmckpt/store/repair.h>

JsonObject *store_gc_to_json (const StoreGcReport *report);
JsonObject *store_finding_to_json (const StoreFinding *finding);
JsonObject *store_repair_to_json (const StoreRepair *repair);
JsonObject *store_copied_to_json (const StoreCopied *copied);
