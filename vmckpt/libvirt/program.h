/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finding vmckpt-libvirt, for those who start it. */
#pragma once

#include <glib.h>

/* VMCKPT_LIBVIRT_PROGRAM, then beside the running program (installed, or its build tree), then
 * where it is installed; newly allocated; NULL with @error (LIBVIRT_ERROR_IMPOSSIBLE). */
char *libvirt_program_find (GError **error);
