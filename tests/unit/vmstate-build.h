/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Device state as QEMU sends it, made up: sections, their footers, and the description behind. */
#pragma once

#include <gio/gio.h>

typedef struct {
  GByteArray *data;
  GString *devices; /* of the description */
  guint32 section;
} VmStateBuild;

void vmstate_build_init (VmStateBuild *build);
void vmstate_build_clear (VmStateBuild *build);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (VmStateBuild, vmstate_build_clear)

/* @members: what the description says besides name and instance: "\"fields\": […]". */
void vmstate_build_add (VmStateBuild *build, const char *name, guint32 instance, const guint8 *data,
                        gsize len, const char *members);

/* A CPU of 64 bits whose registers are told by @seed: register i is seed * 256 + i. */
void vmstate_build_add_cpu (VmStateBuild *build, guint32 instance, guint64 seed);

/* The whole; @build may be gone on with. */
GBytes *vmstate_build_bytes (const VmStateBuild *build);

/* @data with @description, which need not fit it. */
GBytes *vmstate_build_described (const guint8 *data, gsize len, const char *description);
