/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A guest agent in a thread of the test that listens on a socket, syncs, freezes and thaws. */
#pragma once

#include <gio/gio.h>

typedef struct _FakeAgent FakeAgent;

/* @hang_ups: how many clients are first let in and left. Ends with fake_agent_free(). */
FakeAgent *fake_agent_start (const char *path, guint hang_ups);
void fake_agent_free (FakeAgent *agent);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FakeAgent, fake_agent_free)

/* How often it was told to thaw. */
guint fake_agent_thawed (FakeAgent *agent);
