/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A template that is filled from a checkpoint while guests run on it: Template has the file and its
 * waiters, LazyFill reads.
 *
 *   guest waits ─▶ Template ── want ──▶ LazyFill ◀── background
 *        ▲                                 │ UFFDIO_COPY into the file
 *        └──────────── wake ◀── delivered ─┘
 */
#pragma once

#include <vmckpt/ram/lazy-fill.h>
#include <vmckpt/ram/template.h>

typedef struct _TemplateFill TemplateFill;

/**
 * template_fill_new:
 * @map: of the RAM
 * @memfd: borrowed: the file of guests that run already, to go on with; -1: a new one
 * @func: (nullable): as for LazyFill. With LAZY_FILL_COMPLETE the guests have been released:
 *   they need nobody any more
 *
 * Nothing is read in the background yet.
 */
TemplateFill *template_fill_new (Store *store, const PageMap *map, int memfd, LazyFillFunc func,
                                 gpointer user_data, GError **error);

/* Stops; guests that wait go on waiting. Not from a LazyFillFunc. NULL is ignored. */
void template_fill_free (TemplateFill *fill);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (TemplateFill, template_fill_free)

/* Borrowed: for template_add() and the like. */
Template *template_fill_template (TemplateFill *fill);

/* Starts reading. Guests added before and after are served. */
gboolean template_fill_start (TemplateFill *fill, GError **error);

/* As lazy_fill_status(), lazy_fill_retry(), lazy_fill_wait(). */
void template_fill_status (TemplateFill *fill, LazyFillStatus *status);
void template_fill_retry (TemplateFill *fill, Store *store);
gboolean template_fill_wait (TemplateFill *fill, GCancellable *cancellable, GError **error);

/* While guests load, which cannot go on without a page: @loading (nullable: no more) is cancelled
 * when one cannot be read; template_fill_wait() says why. */
void template_fill_guard (TemplateFill *fill, GCancellable *loading);

/* Bytes of memory that the file takes. */
guint64 template_fill_memory (TemplateFill *fill);
