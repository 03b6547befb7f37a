/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Claims: who runs a guest now. Per guest uuid a series of numbered objects, each put if absent, of
 * which the last counts; so of two hosts that restore the same guest at the same time one is
 * refused. A claim names the machine's boot, the runtime directory and QEMU's process, so that on
 * the same machine a dead claimant is recognised at once.
 */
#pragma once

#include <vmckpt/store/store.h>
#include <vmckpt/util/process.h>

typedef struct {
  char *guest_uuid;
  char *guest;       /* its name there */
  char *host;        /* host name */
  char *boot_id;     /* process_boot_id() */
  char *machine;     /* (nullable): process_machine_id() */
  char *runtime;     /* the daemon's runtime directory */
  ProcessId process; /* QEMU; start_ticks 0 = not known yet: the claimant's daemon is `process` */
  gint64 since_us;
} Claim;

/* All members are 0 or NULL; the caller fills in newly allocated texts. */
Claim *claim_new (void);
/* Frees @claim. */
void claim_free (Claim *claim);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Claim, claim_free)

/**
 * store_claim_take:
 * @take_over: replace a claim of another host, which the caller knows to be dead, or a damaged one
 *
 * A claim that is provably dead (same boot, process gone; or same machine and host name, other
 * boot) is replaced, as is one's own (same boot and runtime).
 *
 * Returns: FALSE with STORE_ERROR_CLAIMED that names guest, host, runtime and since when, or
 * STORE_ERROR_DAMAGED if nobody can say who has it.
 */
gboolean store_claim_take (Store *store, const Claim *claim, gboolean take_over, GError **error);

/**
 * store_claim_release:
 * @claim: what was claimed; guest_uuid, boot_id, runtime and since_us count
 *
 * Gives up that very claim; one that somebody has taken since, be it the same daemon for a later
 * run of the guest, is left alone.
 */
gboolean store_claim_release (Store *store, const Claim *claim, GError **error);

/* TRUE if whoever claims is known to be gone: this machine had another boot then, or it is this
 * boot and the process has ended. */
gboolean claim_is_dead (const Claim *claim);

/* When the last run of the guest that this store knows of began, microseconds since 1970, whether
 * it is over or not; 0 if there was none, or from before releases were noted so. FALSE with @error
 * if that cannot be read. */
gboolean store_claim_last_since (Store *store, const char *guest_uuid, gint64 *since_us,
                                 GError **error);

/* The claim on a guest, or NULL without @error if nobody has one. */
Claim *store_claim_get (Store *store, const char *guest_uuid, GError **error);
