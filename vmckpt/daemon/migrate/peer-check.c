/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "peer-check.h"

#include "peer.h"

#include <vmckpt/util/json.h>

/* What to do about it. */
static const char *
mend (const GError *error)
{
  if (g_error_matches (error, PEER_ERROR, PEER_ERROR_UNREACHABLE))
    return "run vmckptd --listen there, and let its port through";
  if (g_error_matches (error, PEER_ERROR, PEER_ERROR_TRUST))
    return "certificates of one authority on both hosts, with their names or addresses";
  return "see the message, and vmckptd's log there";
}

JsonObject *
peer_check (const char *host, const char *tls)
{
  JsonObject *check = json_object_new();
  g_autoptr (GError) error = NULL;
  g_autoptr (Peer) peer = peer_new (host, tls, &error);
  g_autoptr (JsonObject) answer =
      peer != NULL ? peer_call (peer, "GET", "/v1/host", NULL, NULL, &error) : NULL;
  gboolean drained = answer != NULL && json_get_bool_or (answer, "drained", FALSE);
  g_autofree char *found =
      answer != NULL ? g_strdup_printf ("%s: vmckptd %s on %s%s", host,
                                        json_get_string_or (answer, "version", "?"),
                                        json_get_string_or (answer, "host", "?"),
                                        drained ? ", but it takes no guests: it is drained" : "")
                     : g_strdup (error->message);

  json_object_set_string_member (check, "check", "other-host");
  json_object_set_boolean_member (check, "ok", answer != NULL && !drained);
  json_object_set_string_member (check, "found", found);
  json_object_set_string_member (check, "for", "moving guests there");
  json_object_set_string_member (check, "mend",
                                 drained          ? "vmckpt drain --undo there"
                                 : answer != NULL ? ""
                                                  : mend (error));
  return check;
}
