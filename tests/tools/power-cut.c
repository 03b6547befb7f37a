/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A preloaded object (LD_PRELOAD) that writes down, in order, what a process does to the files
 * below a directory, so that tests/unit/power-cut.c can tell what a power cut would have left at
 * any moment of it.
 *
 * POWER_CUT_DIR: the directory (absolute). POWER_CUT_JOURNAL: file that the lines are appended to.
 * POWER_CUT_POOL: directory on the same file system; every file is linked there under its inode's
 * number, so that its content outlives its name.
 *
 * Lines, with paths below the directory ("." for itself):
 *   create INODE PATH | write INODE OFFSET LENGTH | sync INODE | rename FROM TO | link FROM TO
 *   unlink PATH | mkdir PATH | rmdir PATH | syncdir PATH | syncall | mark TEXT
 * A call and its line are one step, under a lock, so the order is the true one.
 */
/* It offers both kinds of names itself: none may stand for the other. */
#undef _FILE_OFFSET_BITS

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS_MAX 1024

/* Puts a line of its own into the journal: what the process has promised by now. Tests find it with
 * dlsym(3). */
void power_cut_mark (const char *text);

typedef struct {
  ino_t inode;         /* of a file that is watched, else 0 */
  char path[PATH_MAX]; /* of a directory that is watched, else "" */
} Watched;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Watched watched[FDS_MAX]; /* (lock) */
static int journal = -1;         /* (lock) */

#define REAL(name) ((__typeof__ (&name))dlsym (RTLD_NEXT, #name))

