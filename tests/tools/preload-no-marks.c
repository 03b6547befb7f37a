/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stands for vmckpt/ram/memory/preload-marks.c where a test is to see what happens without it. */
#include "preload-marks.h"

void
preload_marks_begin (int ram, int log, void *address, size_t length)
{
}

void
preload_marks_spare (int ram)
{
}
