/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/util/last-words.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define WORDS_BYTES 1024

int
last_words_new (void)
{
  int fd = memfd_create ("stderr", MFD_CLOEXEC);

  if (fd >= 0)
    fcntl (fd, F_SETFL, O_APPEND);
  return fd;
}

char *
last_words_read (int fd)
{
  char buf[WORDS_BYTES];
  off_t size = lseek (fd, 0, SEEK_END);
  ssize_t n = pread (fd, buf, sizeof buf, MAX (0, size - (off_t)sizeof buf));
  char *text = g_utf8_make_valid (buf, MAX (n, 0));

  return g_strdelimit (g_strstrip (text), "\n\r", ' ');
}
