/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A libvirt domain as a GuestSpec, from its live description: what a checkpoint needs to know
 * before it looks into QEMU itself. A domain is never built from such a spec: libvirt builds it
 * from the description, which is recorded beside it.
 *
 * Disks have the target as name ("vda") and libvirt's alias as device. <readonly/> and CD-ROMs are
 * readonly, <shareable/> is shared, <transient/> excluded, all others captured; firmware and its
 * variables are "firmware" and "nvram", as of guests of ours.
 */
#pragma once

#include <vmckpt/drivers/domain-xml.h>

/**
 * domain_spec_from_xml:
 * @xml: the live description
 * @uri: of the connection
 *
 * Name (its UUID where the name is none of ours), uuid, RAM, CPUs, machine type, accelerator,
 * boot files, disks with what is behind them, agent, and the file of its serial port. Memory is
 * MEMORY_SHARED where domain_is_prepared().
 *
 * Returns: NULL with DRIVER_ERROR_INVALID (no such description), or _IMPOSSIBLE: a sentence that
 * names what a checkpoint of it would lack (a disk behind a protocol that is not known here).
 */
GuestSpec *domain_spec_from_xml (const char *xml, gsize len, const char *uri, GError **error);

/* The same without the disks that no checkpoint can contain: for everything but a checkpoint. */
GuestSpec *domain_spec_lenient (const char *xml, gsize len, const char *uri, GError **error);

/* Its memory is a file that it shares, and our object is loaded into its QEMU: what it writes can
 * be followed (`prepare`). @domain: its element. */
gboolean domain_is_prepared (xmlNode *domain);

/* Why libvirt's side keeps no log of what @spec's guest prints, and what to do; newly allocated. */
char *domain_spec_no_log (const GuestSpec *spec);
