/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which window of a guest's RAM is read next in the background:
 *
 *   1. windows in which the guest just waited for a page, the latest first, then their neighbours
 *   2. the recorded order of an earlier restore
 *   3. all others, ascending
 *
 * Each window is given out once, unless it is given back. One thread at a time.
 */
#pragma once

#include "fill-order.h"

/* Windows of the last group that are given out together: reading many costs less each. */
#define FILL_PLAN_STRIDE 4

typedef struct _FillPlan FillPlan;

/* @order: (nullable) (transfer full) (element-type FillRun) */
FillPlan *fill_plan_new (guint64 windows, GArray *order);
/* Frees @plan. */
void fill_plan_free (FillPlan *plan);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FillPlan, fill_plan_free)

/* The guest waited for something in @window. */
void fill_plan_touch (FillPlan *plan, guint64 window);

/* The next windows to read, one after the other in memory; FALSE when all were given out. */
gboolean fill_plan_next (FillPlan *plan, FillRun *run);

/* A run that could not be read: it is given out again. */
void fill_plan_give_back (FillPlan *plan, const FillRun *run);
