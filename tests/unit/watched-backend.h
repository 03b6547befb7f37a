/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A backend in front of another that counts what is read, and fails where a test wants it to. */
#pragma once

#include <vmckpt/store/backend.h>

typedef struct {
  Backend backend;
  Backend *inner;
  const char *watched; /* prefix of the objects that count */
  GMutex lock;
  guint64 gets, get_bytes, largest_get, stream_bytes, puts; /* (lock), or when nobody is at work */
  /* (lock), or when nobody is at work: */
  const char *fail_prefix; /* (nullable): reading objects of this prefix … */
  guint64 fail_from;       /* … beyond this offset … */
  int fail_code;           /* … fails with this GIOErrorEnum */
} WatchedBackend;

/* Takes @inner. */
WatchedBackend *watched_backend_new (Backend *inner, const char *watched);

/* From now on, also while others read: reading objects of @prefix fails; none if NULL. */
void watched_backend_fail (WatchedBackend *self, const char *prefix);
