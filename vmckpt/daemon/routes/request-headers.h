/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a client says in a message's headers. Main thread. */
#pragma once

#include <vmckpt/util/key-material.h>

#include <libsoup/soup.h>

/* TRUE if the client asked for a stream of lines. */
gboolean request_headers_want_stream (SoupServerMessage *message);

/* Takes a key out of the headers, where it is wiped; NULL if there is none. FALSE with API_USAGE if
 * it is no key. */
gboolean request_headers_take_key (SoupServerMessage *message, const char *header,
                                   KeyMaterial **key, GError **error);
