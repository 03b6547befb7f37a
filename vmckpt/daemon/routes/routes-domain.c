/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /v1/domains: descriptions of libvirt's domains, also of those that do not run. */
#include "preparing.h"
#include "router.h"

static JsonObject *
prepare_domain (Request *request, GError **error)
{
  gboolean undo = FALSE, apply = FALSE;

  if (!request_expect (request, error, "undo", "apply", NULL) ||
      !request_bool (request, "undo", &undo, error) ||
      !request_bool (request, "apply", &apply, error))
    return NULL;
  return preparing_domain (request->daemon->domains, request->params[0], undo, apply,
                           request->cancellable, error);
}

static JsonObject *
examine_domain (Request *request, GError **error)
{
  return preparing_doctor (request->daemon->domains, request->params[0], request->cancellable,
                           error);
}

const Route domain_routes[] = {
  { "POST", "/v1/domains/:name/prepare", prepare_domain, NULL, FALSE },
  { "GET", "/v1/domains/:name/doctor", examine_domain, NULL, FALSE },
  { NULL },
};
