/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The head of a file of `virsh save` (libvirt: src/qemu/qemu_saveimage.h): 92 bytes in the host's
 * byte order, then the domain's description in XML and its cookie, each up to a NUL, then the
 * migration stream, compressed or not.
 */
#pragma once

#include <vmckpt/drivers/guest-spec.h>

#define LIBVIRT_HEADER_BYTES 92
#define LIBVIRT_XML_MAX (8u << 20)

typedef struct {
  guint32 data_len; /* bytes between header and stream */
  gboolean was_running;
  guint32 compressed;    /* as libvirt numbers the programs */
  guint32 cookie_offset; /* from the header's end; 0: there is no cookie */
} LibvirtHeader;

/* Parses the header. EXCHANGE_ERROR_DAMAGED, or _UNSUPPORTED for an unfinished or strange one. */
gboolean libvirt_header_parse (const guint8 data[LIBVIRT_HEADER_BYTES], LibvirtHeader *header,
                               GError **error);

/* The header of a complete image, for this host. */
void libvirt_header_build (const LibvirtHeader *header, guint8 data[LIBVIRT_HEADER_BYTES]);

/* The program that decompresses the stream, NULL if it is not compressed. FALSE with
 * EXCHANGE_ERROR_UNSUPPORTED for a method that is not known. */
gboolean libvirt_header_program (const LibvirtHeader *header, const char **program, GError **error);

/**
 * libvirt_xml_parse:
 * @xml: what follows the header, up to its first NUL
 * @notes: (inout) (element-type utf8): what of the domain our driver does not build; newly
 * allocated sentences are added
 *
 * What can be mapped of a domain: name, uuid, machine type, accelerator, CPUs, RAM, CPU model,
 * kernel, initrd and command line. The spec is not completed.
 */
GuestSpec *libvirt_xml_parse (const char *xml, gsize len, GPtrArray *notes, GError **error);
