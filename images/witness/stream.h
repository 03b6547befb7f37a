/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A byte stream that is never empty: what is written first is read much later. */
#ifndef WITNESS_STREAM_H
#define WITNESS_STREAM_H

#include "witness.h"

/* Reads or writes exactly @size bytes, waiting as long as it takes; false at an end or an error. */
bool read_full (int fd, void *bytes, size_t size);
bool write_full (int fd, const void *bytes, size_t size);

/* Bytes enter at @in and come out at @out in the same order. */
typedef struct {
  int in;
  int out;
  uint64_t salt;
  uint64_t written;
  uint64_t read;
  bool countable; /* FIONREAD on @out tells exactly what is in flight */
} Stream;

#define STREAM_STEP 64

/* Puts @depth bytes in flight. */
void stream_start (Cell *cell, Stream *stream, size_t depth);

/* Takes STREAM_STEP bytes out, verifies them, and puts as many in. */
void stream_check (Cell *cell, Stream *stream);

/* Takes one byte away unseen. */
void stream_steal (Stream *stream);

#endif
