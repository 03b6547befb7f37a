/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest comes here through a store that both hosts reach: its QEMU is started from a checkpoint
 * that was made while the guest ran, and waits for the last one, which is restored lazily. Disks
 * travel in the checkpoint. Used where the two QEMUs cannot talk to each other.
 *
 *   source                                     here
 *   live checkpoint ── POST /v1/migrations ──▶ preflight, QEMU starts       "listening"
 *   more of them, until the rest is small
 *   last checkpoint, stands still ── …/checkpoint ──▶ devices loaded        "arrived"
 *   …/go ──▶ decided (arrivals.h): it runs, and its memory comes as it is needed
 */
#pragma once

#include "request.h"

/* POST /v1/migrations with "way":"store": the API's result. */
JsonObject *arrive_store (Request *request, GError **error);
