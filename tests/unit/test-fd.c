/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/util/fd.h>

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* A connected pair of UNIX stream sockets. */
static void
make_pair (AutoFd *a, AutoFd *b)
{
  int fds[2];

  g_assert_cmpint (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
  *a = fds[0];
  *b = fds[1];
}

static gboolean
is_open (int fd)
{
  return fcntl (fd, F_GETFD) >= 0;
}

static int
count_open (void)
{
  g_autoptr (GDir) dir = g_dir_open ("/proc/self/fd", 0, NULL);
  int count = 0;

  while (g_dir_read_name (dir) != NULL)
    count++;
  return count;
}

static void
test_guard_closes_once (void)
{
  int seen;
  {
    g_auto (AutoFd) fd = open ("/dev/null", O_RDONLY | O_CLOEXEC);
    seen = fd;
    g_assert_true (is_open (seen));
  }
  g_assert_false (is_open (seen));

  AutoFd fd = open ("/dev/null", O_RDONLY | O_CLOEXEC);
  g_auto (AutoFd) stolen = fd_steal (&fd);
  g_assert_cmpint (fd, ==, -1);
  fd_close (&fd);
  g_assert_true (is_open (stolen));
  errno = ENOSPC;
  fd_close (&stolen);
  g_assert_cmpint (errno, ==, ENOSPC);
  g_assert_cmpint (stolen, ==, -1);
}

/* Writes in small pieces from a thread; a pipe never gives all at once. */
static gpointer
write_slowly (gpointer data)
{
  int fd = GPOINTER_TO_INT (data);

  for (int i = 0; i < 1000; i++) {
    guint8 piece[100];
    memset (piece, i, sizeof piece);
    g_assert_true (fd_write_full (fd, piece, sizeof piece, NULL));
  }
  close (fd);
  return NULL;
}

static void
test_read_full (void)
{
  g_autofree guint8 *buf = g_malloc (200000);
  g_autoptr (GError) error = NULL;
  int fds[2];

  g_assert_cmpint (pipe2 (fds, O_CLOEXEC), ==, 0);
  g_auto (AutoFd) in = fds[0];
  GThread *writer = g_thread_new ("writer", write_slowly, GINT_TO_POINTER (fds[1]));
  g_assert_cmpint (fd_read_full (in, buf, 60000, &error), ==, 60000);
  g_assert_cmpint (fd_read_full (in, buf + 60000, 140000, &error), ==, 40000);
  g_assert_cmpint (fd_read_full (in, buf, 1, &error), ==, 0);
  g_assert_no_error (error);
  g_thread_join (writer);
  for (int i = 0; i < 100000; i++)
    g_assert_cmpuint (buf[i], ==, (guint8)(i / 100));
}

static void
test_errors_keep_errno (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GError) full = NULL;
  char byte = 0;

  g_assert_cmpint (fd_read_full (-1, &byte, 1, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_FAILED);
  g_auto (AutoFd) null = open ("/dev/full", O_WRONLY | O_CLOEXEC);
  g_assert_false (fd_write_full (null, &byte, 1, &full));
  g_assert_error (full, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
  g_assert_cmpstr (full->message, ==, "writing: No space left on device");
}

static void
test_pass_a_descriptor (void)
{
  g_auto (AutoFd) a = -1;
  g_auto (AutoFd) b = -1;
  g_auto (AutoFd) got = -1;
  g_autoptr (GError) error = NULL;
  g_auto (AutoFd) file = open ("/dev/zero", O_RDONLY | O_CLOEXEC);
  struct stat sent, received;
  char text[16];

  make_pair (&a, &b);
  g_assert_true (fd_send (a, "hello", 5, file, &error));
  g_assert_cmpint (fd_receive (b, text, sizeof text, &got, &error), ==, 5);
  g_assert_cmpmem (text, 5, "hello", 5);
  g_assert_cmpint (fstat (file, &sent), ==, 0);
  g_assert_cmpint (fstat (got, &received), ==, 0);
  g_assert_cmpuint (sent.st_rdev, ==, received.st_rdev);
  g_assert_true (fcntl (got, F_GETFD) & FD_CLOEXEC);

  g_assert_true (fd_send (a, "x", 1, -1, &error));
  g_auto (AutoFd) none = 7;
  g_assert_cmpint (fd_receive (b, text, sizeof text, &none, &error), ==, 1);
  g_assert_cmpint (none, ==, -1);
}

/* A peer that sends what was not asked for cannot fill our table. */
static void
test_unwanted_descriptors_are_closed (void)
{
  g_auto (AutoFd) a = -1;
  g_auto (AutoFd) b = -1;
  char text[16];

  make_pair (&a, &b);
  int before = count_open();
  g_assert_true (fd_send (a, "x", 1, a, NULL));
  g_assert_cmpint (fd_receive (b, text, sizeof text, NULL, NULL), ==, 1);
  g_assert_cmpint (count_open(), ==, before);
}

static void
test_closed_peer (void)
{
  g_auto (AutoFd) a = -1;
  g_auto (AutoFd) b = -1;
  g_autoptr (GError) error = NULL;
  char text[4];

  make_pair (&a, &b);
  fd_close (&b);
  /* No SIGPIPE: the process would be gone. */
  g_assert_false (fd_send (a, "x", 1, -1, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE);
  g_assert_cmpint (fd_receive (a, text, sizeof text, NULL, NULL), ==, 0);
}

/* One attempt never blocks; what was not taken is the caller's to send again. */
static void
test_send_some (void)
{
  g_auto (AutoFd) a = -1;
  g_auto (AutoFd) b = -1;
  g_auto (AutoFd) got = -1;
  g_autofree char *much = g_strnfill (1 << 20, 'x');
  gssize sent, total = 0;
  char text[16];

  make_pair (&a, &b);
  g_assert_cmpint (fcntl (a, F_SETFL, O_NONBLOCK), ==, 0);
  g_assert_cmpint (fd_send_some (a, "hello", 5, b), ==, 5);
  g_assert_cmpint (fd_receive (b, text, sizeof text, &got, NULL), ==, 5);
  g_assert_cmpint (got, >=, 0);
  while ((sent = fd_send_some (a, much, 1 << 20, -1)) > 0)
    total += sent;
  g_assert_cmpint (errno, ==, EAGAIN);
  g_assert_cmpint (total, >, 0);
}

static void
test_connect_gives_up (void)
{
  g_autofree char *dir = g_dir_make_tmp ("vmckpt-test-XXXXXX", NULL);
  g_autofree char *path = g_build_filename (dir, "sock", NULL);
  g_autoptr (GError) error = NULL;
  g_auto (AutoFd) listener = fd_listen_unix (path, NULL);
  AutoFd waiting[3] = { -1, -1, -1 };

  /* A queue of one that nobody takes from. */
  g_assert_cmpint (listen (listener, 0), ==, 0);
  for (gsize i = 0; i < G_N_ELEMENTS (waiting) && error == NULL; i++)
    waiting[i] = fd_connect_unix_within (path, 10, &error);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK);
  g_assert_cmpint (waiting[0], >=, 0);
  for (gsize i = 0; i < G_N_ELEMENTS (waiting); i++)
    fd_close (&waiting[i]);
  g_unlink (path);
  g_rmdir (dir);
}

static void
test_listen_and_connect (void)
{
  g_autofree char *dir = g_dir_make_tmp ("vmckpt-test-XXXXXX", NULL);
  g_autofree char *path = g_build_filename (dir, "sock", NULL);
  g_autoptr (GError) in_use = NULL;
  g_autoptr (GError) no_socket = NULL;
  g_autoptr (GError) error = NULL;
  struct stat st;

  g_assert_cmpint (fd_connect_unix (path, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
  g_auto (AutoFd) first = fd_listen_unix (path, NULL);
  g_assert_cmpint (first, >=, 0);
  g_assert_cmpint (stat (path, &st), ==, 0);
  g_assert_cmpint (st.st_mode & 0777, ==, 0600);
  g_auto (AutoFd) client = fd_connect_unix (path, NULL);
  g_assert_cmpint (client, >=, 0);
  g_assert_cmpint (fd_listen_unix (path, &in_use), ==, -1);
  g_assert_error (in_use, G_IO_ERROR, G_IO_ERROR_ADDRESS_IN_USE);

  /* A killed process leaves its socket file behind; the next one takes its place. */
  fd_close (&first);
  g_auto (AutoFd) second = fd_listen_unix (path, NULL);
  g_assert_cmpint (second, >=, 0);
  g_unlink (path);

  /* Another file does not. */
  g_assert_true (g_file_set_contents (path, "mine", -1, NULL));
  g_assert_cmpint (fd_listen_unix (path, &no_socket), ==, -1);
  g_assert_error (no_socket, G_IO_ERROR, G_IO_ERROR_EXISTS);
  g_unlink (path);
  g_rmdir (dir);
}

static void
test_long_socket_name (void)
{
  g_autofree char *path = g_strnfill (108, 'x');
  g_autoptr (GError) error = NULL;

  g_assert_cmpint (fd_listen_unix (path, &error), ==, -1);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_FILENAME_TOO_LONG);
  g_assert_nonnull (strstr (error->message, "choose a shorter directory"));
}

/* The new content, or the old one where that cannot be, and nothing else in the directory. */
static void
test_replace_file (void)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *directory = g_dir_make_tmp ("vmckpt-XXXXXX", &error);
  g_autofree char *path = g_build_filename (directory, "file", NULL);
  g_autofree char *below = g_build_filename (path, "x", NULL);
  g_autofree char *text = NULL;

  g_assert_true (fd_replace_file (path, "first", 5, &error));
  g_assert_true (fd_replace_file (path, "second", 6, &error));
  g_assert_true (g_file_get_contents (path, &text, NULL, &error));
  g_assert_cmpstr (text, ==, "second");
  g_assert_false (fd_replace_file (below, "x", 1, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NOT_DIRECTORY);
  g_clear_error (&error);
  unlink (path);
  g_assert_cmpint (mkdir (path, 0700), ==, 0);
  g_assert_false (fd_replace_file (path, "x", 1, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_IS_DIRECTORY);
  rmdir (path);
  g_assert_cmpint (rmdir (directory), ==, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/fd/guard-closes-once", test_guard_closes_once);
  g_test_add_func ("/fd/read-full", test_read_full);
  g_test_add_func ("/fd/errors-keep-errno", test_errors_keep_errno);
  g_test_add_func ("/fd/pass-a-descriptor", test_pass_a_descriptor);
  g_test_add_func ("/fd/unwanted-descriptors-are-closed", test_unwanted_descriptors_are_closed);
  g_test_add_func ("/fd/closed-peer", test_closed_peer);
  g_test_add_func ("/fd/send-some", test_send_some);
  g_test_add_func ("/fd/connect-gives-up", test_connect_gives_up);
  g_test_add_func ("/fd/listen-and-connect", test_listen_and_connect);
  g_test_add_func ("/fd/long-socket-name", test_long_socket_name);
  g_test_add_func ("/fd/replace-file", test_replace_file);
  return g_test_run();
}
