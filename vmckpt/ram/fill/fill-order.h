/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The order in which windows of a guest's RAM were first touched, as it is kept beside a checkpoint
 * (docs/store-format.md, "Hints"). Recorded at one restore, read at the next: the next run of the
 * same guest from there touches much the same.
 *
 * The bytes: "VMCT", version 1, binary logarithm of a window's pages; then runs of windows in the
 * order in which they were touched, each two numbers of 7 bits a byte, lowest first: how far it
 * begins from the end of the run before (zigzag: 0, -1, 1, -2, …), and its windows less one.
 */
#pragma once

#include <gio/gio.h>

/* As many pages as a frame of the store has, so that a window costs about one read. */
#define FILL_WINDOW_BITS 6
#define FILL_WINDOW_PAGES (1u << FILL_WINDOW_BITS)
/* Of one record: 4 GiB of touched windows; what follows them is found by locality. */
#define FILL_ORDER_MAX_RUNS 16384
#define FILL_ORDER_MAX_BYTES (FILL_ORDER_MAX_RUNS * 12 + 6)

typedef struct {
  guint64 first; /* window */
  guint64 count;
} FillRun;

/* A record being made. One thread at a time. */
typedef struct _FillOrder FillOrder;

FillOrder *fill_order_new (guint64 windows);
/* Frees @order. */
void fill_order_free (FillOrder *order);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FillOrder, fill_order_free)

/* @window was touched; only the first time counts, and what comes after the record is full does
 * not. */
void fill_order_touch (FillOrder *order, guint64 window);

/* The bytes; NULL if nothing was touched. */
GBytes *fill_order_to_bytes (const FillOrder *order);

/**
 * fill_order_parse:
 * @windows: that the RAM has
 *
 * Returns: (transfer full) (element-type FillRun): the runs; NULL with G_IO_ERROR_INVALID_DATA.
 */
GArray *fill_order_parse (GBytes *bytes, guint64 windows, GError **error);
