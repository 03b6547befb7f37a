/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The image store: chunks in packs, an index, page maps and manifests (docs/store-format.md).
 * A Store may be used by many threads at once; several processes may use one store at once.
 */
#pragma once

#include <vmckpt/store/backend.h>
#include <vmckpt/store/page-map.h>
#include <vmckpt/util/progress.h>

#define STORE_ERROR (store_error_quark())
GQuark store_error_quark (void);

typedef enum {
  STORE_ERROR_NOT_A_STORE, /* no format object: run `vmckpt store init` */
  STORE_ERROR_EXISTS,      /* init: there is a store already */
  STORE_ERROR_VERSION,     /* a format that this program is too old for */
  STORE_ERROR_NOT_FOUND,   /* no such checkpoint, tag, … */
  STORE_ERROR_AMBIGUOUS,   /* an id prefix that several checkpoints share */
  STORE_ERROR_DAMAGED,     /* an object is missing, cut or does not hold what its name says */
  STORE_ERROR_UNREACHABLE, /* the store's place is gone or does not answer (a vanished mount) */
  STORE_ERROR_CLAIMED,     /* the guest runs elsewhere */
  STORE_ERROR_IN_USE,      /* something else needs this now */
  STORE_ERROR_QUOTA,       /* a limit of the store or of the guest is reached */
  STORE_ERROR_KEY_NEEDED,  /* the store is encrypted and no key was given */
  STORE_ERROR_KEY_WRONG,   /* no key of the store is the one given; or it is not encrypted */
} StoreError;

/* Makes a new, empty store at @backend; STORE_ERROR_EXISTS if there is one. */
gboolean store_init (Backend *backend, GError **error);

/* Opens a store that is not encrypted (key.h opens the others); takes @backend (transfer full),
 * also on failure. */
Store *store_open (Backend *backend, GError **error);

/* Takes a reference. */
Store *store_ref (Store *store);
/* Drops a reference; the last one frees. */
void store_unref (Store *store);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Store, store_unref)

/* For messages; borrowed. */
const char *store_location (Store *store);

/* The store's own random id, hexadecimal; borrowed. */
const char *store_id (Store *store);

/* Bytes that can still be stored, or G_MAXUINT64. Also notices a vanished or read-only store:
 * STORE_ERROR_UNREACHABLE. Cheap; for a preflight. */
gboolean store_probe_writable (Store *store, guint64 *available, GError **error);
