/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Domains that a daemon was restoring when it died. Cut off while it is loaded, libvirt leaves
 * none; later the keeper's lease ends it. In between it is loaded and stopped, and nobody knows of
 * it but RUNTIME/restoring/UUID.json, from before anything is given to libvirt until the domain
 * runs.
 */
#pragma once

#include "daemon.h"

/* @uuid: of the domain that is about to be restored at @uri. */
gboolean domain_unfinished_note (const Runtime *runtime, const char *uri, const char *uuid,
                                 GError **error);

/* It runs, or is gone. */
void domain_unfinished_forget (const Runtime *runtime, const char *uuid);

/* Ends those that an earlier daemon has left stopped. One that somebody has made run since is left.
 * When the guests have been found; blocks while libvirt is at work on one, for 20 s at most. */
void domain_unfinished_clean (const Daemon *daemon);
