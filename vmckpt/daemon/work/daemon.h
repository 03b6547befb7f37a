/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What one vmckptd is made of. Built in main(), handed to every request; it outlives them all. */
#pragma once

#include "arrivals.h"
#include "disk-exports.h"
#include "domains.h"
#include "hydrating.h"
#include "looks.h"
#include "registry.h"
#include "runtime.h"
#include "stores.h"
#include "templates.h"

typedef struct {
  Runtime *runtime;
  Stores *stores;
  Registry *registry;
  Domains *domains; /* of libvirt */
  Templates *templates;
  Looks *looks;
  Hydrations *hydrations;
  DiskExports *exports;
  Arrivals *arrivals;
  struct _Schedules *schedules; /* checkpoints at regular times (schedules.h) */
  char *tls;         /* (nullable): directory of the certificates to other hosts (peer-tls.h) */
  char *key_file;    /* (nullable): of stores through which guests come here from other hosts */
  char *guest_files; /* where files of such guests may be (peer-spec.h) */
  GMainLoop *loop;
  GCancellable *stopping; /* cancelled when the daemon is to end */
  int calls;              /* requests at work (atomic) */
} Daemon;
