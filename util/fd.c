/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/util/fd.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

void
fd_close (AutoFd *fd)
{
  if (*fd < 0)
    return;
  int kept = errno;
  close (*fd);
  *fd = -1;
  errno = kept;
}

gboolean
fd_set_errno_error (GError **error, const char *format, ...)
{
  int code = errno;
  va_list args;

  va_start (args, format);
  g_autofree char *what = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error (error, G_IO_ERROR, g_io_error_from_errno (code), "%s: %s", what, g_strerror (code));
  return FALSE;
}

gssize
fd_read_full (int fd, void *buf, gsize len, GError **error)
{
  gsize done = 0;

  while (done < len) {
    ssize_t n = read (fd, (guint8 *)buf + done, len - done);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0) {
      fd_set_errno_error (error, "reading");
      return -1;
    }
    if (n == 0)
      break;
    done += n;
  }
  return done;
}

gboolean
fd_write_full (int fd, const void *buf, gsize len, GError **error)
{
  for (gsize done = 0; done < len;) {
    ssize_t n = write (fd, (const guint8 *)buf + done, len - done);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return fd_set_errno_error (error, "writing");
    done += n;
  }
  return TRUE;
}

gboolean
fd_replace_file (const char *path, const char *text, gsize len, GError **error)
{
  g_autofree char *temporary = g_strconcat (path, ".XXXXXX", NULL);
  g_auto (AutoFd) fd = g_mkstemp_full (temporary, O_RDWR | O_CLOEXEC, 0600);

  if (fd < 0)
    return fd_set_errno_error (error, "making %s", temporary);
  if (fd_write_full (fd, text, len, error)) {
    if (rename (temporary, path) == 0)
      return TRUE;
    fd_set_errno_error (error, "replacing %s", path);
  }
  unlink (temporary);
  return FALSE;
}

gssize
fd_send_some (int sock, const void *buf, gsize len, int pass)
{
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE (sizeof (int))];
  } control = { 0 };
  struct iovec iov = { (void *)buf, len };
  struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
  ssize_t n;

  if (pass >= 0) {
    msg.msg_control = control.space;
    msg.msg_controllen = sizeof control.space;
    struct cmsghdr *cmsg = CMSG_FIRSTHDR (&msg);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN (sizeof (int));
    memcpy (CMSG_DATA (cmsg), &pass, sizeof pass);
  }
  do
    n = sendmsg (sock, &msg, MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  return n;
}

gboolean
fd_send (int sock, const void *buf, gsize len, int pass, GError **error)
{
  for (gsize done = 0; done < len;) {
    gssize n = fd_send_some (sock, (const guint8 *)buf + done, len - done, done == 0 ? pass : -1);
    if (n < 0)
      return fd_set_errno_error (error, "sending on a socket");
    done += n;
  }
  return TRUE;
}

/* Keeps the first descriptor of @msg in @passed and closes all others. */
static void
take_descriptors (struct msghdr *msg, AutoFd *passed)
{
  for (struct cmsghdr *cmsg = CMSG_FIRSTHDR (msg); cmsg != NULL; cmsg = CMSG_NXTHDR (msg, cmsg)) {
    if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
      continue;
    gsize count = (cmsg->cmsg_len - CMSG_LEN (0)) / sizeof (int);
    for (gsize i = 0; i < count; i++) {
      g_auto (AutoFd) fd = -1;
      memcpy (&fd, CMSG_DATA (cmsg) + i * sizeof (int), sizeof (int));
      if (passed != NULL && *passed < 0)
        *passed = fd_steal (&fd);
    }
  }
}

gssize
fd_receive (int sock, void *buf, gsize size, AutoFd *passed, GError **error)
{
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE (8 * sizeof (int))];
  } control;
  struct iovec iov = { buf, size };
  struct msghdr msg = { .msg_iov = &iov,
                        .msg_iovlen = 1,
                        .msg_control = control.space,
                        .msg_controllen = sizeof control.space };
  ssize_t n;

  if (passed != NULL)
    *passed = -1;
  do
    n = recvmsg (sock, &msg, MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  if (n < 0) {
    fd_set_errno_error (error, "receiving on a socket");
    return -1;
  }
  take_descriptors (&msg, passed);
  return n;
}

static gboolean
unix_address (const char *path, struct sockaddr_un *address, GError **error)
{
  *address = (struct sockaddr_un){ .sun_family = AF_UNIX };
  if (strlen (path) >= sizeof address->sun_path) {
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_FILENAME_TOO_LONG,
                 "the socket name '%s' has %zu bytes, %zu is the most: choose a shorter directory",
                 path, strlen (path), sizeof address->sun_path - 1);
    return FALSE;
  }
  strcpy (address->sun_path, path);
  return TRUE;
}

int
fd_connect_unix_within (const char *path, int timeout_ms, GError **error)
{
  struct sockaddr_un address;
  /* connect(2) waits only when the listener's queue is full, and then as long as a send may. */
  struct timeval limit = { timeout_ms / 1000, timeout_ms % 1000 * 1000 };
  g_auto (AutoFd) fd = -1;
  int r;

  if (!unix_address (path, &address, error))
    return -1;
  fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || setsockopt (fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0) {
    fd_set_errno_error (error, "making a socket");
    return -1;
  }
  do
    r = connect (fd, (struct sockaddr *)&address, sizeof address);
  while (r < 0 && errno == EINTR);
  if (r < 0) {
    fd_set_errno_error (error, "connecting to %s", path);
    return -1;
  }
  limit = (struct timeval){ 0 };
  setsockopt (fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  return fd_steal (&fd);
}

int
fd_connect_unix (const char *path, GError **error)
{
  return fd_connect_unix_within (path, 0, error);
}

int
fd_listen_unix (const char *path, GError **error)
{
  struct sockaddr_un address;
  g_auto (AutoFd) fd = -1;
  g_auto (AutoFd) probe = -1;
  struct stat st;

  if (!unix_address (path, &address, error))
    return -1;
  probe = fd_connect_unix (path, NULL);
  if (probe >= 0) {
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_ADDRESS_IN_USE, "%s is served by another process",
                 path);
    return -1;
  }
  if (lstat (path, &st) == 0 && !S_ISSOCK (st.st_mode)) {
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_EXISTS, "%s is there, and is no socket", path);
    return -1;
  }
  unlink (path);
  fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  /* The mode is set before bind() makes the file, so there is no moment at which others may open
   * it. */
  if (fd < 0 || fchmod (fd, 0600) < 0 ||
      bind (fd, (struct sockaddr *)&address, sizeof address) < 0 || listen (fd, 64) < 0) {
    fd_set_errno_error (error, "listening on %s", path);
    return -1;
  }
  return fd_steal (&fd);
}
