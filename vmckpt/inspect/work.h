/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is done in the appliance, one function for each command. Each answers through the
 * appliance's Reply and returns the last frame's members (transfer full), or NULL with @error
 * (INSPECT_ERROR). */
#pragma once

#include "appliance.h"
#include "inspect-request.h"

#include <json-glib/json-glib.h>

/* work-system.c: what is on the disks. */
JsonObject *work_inspect (Appliance *appliance, const InspectRequest *request, GError **error);

/* work-files.c: names and attributes, in frames of type "files". */
JsonObject *work_ls (Appliance *appliance, const InspectRequest *request, GError **error);
JsonObject *work_files (Appliance *appliance, const InspectRequest *request, GError **error);

/* work-copy.c: content. */
JsonObject *work_copy (Appliance *appliance, const InspectRequest *request, GError **error);

/* work-fsck.c: whether the file systems are whole. What is mounted is unmounted. */
JsonObject *work_fsck (Appliance *appliance, const InspectRequest *request, GError **error);