__attribute__ ((format (printf, 1, 2))) static void
say (const char *format, ...)
{
  char line[2 * PATH_MAX + 64];
  va_list args;

  va_start (args, format);
  int len = vsnprintf (line, sizeof line, format, args);
  va_end (args);
  if (journal < 0)
    journal =
        REAL (open) (getenv ("POWER_CUT_JOURNAL"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  if (journal < 0 || REAL (write) (journal, line, len) != len)
    abort();
}

/* The part of @path below the directory, in @below; 0 if it is elsewhere. */
static int
is_below (int directory, const char *path, char *below)
{
  const char *root = getenv ("POWER_CUT_DIR");
  char whole[2 * PATH_MAX], link[64], base[PATH_MAX];

  if (root == NULL || path == NULL)
    return 0;
  if (*path == '/') {
    snprintf (whole, sizeof whole, "%s", path);
  } else {
    ssize_t len = 0;
    snprintf (link, sizeof link, "/proc/self/fd/%d", directory);
    if (directory == AT_FDCWD ? getcwd (base, sizeof base) == NULL
                              : (len = readlink (link, base, sizeof base - 1)) < 0)
      return 0;
    if (directory != AT_FDCWD)
      base[len] = 0;
    snprintf (whole, sizeof whole, "%s/%s", base, path);
  }
  size_t len = strlen (root);
  if (strncmp (whole, root, len) != 0 || (whole[len] != '/' && whole[len] != 0))
    return 0;
  const char *rest = whole + len;
  while (*rest == '/')
    rest++;
  snprintf (below, PATH_MAX, "%s", *rest != 0 ? rest : ".");
  size_t end = strlen (below);
  if (end > 1 && below[end - 1] == '/')
    below[end - 1] = 0;
  return 1;
}

/* Keeps what the inode holds, whatever becomes of its name. */
static void
keep (int fd, ino_t inode)
{
  char from[64], to[PATH_MAX];

  snprintf (from, sizeof from, "/proc/self/fd/%d", fd);
  snprintf (to, sizeof to, "%s/%llu", getenv ("POWER_CUT_POOL"), (unsigned long long)inode);
  if (REAL (linkat) (AT_FDCWD, from, AT_FDCWD, to, AT_SYMLINK_FOLLOW) < 0 && errno != EEXIST)
    abort();
}

static int
open_below (int directory, const char *path, int flags, mode_t mode)
{
  char below[PATH_MAX];
  struct stat st;

  if (!is_below (directory, path, below))
    return REAL (openat) (directory, path, flags, mode);
  pthread_mutex_lock (&lock);
  int was_there = fstatat (directory, path, &st, 0) == 0;
  int fd = REAL (openat) (directory, path, flags, mode);
  int kept = errno;
  if (fd >= 0 && fstat (fd, &st) == 0) {
    if (fd >= FDS_MAX || (flags & O_TRUNC) != 0 || (flags & O_TMPFILE) == O_TMPFILE)
      abort(); /* not foreseen */
    if (S_ISREG (st.st_mode) && (flags & O_ACCMODE) != O_RDONLY) {
      watched[fd].inode = st.st_ino;
      if (!was_there) {
        keep (fd, st.st_ino);
        say ("create %llu %s\n", (unsigned long long)st.st_ino, below);
      }
    }
    if (S_ISDIR (st.st_mode))
      strcpy (watched[fd].path, below);
  }
  pthread_mutex_unlock (&lock);
  errno = kept;
  return fd;
}

static mode_t
mode_argument (int flags, va_list args)
{
  return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE ? va_arg (args, mode_t) : 0;
}

#define OPEN(name)                                                                                 \
  int name (const char *path, int flags, ...)                                                      \
  {                                                                                                \
    va_list args;                                                                                  \
    va_start (args, flags);                                                                        \
    mode_t mode = mode_argument (flags, args);                                                     \
    va_end (args);                                                                                 \
    return open_below (AT_FDCWD, path, flags, mode);                                               \
  }
#define OPENAT(name)                                                                               \
  int name (int directory, const char *path, int flags, ...)                                       \
  {                                                                                                \
    va_list args;                                                                                  \
    va_start (args, flags);                                                                        \
    mode_t mode = mode_argument (flags, args);                                                     \
    va_end (args);                                                                                 \
    return open_below (directory, path, flags, mode);                                              \
  }
/* clang-format off */
OPEN (open)
OPEN (open64)
OPENAT (openat)
OPENAT (openat64)
/* clang-format on */

int
close (int fd)
{
  pthread_mutex_lock (&lock);
  if (fd >= 0 && fd < FDS_MAX) {
    watched[fd].inode = 0;
    watched[fd].path[0] = 0;
  }
  int result = REAL (close) (fd);
  int kept = errno;
  pthread_mutex_unlock (&lock);
  errno = kept;
  return result;
}

static ino_t
watched_inode (int fd)
{
  return fd >= 0 && fd < FDS_MAX ? watched[fd].inode : 0;
}

ssize_t
write (int fd, const void *data, size_t len)
{
  if (watched_inode (fd) == 0)
    return REAL (write) (fd, data, len);
  pthread_mutex_lock (&lock);
  off_t at = lseek (fd, 0, SEEK_CUR);
  ssize_t n = REAL (write) (fd, data, len);
  int kept = errno;
  if (n > 0)
    say ("write %llu %lld %zd\n", (unsigned long long)watched[fd].inode, (long long)at, n);
  pthread_mutex_unlock (&lock);
  errno = kept;
  return n;
}

static ssize_t
write_at (int fd, const void *data, size_t len, off_t at)
{
  if (watched_inode (fd) == 0)
    return REAL (pwrite) (fd, data, len, at);
  pthread_mutex_lock (&lock);
  ssize_t n = REAL (pwrite) (fd, data, len, at);
  int kept = errno;
  if (n > 0)
    say ("write %llu %lld %zd\n", (unsigned long long)watched[fd].inode, (long long)at, n);
  pthread_mutex_unlock (&lock);
  errno = kept;
  return n;
}

ssize_t
pwrite (int fd, const void *data, size_t len, off_t at)
{
  return write_at (fd, data, len, at);
}

ssize_t
pwrite64 (int fd, const void *data, size_t len, off_t at)
{
  return write_at (fd, data, len, at);
}

/* Ways to write that nobody uses so far: better a failed test than one that overlooks them. */
ssize_t
writev (int fd, const struct iovec *vector, int count)
{
  if (watched_inode (fd) != 0)
    abort();
  return REAL (writev) (fd, vector, count);
}

int
ftruncate (int fd, off_t len)
{
  if (watched_inode (fd) != 0)
    abort();
  return REAL (ftruncate) (fd, len);
}

static int
sync_fd (int fd, int (*real) (int))
{
  pthread_mutex_lock (&lock);
  int result = real (fd);
  int kept = errno;
  if (result == 0 && watched_inode (fd) != 0)
    say ("sync %llu\n", (unsigned long long)watched[fd].inode);
  else if (result == 0 && fd >= 0 && fd < FDS_MAX && watched[fd].path[0] != 0)
    say ("syncdir %s\n", watched[fd].path);
  pthread_mutex_unlock (&lock);
  errno = kept;
  return result;
}

int
fsync (int fd)
{
  return sync_fd (fd, REAL (fsync));
}

int
fdatasync (int fd)
{
  return sync_fd (fd, REAL (fdatasync));
}

int
syncfs (int fd)
{
  pthread_mutex_lock (&lock);
  int result = REAL (syncfs) (fd);
  if (result == 0)
    say ("syncall\n");
  pthread_mutex_unlock (&lock);
  return result;
}

/* One name is given or moved; @verb as in the journal. */
static int
done_with_two (int result, const char *verb, int from_at, const char *from, int to_at,
               const char *to)
{
  char a[PATH_MAX], b[PATH_MAX];
  int kept = errno;
  int first = is_below (from_at, from, a), second = is_below (to_at, to, b);

  if (result == 0 && first != second && journal >= 0)
    abort(); /* into or out of the directory: not foreseen */
  if (result == 0 && first && second)
    say ("%s %s %s\n", verb, a, b);
  pthread_mutex_unlock (&lock);
  errno = kept;
  return result;
}

int
rename (const char *from, const char *to)
{
  pthread_mutex_lock (&lock);
  return done_with_two (REAL (rename) (from, to), "rename", AT_FDCWD, from, AT_FDCWD, to);
}

int
renameat (int from_at, const char *from, int to_at, const char *to)
{
  pthread_mutex_lock (&lock);
  return done_with_two (REAL (renameat) (from_at, from, to_at, to), "rename", from_at, from, to_at,
                        to);
}

int
renameat2 (int from_at, const char *from, int to_at, const char *to, unsigned int flags)
{
  pthread_mutex_lock (&lock);
  return done_with_two (REAL (renameat2) (from_at, from, to_at, to, flags), "rename", from_at, from,
                        to_at, to);
}

int
link (const char *from, const char *to)
{
  pthread_mutex_lock (&lock);
  return done_with_two (REAL (link) (from, to), "link", AT_FDCWD, from, AT_FDCWD, to);
}

/* A name in @directory has come or gone. */
static int
done_with_one (int result, const char *verb, int directory, const char *path)
{
  char below[PATH_MAX];
  int kept = errno;

  if (result == 0 && is_below (directory, path, below))
    say ("%s %s\n", verb, below);
  pthread_mutex_unlock (&lock);
  errno = kept;
  return result;
}

int
unlink (const char *path)
{
  pthread_mutex_lock (&lock);
  return done_with_one (REAL (unlink) (path), "unlink", AT_FDCWD, path);
}

int
unlinkat (int directory, const char *path, int flags)
{
  pthread_mutex_lock (&lock);
  return done_with_one (REAL (unlinkat) (directory, path, flags),
                        (flags & AT_REMOVEDIR) != 0 ? "rmdir" : "unlink", directory, path);
}

int
mkdir (const char *path, mode_t mode)
{
  pthread_mutex_lock (&lock);
  return done_with_one (REAL (mkdir) (path, mode), "mkdir", AT_FDCWD, path);
}

int
rmdir (const char *path)
{
  pthread_mutex_lock (&lock);
  return done_with_one (REAL (rmdir) (path), "rmdir", AT_FDCWD, path);
}

void
power_cut_mark (const char *text)
{
  pthread_mutex_lock (&lock);
  say ("mark %s\n", text);
  pthread_mutex_unlock (&lock);
}
