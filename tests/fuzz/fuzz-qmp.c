/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lines of a monitor: what one line may say, in any order, to a session with commands under way. */
#include "session.h"

#include "fuzz.h"

#include <string.h>

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  QmpSession session;
  qmp_session_init (&session);
  for (int i = 0; i < 2 * QMP_MAX_IN_FLIGHT; i++) {
    g_autoptr (QmpCall) call = g_new0 (QmpCall, 1);
    *call = (QmpCall){ .refs = 1, .command = g_strdup ("c"), .pass_fd = -1, .oob = i % 3 == 0 };
    qmp_session_submit (&session, call, NULL);
  }
  for (const guint8 *end; (end = memchr (data, '\n', size)) != NULL; data = end + 1) {
    g_autoptr (QmpCall) sent G_GNUC_UNUSED = qmp_session_next_to_send (&session);
    g_auto (QmpMessage) message = { 0 };
    if (qmp_message_parse ((const char *)data, (gsize)(end - data), &message, NULL))
      qmp_session_receive (&session, &message);
    size -= (gsize)(end + 1 - data);
  }
  qmp_session_clear (&session);
  return 0;
}
