/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Device state, taken apart. Its sections bear no lengths; the description that QEMU puts at the
 * end of every stream (QEMU: migration/savevm.c, migration/vmstate.c, scripts/analyze-migration.py)
 * tells the fields of each and their sizes.
 */
#pragma once

#include <gio/gio.h>
#include <json-glib/json-glib.h>

/* A device's section. All is borrowed from the VmState. */
typedef struct {
  const char *name;
  guint32 instance;
  const guint8 *data; /* its fields and subsections */
  gsize len;
  JsonObject *description;
} VmSection;

/* A field, or an array of equal ones. */
typedef struct {
  const guint8 *data; /* of the first element */
  gsize size;         /* of one element */
  guint count;
  JsonObject *members; /* (nullable): description of an element that is a structure */
} VmField;

typedef struct _VmState VmState;

/* @device_state: the part of that role. EXCHANGE_ERROR_UNSUPPORTED if it has no description,
 * EXCHANGE_ERROR_DAMAGED if the two do not match. */
VmState *vmstate_new (GBytes *device_state, GError **error);
void vmstate_free (VmState *state);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VmState, vmstate_free)

guint vmstate_length (const VmState *state);
const VmSection *vmstate_get (const VmState *state, guint index);

/* Finds field @name of a section, or of a structure's element at @data; FALSE if it has none. */
gboolean vmstate_find (const VmSection *section, const char *name, VmField *field);
gboolean vmstate_find_member (const VmField *field, guint index, const char *name, VmField *member);

/* Element @index as an unsigned number (1, 2, 4 or 8 bytes, big-endian); 0 if it is none. */
guint64 vmstate_number (const VmField *field, guint index);
