/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "stream.h"

#include "pattern.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

bool
read_full (int fd, void *bytes, size_t size)
{
  for (size_t done = 0; done < size;) {
    ssize_t n = read (fd, (char *)bytes + done, size - done);
    if (n == 0 || (n < 0 && errno != EINTR))
      return false;
    done += n > 0 ? (size_t)n : 0;
  }
  return true;
}

bool
write_full (int fd, const void *bytes, size_t size)
{
  for (size_t done = 0; done < size;) {
    ssize_t n = write (fd, (const char *)bytes + done, size - done);
    if (n < 0 && errno != EINTR)
      return false;
    done += n > 0 ? (size_t)n : 0;
  }
  return true;
}

static void
stream_put (Cell *cell, Stream *stream, size_t size)
{
  uint8_t bytes[STREAM_STEP];

  pattern_fill (bytes, size, stream->salt, stream->written);
  CELL_REQUIRE (cell, write_full (stream->in, bytes, size), "cannot write: %s", strerror (errno));
  stream->written += size;
}

void
stream_start (Cell *cell, Stream *stream, size_t depth)
{
  for (size_t done = 0; done < depth && !cell_failed (cell); done += STREAM_STEP)
    stream_put (cell, stream, STREAM_STEP);
}

void
stream_check (Cell *cell, Stream *stream)
{
  uint8_t bytes[STREAM_STEP];

  if (stream->countable) {
    uint64_t expected = stream->written - stream->read;
    int found = -1;
    CELL_REQUIRE (cell, ioctl (stream->out, FIONREAD, &found) == 0 && (uint64_t)found == expected,
                  "%d bytes in flight, not %" PRIu64, found, expected);
  }
  errno = 0;
  CELL_REQUIRE (cell, read_full (stream->out, bytes, sizeof bytes), "cannot read: %s",
                errno ? strerror (errno) : "the stream has ended");
  ssize_t at = pattern_mismatch (bytes, sizeof bytes, stream->salt, stream->read);
  CELL_REQUIRE (cell, at < 0, "byte %" PRIu64 " of the stream differs",
                stream->read + (uint64_t)at);
  stream->read += sizeof bytes;
  stream_put (cell, stream, sizeof bytes);
}

void
stream_steal (Stream *stream)
{
  uint8_t byte;

  (void)read_full (stream->out, &byte, 1);
}
