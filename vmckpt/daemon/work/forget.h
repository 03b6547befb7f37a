/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which checkpoints of a store a retention policy removes, before any is. */
#pragma once

#include "daemon.h"

#include <vmckpt/policy/retention.h>
#include <vmckpt/store/manifest.h>

/* What checkpoints of one group have in common. */
typedef enum {
  FORGET_BY_GUEST = 1 << 0,
  FORGET_BY_UUID = 1 << 1,
  FORGET_BY_HOST = 1 << 2,
  FORGET_BY_TAGS = 1 << 3,
} ForgetGroup;

typedef struct {
  RetentionPolicy policy;
  GStrv guests;            /* (nullable): only checkpoints of these */
  GPtrArray *filter;       /* (nullable) of GStrv: only those with all tags of one of the lists */
  ForgetGroup group;       /* 0: all are one group */
  gboolean keep_suspended; /* keep what is a suspended guest's only way back */
} ForgetRules;

void forget_rules_clear (ForgetRules *rules);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (ForgetRules, forget_rules_clear)

/* One checkpoint and what is to become of it. */
typedef struct {
  Manifest *manifest;
  GStrv tags;
  char *group;   /* "guest g1" */
  GStrv reasons; /* to keep it; none: it is to go */
} ForgetVerdict;

/**
 * forget_parse_group:
 * @text: "none", or some of "guest", "uuid", "host" and "tags", with commas between
 *
 * Returns: FALSE with API_USAGE.
 */
gboolean forget_parse_group (const char *text, ForgetGroup *group, GError **error);

/**
 * forget_judge:
 * @damaged: (out) (transfer full) (element-type char*): ids of manifests that cannot be read: they
 * are in no group, and stay
 *
 * Judges all checkpoints that the rules are about, by the daemon's local time.
 *
 * Returns: (transfer full) (element-type ForgetVerdict): oldest first; NULL with API_NOT_FOUND if
 * one of the guests has no checkpoint, or STORE_ERROR_DAMAGED if a rule depends on tags and one
 * cannot be read.
 */
GPtrArray *forget_judge (Daemon *daemon, Store *store, const ForgetRules *rules,
                         GPtrArray **damaged, GError **error);
