/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The proof that tracking has missed nothing, for tests: at the pause all of the RAM is copied
 * aside, and before the commit that copy is compared, page by page, with what the new map would
 * restore. Costs as much memory again as the guest has, and makes the pause long; done if
 * VMCKPT_PROVE=1 is in the environment.
 */
#pragma once

#include "page-bitmap.h"

#include <vmckpt/store/page-map.h>

typedef struct _RamProof RamProof;

/* Whether the environment asks for it. */
gboolean ram_proof_wanted (void);

/* Copies the @length bytes of the file @fd; @fd is not kept. */
RamProof *ram_proof_take (int fd, guint64 length, GError **error);
/* Drops the copy. */
void ram_proof_free (RamProof *proof);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (RamProof, ram_proof_free)

/**
 * ram_proof_check:
 * @map: flushed
 * @skip: (nullable): pages not to be compared: those that had not come from an earlier checkpoint
 *   yet when the copy was made
 *
 * Returns: FALSE with RAM_ERROR_FAILED, naming the first page that differs and how many do.
 */
gboolean ram_proof_check (const RamProof *proof, Store *store, const PageMap *map,
                          const PageBitmap *skip, GError **error);
