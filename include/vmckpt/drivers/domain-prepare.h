/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The change of a libvirt domain's persistent description that lets its memory be followed (the
 * tracked engine, lazy restores): its RAM is a file that is shared, and vmckpt's object is loaded
 * into its QEMU, which makes that file a memfd with what it takes to follow it.
 *
 *   <metadata>         + <vmckpt:prepared>: that it was us, and what was there before
 *   <memoryBacking>    <source type='file'/> <access mode='shared'/>
 *   <qemu:commandline> + <qemu:env> LD_PRELOAD, VMCKPT_RAM_FILE
 *
 * Nothing else is touched, and what is taken back is exactly that. Pure: nothing is asked of
 * libvirt or of the host.
 */
#pragma once

#include <vmckpt/drivers/domain-xml.h>

/* The namespace of our element in <metadata>; libvirt keeps one element of each. */
#define DOMAIN_PREPARED_NAMESPACE "urn:vmckpt:prepared:1"
/* In QEMU's environment: the file name of the RAM that is to be ours (libvirt's alias of it). */
#define DOMAIN_RAM_FILE_VARIABLE "VMCKPT_RAM_FILE"

/**
 * domain_prepare:
 * @doc: (inout): an inactive description
 * @preload: absolute path of vmckpt's object
 *
 * Prepares it; one that is, with another path, gets this one.
 *
 * Returns: TRUE, with @doc unchanged if there was nothing to do; FALSE with
 * DRIVER_ERROR_IMPOSSIBLE, a sentence for each reason why its memory cannot be such a file, @doc
 * unchanged.
 */
gboolean domain_prepare (xmlDoc *doc, const char *preload, GError **error);

/* Takes exactly that back. FALSE with DRIVER_ERROR_IMPOSSIBLE: somebody has since changed what
 * would be taken back; @doc is unchanged then. */
gboolean domain_unprepare (xmlDoc *doc, GError **error);

/* Whether the description has our element, that is, whether domain_unprepare() has something to do.
 * (domain_is_prepared() in domain-spec.h asks whether its QEMU can be followed.) */
gboolean domain_has_preparation (xmlDoc *doc);
