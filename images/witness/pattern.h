/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bytes and messages that can be told from their place in a sequence. */
#ifndef WITNESS_PATTERN_H
#define WITNESS_PATTERN_H

#include "witness.h"

/* A number that looks random and depends on both arguments only. */
uint64_t pattern_word (uint64_t salt, uint64_t position);

/* Fills @size bytes as they stand at @position of the endless stream @salt. */
void pattern_fill (void *bytes, size_t size, uint64_t salt, uint64_t position);

/* Returns the index of the first byte that differs from the stream, or -1. */
ssize_t pattern_mismatch (const void *bytes, size_t size, uint64_t salt, uint64_t position);

/* A message of a queue that keeps message boundaries. */
typedef struct {
  uint64_t seq;
  uint8_t body[56];
} Message;

void message_make (Message *message, uint64_t salt, uint64_t seq);

/* Fails @cell unless @message is number @seq, whole. */
void message_verify (Cell *cell, const Message *message, uint64_t seq);

#endif
