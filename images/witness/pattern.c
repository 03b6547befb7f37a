/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pattern.h"

#include <inttypes.h>
#include <string.h>

uint64_t
pattern_word (uint64_t salt, uint64_t position)
{
  uint64_t word = salt * 0x9e3779b97f4a7c15u + position * 0xd1342543de82ef95u + 1;

  word = (word ^ (word >> 31)) * 0xbf58476d1ce4e5b9u;
  word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
  return word ^ (word >> 30);
}

static uint8_t
pattern_byte (uint64_t salt, uint64_t position)
{
  return (uint8_t)(pattern_word (salt, position / 8) >> (position % 8 * 8));
}

void
pattern_fill (void *bytes, size_t size, uint64_t salt, uint64_t position)
{
  uint8_t *out = bytes;

  for (size_t i = 0; i < size; i++)
    out[i] = pattern_byte (salt, position + i);
}

ssize_t
pattern_mismatch (const void *bytes, size_t size, uint64_t salt, uint64_t position)
{
  const uint8_t *in = bytes;

  for (size_t i = 0; i < size; i++)
    if (in[i] != pattern_byte (salt, position + i))
      return (ssize_t)i;
  return -1;
}

void
message_make (Message *message, uint64_t salt, uint64_t seq)
{
  message->seq = seq;
  pattern_fill (message->body, sizeof message->body, salt, seq * sizeof message->body);
}

void
message_verify (Cell *cell, const Message *message, uint64_t seq)
{
  CELL_REQUIRE (cell, message->seq == seq, "message %" PRIu64 " where %" PRIu64 " is due",
                message->seq, seq);
  ssize_t at = pattern_mismatch (message->body, sizeof message->body, cell->salt,
                                 seq * sizeof message->body);
  CELL_REQUIRE (cell, at < 0, "message %" PRIu64 " differs at byte %zd", seq, at);
}
