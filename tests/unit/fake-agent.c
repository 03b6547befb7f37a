/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake-agent.h"

#include <vmckpt/util/fd.h>

#include <string.h>
#include <sys/socket.h>

struct _FakeAgent {
  AutoFd listener;
  GThread *thread;
  guint hang_ups;
  guint thawed; /* atomic */
};

static void
answer (FakeAgent *agent, int fd, const char *line)
{
  const char *id = strstr (line, "\"id\":");
  g_autofree char *text = NULL;

  if (strstr (line, "guest-sync-delimited") != NULL)
    text = g_strdup_printf ("\xff{\"return\": %" G_GUINT64_FORMAT "}\n",
                            g_ascii_strtoull (id + strlen ("\"id\":"), NULL, 10));
  else
    text = g_strdup ("{\"return\": 2}\n");
  if (strstr (line, "guest-fsfreeze-thaw") != NULL)
    g_atomic_int_inc (&agent->thawed);
  fd_send (fd, text, strlen (text), -1, NULL);
}

static void
serve (FakeAgent *agent, int fd)
{
  g_autoptr (GString) line = g_string_new (NULL);
  char byte;

  while (recv (fd, &byte, 1, 0) == 1) {
    g_string_append_c (line, byte);
    if (byte == '\n') {
      answer (agent, fd, line->str);
      g_string_truncate (line, 0);
    }
  }
}

static gpointer
run (gpointer data)
{
  FakeAgent *agent = data;

  for (;;) {
    g_auto (AutoFd) fd = accept (agent->listener, NULL, NULL);
    if (fd < 0)
      return NULL;
    if (agent->hang_ups > 0)
      agent->hang_ups--;
    else
      serve (agent, fd);
  }
}

FakeAgent *
fake_agent_start (const char *path, guint hang_ups)
{
  FakeAgent *agent = g_new0 (FakeAgent, 1);
  g_autoptr (GError) error = NULL;

  agent->listener = fd_listen_unix (path, &error);
  g_assert_no_error (error);
  agent->hang_ups = hang_ups;
  agent->thread = g_thread_new ("agent", run, agent);
  return agent;
}

void
fake_agent_free (FakeAgent *agent)
{
  shutdown (agent->listener, SHUT_RDWR);
  g_thread_join (agent->thread);
  fd_close (&agent->listener);
  g_free (agent);
}

guint
fake_agent_thawed (FakeAgent *agent)
{
  return g_atomic_int_get (&agent->thawed);
}
