/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A fuzz target is one function, called with bytes of any kind; it must neither crash nor leak.
 * Built with clang's -fsanitize=fuzzer it searches for bytes that make it; otherwise replay.c runs
 * it on the corpus as an ordinary test.
 */
#pragma once

#include <glib.h>

int LLVMFuzzerTestOneInput (const guint8 *data, gsize size);
