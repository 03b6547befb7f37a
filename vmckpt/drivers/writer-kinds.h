/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is known of kinds of devices and back ends: do they write to guest RAM past QEMU? */
#pragma once

#include <vmckpt/drivers/foreign-writers.h>

/* @type: of a device in QOM, e.g. "vfio-pci". */
ForeignWriters writers_of_device (const char *type);
/* @type: of a network back end, e.g. "vhost-user". */
ForeignWriters writers_of_network (const char *type);
/* @driver: of a block node, e.g. "nvme". */
ForeignWriters writers_of_block (const char *driver);

/* Calls @found for each back end or card in what the monitor's "info network" prints. */
void writers_parse_network (const char *text,
                            void (*found) (const char *name, const char *type, gpointer user_data),
                            gpointer user_data);
