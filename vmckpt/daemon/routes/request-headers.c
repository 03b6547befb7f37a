/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "request-headers.h"

#include "api-error.h"

#include <sodium.h>
#include <string.h>

gboolean
request_headers_want_stream (SoupServerMessage *message)
{
  const char *accept =
      soup_message_headers_get_list (soup_server_message_get_request_headers (message), "Accept");
  return accept != NULL && strstr (accept, "application/x-ndjson") != NULL;
}

gboolean
request_headers_take_key (SoupServerMessage *message, const char *header, KeyMaterial **key,
                          GError **error)
{
  SoupMessageHeaders *headers = soup_server_message_get_request_headers (message);
  const char *text = soup_message_headers_get_one (headers, header);
  g_autoptr (GError) cause = NULL;

  if (text == NULL)
    return TRUE;
  *key = key_material_from_text (text, &cause);
  /* The header's own memory: freed memory keeps what was in it. */
  sodium_memzero ((char *)text, strlen (text));
  soup_message_headers_remove (headers, header);
  if (*key == NULL)
    g_set_error (error, API_ERROR, API_USAGE, "the header %s: %s", header, cause->message);
  return *key != NULL;
}
