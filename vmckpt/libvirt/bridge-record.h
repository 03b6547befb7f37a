/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bridge.json, and the sockets that it tells of. */
#pragma once

#include <vmckpt/libvirt/libvirt-bridge.h>
#include <vmckpt/libvirt/libvirt-link.h>

/* Writes it in @directory, whole or not at all. */
gboolean bridge_record_write (const char *directory, const LibvirtBridge *bridge, GError **error);

/* Reads it. A file of an earlier boot of the machine is as none (G_IO_ERROR_NOT_FOUND). */
gboolean bridge_record_read (const char *directory, LibvirtBridge *bridge, GError **error);

/* Removes it and all sockets. */
void bridge_record_remove (const char *directory);
