/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The proof that a checkpoint can be restored: it is, to a guest that nobody knows, beside its
 * original, cut off from the network, on overlays of its disks, until it shows that it lives.
 *
 *   RUNTIME/proofs/XXXXXX/   its guest directory, and the server of its disks
 *   DISKS/proofs/XXXXXX/     what it writes
 */
#pragma once

#include "request.h"

/* The tag of a checkpoint that was to be proven when it was taken, and did not pass. */
#define PROOF_FAILED_TAG "unproven"

typedef struct {
  int timeout_ms;    /* from its CPUs' running until it has shown that it lives */
  const char *until; /* (nullable): by printing this on its serial port */
  GStrv command;     /* (nullable): by this command's success, run by its guest agent */
  /* neither: by its guest agent's answer, if it has a port for one, else by CPUs that execute */
} ProofWish;

void proof_wish_clear (ProofWish *wish);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (ProofWish, proof_wish_clear)

/* What the body says: "timeout", "until", "command". API_USAGE. */
gboolean proof_parse (Request *request, ProofWish *wish, GError **error);

/**
 * proof_boot:
 *
 * Reads all of @manifest's content, restores it and waits. Whatever comes of it, the guest is ended
 * and nothing of it stays; if this process dies, its keeper ends it, and proof_clean() of the next
 * removes the rest.
 *
 * Returns: the result as the API shows it; NULL with @error: STORE_ERROR for damage,
 * DRIVER_ERROR_IMPOSSIBLE for a guest that cannot run a second time here, API_FAILED if it does not
 * show that it lives.
 */
JsonObject *proof_boot (Request *request, Store *store, const Manifest *manifest,
                        const ProofWish *wish, GError **error);

/* Removes what an earlier daemon left. */
void proof_clean (const Runtime *runtime);
