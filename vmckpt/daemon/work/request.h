/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One request: what the client said, bounded and checked, and who listens to the work. A handler
 * gets it on a worker thread of its own, may block, and returns the result's object or an error.
 */
#pragma once

#include "daemon.h"

#include <json-glib/json-glib.h>
#include <vmckpt/unit/unit.h>

#define REQUEST_MAX_BODY (1u << 20)
#define REQUEST_MAX_DEPTH 16
#define REQUEST_MAX_PARAMS 2
/* The key of the store that the request names, and the one that it is to get. */
#define REQUEST_KEY_HEADER "Vmckpt-Key"
#define REQUEST_NEW_KEY_HEADER "Vmckpt-New-Key"
/* The key of a second store, which the body names. */
#define REQUEST_OTHER_KEY_HEADER "Vmckpt-Other-Key"

typedef struct {
  Daemon *daemon;
  char *params[REQUEST_MAX_PARAMS]; /* what the path's :placeholders stood for */
  GHashTable *query;                /* (nullable) */
  char *peer;                       /* (nullable): the address of the host that asks */
  char *local;                      /* (nullable): and the address of this one that it asked */
  JsonObject *body;                 /* empty if there was none */
  KeyMaterial *key, *new_key, *other_key; /* (nullable) what the client sent in the headers above */
  GCancellable *cancellable;              /* the client has gone */
  Progress progress;
  UnitWatcher watcher; /* the two above, for the flows */
  /* (nullable): sends a line of its own kind (@line, taken) before the last one of a streamed
   * answer;
   * @data is the watcher's. Any thread. */
  void (*send_line) (const char *type, JsonObject *line, gpointer data);
  gpointer work; /* (nullable): what the route keeps for itself, freed with the request */
  GDestroyNotify free_work;
} Request;

typedef JsonObject *(*RequestHandler) (Request *request, GError **error);

void request_free (Request *request);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Request, request_free)

/* Takes everything out of @request, which somebody else will free, into a new one. */
Request *request_steal (Request *request);

/* Parses @body into @request. API_USAGE. */
gboolean request_parse_body (Request *request, GBytes *body, GError **error);

/**
 * request_expect:
 * @...: names of the members that the body may have, then NULL
 *
 * Refuses any other member, so that a misspelt option is never ignored. API_USAGE.
 */
gboolean request_expect (Request *request, GError **error, ...) G_GNUC_NULL_TERMINATED;

/* The guest that the path names, as its first parameter; a domain of libvirt's is attached by that.
 * NULL with @error. (transfer full) */
Guest *request_guest (Request *request, GError **error);

/* A member of the body: absent or null gives the default, another type is API_USAGE. */
gboolean request_string (Request *request, const char *member, const char **value, GError **error);
gboolean request_bool (Request *request, const char *member, gboolean *value, GError **error);

/* A time such as "10s" (schedule_parse_time()); absent: 0. */
gboolean request_time (Request *request, const char *member, gint64 *us, GError **error);

/* A query parameter, or NULL. */
const char *request_query (Request *request, const char *name);
gboolean request_query_bool (Request *request, const char *name);

/* The absolute path that ?store= gives, or NULL with API_USAGE. */
const char *request_store_path (Request *request, GError **error);

/* That store, open (transfer full), if the request may use it: its key fits. */
Store *request_store (Request *request, GError **error);

/* The same; @key_id: (out): the key that the request has, NULL in a store without encryption. */
Store *request_store_and_key (Request *request, char **key_id, GError **error);

/* The same for what another host began: no key comes from there, so that the request gets the one
 * that this daemon has (--key-file) where one is needed. */
Store *request_store_for_peer (Request *request, GError **error);

/* The store is the request's from now on, as if its query named it. */
void request_set_store (Request *request, const char *path);

/* Parses text of a known set; API_USAGE names the choices. @choices: NULL-terminated. */
gboolean request_choice (const char *what, const char *value, const char *const *choices,
                         guint *index, GError **error);
