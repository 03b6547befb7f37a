/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The messages of QMP (QEMU: docs/interop/qmp-spec): lines to structures and back. No state, no
 * I/O.
 */
#pragma once

#include <vmckpt/qmp/client.h>

/*
 * Answers nest a handful of levels, and one more per overlay of a disk where they draw backing
 * chains (query-block, query-blockstats). QEMU's own parser takes 1024.
 */
#define QMP_MAX_NESTING 64

typedef enum {
  QMP_MESSAGE_GREETING,
  QMP_MESSAGE_ANSWER, /* to the command @id: @result, or @failure */
  QMP_MESSAGE_EVENT,
  QMP_MESSAGE_OTHER, /* an object of a kind that may be ignored */
} QmpMessageType;

typedef struct {
  QmpMessageType type;
  QmpGreeting greeting; /* GREETING */
  guint64 id;           /* ANSWER; 0 if it bears none of ours */
  JsonNode *result;     /* ANSWER */
  GError *failure;      /* ANSWER: QMP_ERROR_COMMAND */
  char *event;          /* EVENT */
  JsonObject *data;     /* EVENT (nullable) */
  gint64 time_us;       /* EVENT */
} QmpMessage;

void qmp_message_clear (QmpMessage *message);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (QmpMessage, qmp_message_clear)

/**
 * qmp_message_parse:
 * @line: one line of @len bytes
 * @message: (out): what it says
 *
 * Returns: FALSE with @error (QMP_ERROR_PROTOCOL) if the line is not a JSON object within the
 * bounds, or says of itself that the server could not read a command (an error without id).
 */
gboolean qmp_message_parse (const char *line, gsize len, QmpMessage *message, GError **error);

/**
 * qmp_message_command:
 * @id: comes back with the answer; not 0
 * @arguments: (transfer none) (nullable)
 * @oob: "exec-oob" instead of "execute"
 *
 * Returns: (transfer full): the command's line with its end.
 */
char *qmp_message_command (guint64 id, const char *command, JsonObject *arguments, gboolean oob);
