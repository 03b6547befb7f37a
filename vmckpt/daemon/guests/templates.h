/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The templates that are being filled: one for each fork call, until all of its memory has been
 * read. From then on its guests need nobody.
 *
 *   fork ─▶ templates_open ─▶ unit_fork ─▶ templates_keep ─▶ … complete: forgotten
 *   a daemon's start ─▶ templates_take_over: from the files and descriptors of guests that run
 *
 * Guests are known by name here. Any thread.
 */
#pragma once

#include "runtime.h"
#include "stores.h"

#include <vmckpt/store/manifest.h>
#include <vmckpt/unit/fork.h>

typedef struct _Templates Templates;

/* One of them; counted. */
typedef struct _TemplateGroup TemplateGroup;

/* @runtime and @stores are borrowed and must outlive it. */
Templates *templates_new (const Runtime *runtime, Stores *stores);

/* An empty one, to be filled with @map of checkpoint @id. */
TemplateGroup *templates_open (Templates *templates, Store *store, const char *store_path,
                               const char *id, const PageMap *map, GError **error);

TemplateFill *template_group_fill (TemplateGroup *group);
void template_group_unref (TemplateGroup *group);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (TemplateGroup, template_group_unref)

/* A guest on it. */
void template_group_add_member (TemplateGroup *group, const char *name);

/* It is kept until it is complete, or its last guest has gone. */
void templates_keep (Templates *templates, TemplateGroup *group);

/**
 * templates_take_over:
 *
 * Finds forks of an earlier daemon whose memory is not all there, and goes on filling it: before
 * their monitors are asked anything, since QEMU itself may wait for a page. What cannot be served
 * yet (a store that is away or encrypted) waits for templates_retry(), and is tried every few
 * seconds. Blocks.
 */
void templates_take_over (Templates *templates);

/* Why memory of fork @name cannot be read, and whether it waits for that; newly allocated. NULL if
 * there is no trouble. */
char *templates_reason (Templates *templates, const char *name);

/* How much of @name's memory is still to be read, in bytes; 0: all is there, or it is no fork. */
guint64 templates_missing (Templates *templates, const char *name);

/* Tries again what could not be read; @store: (nullable): to read from instead. */
void templates_retry (Templates *templates, const char *name, Store *store);

/* Waits until the memory of @name is all there; at once if it is no fork. */
gboolean templates_wait (Templates *templates, const char *name, GCancellable *cancellable,
                         GError **error);

/* @name has ended. */
void templates_forget (Templates *templates, const char *name);
