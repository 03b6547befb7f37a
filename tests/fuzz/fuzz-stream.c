/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Migration streams: whatever the reader takes, the writer takes, and what that writes is taken
 * again. */
#include <vmckpt/qmp/stream-writer.h>

#include "fuzz.h"
#include "stream-copy.h"

#include <sys/mman.h>
#include <vmckpt/util/fd.h>

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  g_auto (AutoFd) copy = memfd_create ("copy", MFD_CLOEXEC);
  g_autoptr (StreamReader) reader = stream_reader_new_for_data (data, size);
  if (!stream_copy (reader, copy, NULL))
    return 0;
  g_autoptr (GError) error = NULL;
  g_auto (AutoFd) again = memfd_create ("again", MFD_CLOEXEC);
  g_assert_cmpint (lseek (copy, 0, SEEK_SET), ==, 0);
  g_autoptr (StreamReader) second = stream_reader_new (copy);
  stream_copy (second, again, &error);
  g_assert_no_error (error);
  return 0;
}
