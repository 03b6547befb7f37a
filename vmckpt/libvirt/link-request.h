/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lines that the program reads: {"id":N,"request":NAME,"fd":BOOL,…}. */
#pragma once

#include <vmckpt/libvirt/libvirt-link.h>

#define REQUEST_DEPTH 16

typedef struct {
  guint64 id;
  char *name;
  gboolean fd;         /* a descriptor came with it */
  JsonObject *members; /* all of the line */
} Request;

void request_free (Request *request);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Request, request_free)

/* Returns: NULL with @error (LIBVIRT_ERROR_USAGE) if @line is no request. */
Request *request_parse (const char *line, gsize len, GError **error);

/* A member of it that is a text which is needed; NULL with @error (LIBVIRT_ERROR_USAGE). */
const char *request_text (const Request *request, const char *member, GError **error);
