/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guest agent of a domain, as its port's socket would have it. */
#pragma once

#include "monitor.h"

/* Whether the domain has the agent's channel; FALSE also where that cannot be found out. */
gboolean bridge_agent_present (virDomainPtr domain);

/* Carries out a client's commands until it goes, @socket: (transfer full). Blocks. libvirt has the
 * port: it keeps in step with the agent, and its own commands come in between. */
void bridge_agent_serve (Monitor *monitor, int socket);
