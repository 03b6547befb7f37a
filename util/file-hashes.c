/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vmckpt/util/file-hashes.h>

#include <vmckpt/util/fd.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#define PIECE (256 * 1024)
#define FILES_MAX 4096 /* a bound on what is remembered */
/* Longer than the grain of any file system's times. */
#define SETTLED_S 3

/* What tells one state of a file from another. */
typedef struct {
  dev_t device;
  ino_t inode;
  off_t size;
  struct timespec modified, changed;
} State;

typedef struct {
  State state;
  char hash[65];
} Entry;

struct _FileHashes {
  GMutex lock;
  GHashTable *entries; /* path → Entry */
};

FileHashes *
file_hashes_new (void)
{
  FileHashes *hashes = g_new0 (FileHashes, 1);

  g_mutex_init (&hashes->lock);
  hashes->entries = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  return hashes;
}

void
file_hashes_free (FileHashes *hashes)
{
  if (hashes == NULL)
    return;
  g_hash_table_unref (hashes->entries);
  g_mutex_clear (&hashes->lock);
  g_free (hashes);
}

static gboolean
same_time (struct timespec a, struct timespec b)
{
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static gboolean
same_state (const State *a, const State *b)
{
  return a->device == b->device && a->inode == b->inode && a->size == b->size &&
         same_time (a->modified, b->modified) && same_time (a->changed, b->changed);
}

static gboolean
get_state (int fd, const char *path, State *state, GError **error)
{
  struct stat st;

  if (fstat (fd, &st) < 0)
    return fd_set_errno_error (error, "looking at %s", path);
  if (!S_ISREG (st.st_mode)) {
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_NOT_REGULAR_FILE, "%s is not a file", path);
    return FALSE;
  }
  *state = (State){ st.st_dev, st.st_ino, st.st_size, st.st_mtim, st.st_ctim };
  return TRUE;
}

/* TRUE if another change now would have another time. */
static gboolean
is_settled (const State *state)
{
  time_t now = time (NULL);

  return state->changed.tv_sec + SETTLED_S < now && state->modified.tv_sec + SETTLED_S < now;
}

/* What is remembered of @path in that state; newly allocated, or NULL. */
static char *
look_up (FileHashes *hashes, const char *path, const State *state)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&hashes->lock);
  const Entry *entry = g_hash_table_lookup (hashes->entries, path);

  return entry != NULL && same_state (&entry->state, state) ? g_strdup (entry->hash) : NULL;
}

static void
remember (FileHashes *hashes, const char *path, const State *state, const char *hash)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&hashes->lock);
  Entry *entry = g_new0 (Entry, 1);

  entry->state = *state;
  g_strlcpy (entry->hash, hash, sizeof entry->hash);
  if (g_hash_table_size (hashes->entries) >= FILES_MAX)
    g_hash_table_remove_all (hashes->entries);
  g_hash_table_insert (hashes->entries, g_strdup (path), entry);
}

/* Reads all of @fd; @size: (out): how much that was. */
static char *
compute (int fd, guint64 *size, GCancellable *cancellable, GError **error)
{
  g_autoptr (GChecksum) sum = g_checksum_new (G_CHECKSUM_SHA256);
  g_autofree guint8 *piece = g_malloc (PIECE);
  gssize n;

  *size = 0;
  do {
    n = fd_read_full (fd, piece, PIECE, error);
    if (n < 0 || g_cancellable_set_error_if_cancelled (cancellable, error))
      return NULL;
    g_checksum_update (sum, piece, n);
    *size += n;
  } while (n == PIECE);
  return g_strdup (g_checksum_get_string (sum));
}

static char *
get (FileHashes *hashes, const char *path, guint64 *size, GCancellable *cancellable, GError **error)
{
  g_auto (AutoFd) fd = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  g_autofree char *hash = NULL;
  guint64 bytes;
  State before, after;

  if (fd < 0) {
    fd_set_errno_error (error, "opening %s", path);
    return NULL;
  }
  if (!get_state (fd, path, &before, error))
    return NULL;
  bytes = before.size;
  if (hashes != NULL)
    hash = look_up (hashes, path, &before);
  if (hash == NULL) {
    hash = compute (fd, &bytes, cancellable, error);
    if (hash == NULL || !get_state (fd, path, &after, error))
      return NULL;
    if (hashes != NULL && same_state (&before, &after) && is_settled (&before))
      remember (hashes, path, &before, hash);
  }
  if (size != NULL)
    *size = bytes;
  return g_steal_pointer (&hash);
}

char *
file_hashes_get (FileHashes *hashes, const char *path, guint64 *size, GError **error)
{
  return get (hashes, path, size, NULL, error);
}

char *
file_hashes_peek (FileHashes *hashes, const char *path)
{
  g_auto (AutoFd) fd = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  State state;

  return fd >= 0 && get_state (fd, path, &state, NULL) ? look_up (hashes, path, &state) : NULL;
}

gboolean
file_hashes_learn (FileHashes *hashes, const char *path, GCancellable *cancellable, GError **error)
{
  g_autofree char *hash = get (hashes, path, NULL, cancellable, error);

  return hash != NULL;
}
